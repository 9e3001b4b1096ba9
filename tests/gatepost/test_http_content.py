"""Signed links: what they serve, for how long, and that nobody makes one up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from acting import ID, NOW, RAW, Told, add_header, disk, function, receipt_of, rule
from http_rig import Rig, serving

from actions.add_header import AddHeader
from actions.content_links import ContentLinks
from actions.mime_content import attached
from mail.outcome import DONE
from rules.machine import replay

MESSAGE = (Path(__file__).parent.parent / "cases" / "webhook_formats" / "odd.eml").read_bytes()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rules = rule("support", add_header("X-Team", "support"), disk("x"), function())
    async with serving(tmp_path, rules, add_header=AddHeader(), disk=Told(), **{"lambda": Told()}) as made:
        yield made


async def test_an_attachment_is_served_as_a_download(rig: Rig) -> None:
    await rig.house.deliver(MESSAGE)
    for number, part in enumerate(attached(MESSAGE)):
        status, headers, body = await rig.get(rig.links.attachment(ID, number, NOW))
        assert (status, body) == (200, part.content)
        assert headers["content-type"] == part.type
        assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_a_hostile_name_stays_in_its_parameter(rig: Rig) -> None:
    await rig.house.deliver(MESSAGE)
    _, headers, _ = await rig.get(rig.links.attachment(ID, 1, NOW))
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''pass%22wd%250d%250aX%3A%20y"


async def test_the_whole_message_is_as_its_step_saw_it(rig: Rig) -> None:
    await rig.house.deliver()
    steps = [trace.step for trace in replay(rig.house.book, receipt_of(), [DONE] * 3).steps]
    _, _, first = await rig.get(rig.links.message(steps[0], NOW))
    status, headers, later = await rig.get(rig.links.message(steps[2], NOW))
    assert (status, headers["content-type"]) == (200, "message/rfc822")
    assert first == RAW
    assert later == b"X-Team: support\r\n" + RAW


async def test_a_link_expires(rig: Rig) -> None:
    await rig.house.deliver(MESSAGE)
    url = rig.links.attachment(ID, 0, NOW)
    rig.clock.now = NOW + timedelta(seconds=3599)
    assert (await rig.get(url))[0] == 200
    rig.clock.now = NOW + timedelta(seconds=3600)
    assert (await rig.get(url))[::2] == (403, b"expired\n")


async def test_nobody_makes_up_a_link(rig: Rig) -> None:
    await rig.house.deliver(MESSAGE)
    url = rig.links.attachment(ID, 0, NOW)
    path, query = urlsplit(url).path, urlsplit(url).query
    expires, signature = (each.partition("=")[2] for each in query.split("&"))
    other = ContentLinks(base=rig.base, secret=lambda: b"another secret").attachment(ID, 0, NOW)
    forged = [
        path,
        f"{path}?{query[:-1]}{'0' if query[-1] != '0' else '1'}",
        f"{path}?expires={int(expires) + 1}&signature={signature}",
        f"{path}?expires=0{expires}&signature={signature}",
        f"{path}?expires={'9' * 30}&signature={signature}",
        f"{path}?expires=%C2%B2&signature={signature}",
        f"{path}?expires={expires}&signature=%ff%fe",
        f"{path[:-1]}1?{query}",
        f"/messages/{ID}/0/support/0?{query}",
        f"{path}/?{query}",
        f"/x/..{path}?{query}",
        f"{path}%00?{query}",
        other,
    ]
    for each in forged:
        status, _, body = await rig.get(each)
        assert (status, body) == (403, b"not signed\n"), each


async def test_a_signed_path_that_is_none_leads_nowhere(rig: Rig) -> None:
    await rig.house.deliver(MESSAGE)
    for path in ("/attachments/../../etc/passwd", f"/attachments/{ID}/99999", f"/messages/{ID}/0/a/b/0", "/etc/passwd"):
        query = urlsplit(rig.links._signed(path, NOW)).query
        status, _, body = await rig.get(f"{path}?{query}")
        assert status in (403, 404)
        assert b"root:" not in body
    assert (await rig.get(rig.links.attachment(ID, 77, NOW)))[0] == 404
    assert (await rig.get(rig.links.attachment("0" * 39 + "1", 0, NOW)))[0] == 404


async def test_what_retention_removed_is_not_found(rig: Rig) -> None:
    assert (await rig.get(rig.links.attachment(ID, 0, NOW)))[::2] == (404, b"no longer kept\n")
