"""deliver: who has the message is not addressed again, and a Maildir has it once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from acting import ID, NOW, RAW, Make, context_of, listening, receipt_of, rule
from carriers import LmtpSink, Told, lmtp_client, onward

from actions import maildir
from actions.deliver import Deliver
from actions.protocol import Context
from mail.address import parse_mailbox
from mail.outcome import Outcome, Result
from mail.values import changed
from rules.model import ActionSpec
from spool.ports import JobState

ALL = tuple(parse_mailbox(f"{name}@example.com") for name in ("ann", "bob", "carol"))
PREPENDED = (
    b"Return-Path: <alice@sender.example>\r\nReceived: from x by mx.example.com;\r\n now\r\n"
    b"X-SES-Spam-Verdict: PASS\r\nX-Team: support\r\n"
)


def attempt(parameters: dict[str, str], earlier: Outcome | None = None, raw: bytes = RAW, **rest: object) -> Context:
    received = receipt_of(raw, recipients=ALL, **rest)  # type: ignore[arg-type]
    return context_of("deliver", parameters, raw=raw, receipt=received, prepended=PREPENDED, earlier=earlier)


async def deliver(carrier: Told, earlier: Outcome | None = None) -> Outcome:
    return await Deliver(onward(carrier), Path()).run(attempt({"lmtp": "127.0.0.1:24"}, earlier))


async def test_all_recipients_go_in_one_transaction_from_the_original_sender() -> None:
    carrier = Told()
    outcome = await deliver(carrier)
    assert outcome.result is Result.DONE
    assert [(str(sent.mail_from), sent.recipients) for sent in carrier.sent] == [
        ("alice@sender.example", tuple(map(str, ALL)))
    ]


async def test_our_fields_travel_but_not_the_return_path_that_the_server_writes() -> None:
    carrier = Told()
    await deliver(carrier)
    assert carrier.sent[0].raw == PREPENDED.partition(b"\r\n")[2] + RAW


async def test_forged_fields_do_not_travel() -> None:
    forged = b"X-SES-Spam-Verdict: PASS\r\n"
    raw = forged + RAW
    carrier = Told()
    context = attempt({"smtp": "mx2.example:25"}, raw=raw, cut=((0, len(forged)),))
    await Deliver(onward(carrier), Path()).run(context)
    assert carrier.sent[0].raw.endswith(b"X-Team: support\r\n" + RAW)


async def test_a_further_attempt_addresses_only_who_is_left() -> None:
    carrier = Told({"bob@example.com": ["delayed", "relayed"], "carol@example.com": ["failed"]})
    first = await deliver(carrier)
    assert first.result is Result.FAILED
    assert "bob@example.com: delayed 4.2.2" in first.detail
    second = await deliver(carrier, first)
    assert carrier.sent[1].recipients == ("bob@example.com",)
    assert (second.result, second.detail.split(";")[0]) == (Result.DEAD, "2 of 3 delivered")
    assert second.data["to:ann@example.com"].startswith("relayed")


async def test_a_redriven_step_tries_those_again_that_had_refused() -> None:
    carrier = Told({"carol@example.com": ["failed", "relayed"]})
    dead = await deliver(carrier)
    assert dead.result is Result.DEAD
    assert (await deliver(carrier, dead)).result is Result.DONE
    assert carrier.sent[1].recipients == ("carol@example.com",)


async def test_nothing_is_sent_where_everybody_has_it() -> None:
    carrier = Told()
    done = await deliver(carrier)
    again = await deliver(carrier, changed(done, result=Result.FAILED))
    assert (again.result, len(carrier.sent)) == (Result.DONE, 1)


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"lmtp": "unix:/run/lmtp"}, "/run/lmtp"),
        ({"lmtp": "unix:run/lmtp"}, "/state/run/lmtp"),
        ({"lmtp": "mail.internal:24"}, ("mail.internal", 24)),
        ({"lmtp": "mail.internal"}, ("mail.internal", 24)),
        ({"smtp": "mx2.example:2525"}, ("mx2.example", 2525)),
        ({"smtp": "mx2.example"}, ("mx2.example", 25)),
        ({"smtp": "[2001:db8::1]:25"}, ("2001:db8::1", 25)),
        ({"smtp": "[2001:db8::1]"}, ("2001:db8::1", 25)),
    ],
)
async def test_places_are_read_as_they_are_written(parameters: dict[str, str], place: object) -> None:
    places: list[object] = []
    await Deliver(onward(Told(), places=places), Path("/state")).run(attempt(parameters))
    assert places == [place]


async def into(path: Path, context: Context | None = None) -> Outcome:
    return await Deliver(onward(None), path).run(context or attempt({"maildir": "box"}))


async def test_a_maildir_has_the_whole_message_and_who_it_was_for(tmp_path: Path) -> None:
    outcome = await into(tmp_path)
    (file,) = (tmp_path / "box" / "new").iterdir()
    delivered_to = b"".join(b"Delivered-To: %s\r\n" % str(each).encode() for each in ALL)
    assert file.read_bytes() == delivered_to + PREPENDED + RAW
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "box", file.parent)] == [0o700, 0o700]
    assert (outcome.result, outcome.data["file"]) == (Result.DONE, file.name)
    assert not list((tmp_path / "box" / "tmp").iterdir())


async def test_a_repeated_step_leaves_one_message_even_when_it_was_read_meanwhile(tmp_path: Path) -> None:
    await into(tmp_path)
    assert "already" in (await into(tmp_path)).detail
    box = tmp_path / "box"
    (file,) = (box / "new").iterdir()
    file.rename(box / "cur" / f"{file.name}:2,FS")
    outcome = await into(tmp_path)
    assert (outcome.result, list((box / "new").iterdir())) == (Result.DONE, [])


async def test_what_a_cut_off_attempt_left_is_no_obstacle(tmp_path: Path) -> None:
    name = maildir.file_name(f"{ID}/0/support/0", int(NOW.timestamp()), "mx.example.com")
    (tmp_path / "box" / "tmp").mkdir(parents=True)
    (tmp_path / "box" / "tmp" / name).write_bytes(b"half")
    await into(tmp_path)
    assert (tmp_path / "box" / "new" / name).read_bytes().endswith(RAW)


async def test_another_step_has_another_name(tmp_path: Path) -> None:
    context = attempt({"maildir": "box"})
    await into(tmp_path, context)
    await into(tmp_path, replace(context, step=changed(context.step, index=1)))
    assert len(list((tmp_path / "box" / "new").iterdir())) == 2


@pytest.mark.parametrize("rule_name", ["../../etc", "a/b", ".", "x\0y", ":2,S"])
async def test_no_name_leads_out_of_the_maildir(tmp_path: Path, rule_name: str) -> None:
    context = attempt({"maildir": "box"})
    await into(tmp_path, replace(context, step=changed(context.step, rule=rule_name)))
    (file,) = (tmp_path / "box" / "new").iterdir()
    assert set(file.name) <= set("0123456789abcdef.mxeapl-co")
    assert sorted(os.listdir(tmp_path)) == ["box"]
    assert maildir.file_name("k", 1, "../evil/host:x").count("/") == 0


@pytest.mark.parametrize("place", ["new", "tmp", "cur"])
async def test_links_in_a_maildir_are_not_followed(tmp_path: Path, place: str) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "box" / place).symlink_to(tmp_path / "elsewhere")
    outcome = await into(tmp_path)
    assert outcome.result is Result.FAILED
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_link_in_place_of_the_file_is_not_written_through(tmp_path: Path) -> None:
    name = maildir.file_name(f"{ID}/0/support/0", int(NOW.timestamp()), "mx.example.com")
    (tmp_path / "box" / "tmp").mkdir(parents=True)
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "box" / "tmp" / name).symlink_to(tmp_path / "victim")
    assert (await into(tmp_path)).result is Result.DONE
    assert (tmp_path / "victim").read_text() == "as it was"


async def test_a_maildir_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("a file")
    outcome = await into(tmp_path)
    assert (outcome.result, "box" in outcome.detail) == (Result.FAILED, True)
    assert (await into(tmp_path, attempt({"maildir": "a\0b"}))).result is Result.FAILED


async def test_the_runner_retries_by_itself_those_who_are_left_and_the_ledger_says_who(make: Make) -> None:
    carrier = Told({"support@example.com": ["delayed", "delayed", "relayed"]})
    house = make(
        rule("r", ActionSpec(type="deliver", parameters={"lmtp": "127.0.0.1:24", "retry_for": 3600})),
        deliver=Deliver(onward(carrier), Path()),
    )
    await house.deliver()
    assert await house.results() == ["retrying"]
    await house.pass_time(5)
    await house.pass_time(30)
    (row,) = await house.ledger()
    assert (row.result, row.attempts) == (Result.DONE, 3)
    assert row.data["to:support@example.com"].startswith("relayed")
    assert await house.jobs() == []


async def test_a_dead_delivery_is_redriven_for_who_is_left(make: Make) -> None:
    carrier = Told({"support@example.com": ["failed", "relayed"]})
    house = make(
        rule("r", ActionSpec(type="deliver", parameters={"lmtp": "127.0.0.1:24"})),
        deliver=Deliver(onward(carrier), Path()),
    )
    await house.deliver()
    (job,) = await house.jobs()
    assert (job.state, await house.results()) == (JobState.DEAD, ["dead"])
    await house.spool.change_jobs([job.id], JobState.READY, house.clock())
    await house.pass_time(0)
    assert await house.results() == ["done"]


async def test_a_real_lmtp_dialogue_that_breaks_off_is_taken_up_where_it_broke() -> None:
    """Two of three are answered for, then the server goes: the next attempt is for the third alone."""

    async with listening(LmtpSink({"dot carol@example.com": b""})) as port:
        first = await Deliver(onward(lmtp_client(("127.0.0.1", port))), Path()).run(attempt({"lmtp": "x:24"}))
    assert (first.result, first.detail.split(";")[0]) == (Result.FAILED, "2 of 3 delivered")
    whole = LmtpSink()
    async with listening(whole) as port:
        second = await Deliver(onward(lmtp_client(("127.0.0.1", port))), Path()).run(attempt({"lmtp": "x:24"}, first))
    assert second.result is Result.DONE
    assert whole.messages[0][0] == ("carol@example.com",)
