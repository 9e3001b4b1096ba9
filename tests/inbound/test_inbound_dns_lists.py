"""DNS lists in the dialogue: asked from connect on, waited for once, overridden by an Allow filter (semantics.md §5)."""

import asyncio
from collections.abc import Awaitable, Callable

from inbound_rig import CLIENT, MESSAGE, Rig, book

from inbound.ports import InboundSettings
from mail.address import parse_mailbox
from mail.client import Client
from mail.envelope import Envelope, Recipient
from mail.values import changed
from verdicts.dns_lists import parse_dns_lists
from verdicts.dns_zone import ZoneResolver

RULES = """
version: 1
domains: [example.com]
filters:
  - {name: partner, policy: Allow, cidr: 192.0.2.0/30, recipients: [open@example.com]}
  - {name: banned, policy: Block, cidr: 192.0.2.200}
active: main
rule_sets:
  main:
    - name: all
      when: [{not: {dnsbl: never.example}}]
      actions: [{drop: {}}]
"""
REFUSED = "550 5.7.1 IP address blacklisted by recipient"
ZONE = ZoneResolver({"1.2.0.192.bl.example": {"A": ["127.0.0.2"]}, "1.2.0.192.second.example": {"A": ["127.0.0.3"]}})

IsListed = Callable[[str], Awaitable[bool]]


def zone_lists(*settings: str) -> dict[str, IsListed]:
    def asked(each) -> IsListed:
        return lambda ip: each.lists_address(ZONE, ip)

    return {each.zone: asked(each) for each in parse_dns_lists(settings)}


def promised(*zones: str) -> tuple[dict[str, IsListed], dict[str, "asyncio.Future[bool]"]]:
    """Lists that answer when the test says so."""
    answers: dict[str, asyncio.Future[bool]] = {zone: asyncio.get_running_loop().create_future() for zone in zones}

    def asked(zone: str) -> IsListed:
        async def is_listed(_: str) -> bool:
            return await answers[zone]

        return is_listed

    return {zone: asked(zone) for zone in zones}, answers


async def test_a_listed_client_is_refused_at_rcpt_and_the_history_names_the_list() -> None:
    rig = Rig(book(RULES), lists=zone_lists("clean.example", "bl.example", "second.example"))
    assert [str(reply) for reply in await rig.send("a@example.com", "b@example.com")] == [REFUSED, REFUSED]
    (row,) = await rig.history()
    assert (row.phase, row.outcome, row.by, row.reply) == ("rcpt", "refused", "bl.example", REFUSED)


async def test_a_client_on_no_list_passes() -> None:
    rig = Rig(book(RULES), lists=zone_lists("bl.example"))
    replies = await rig.send("a@example.com", client=changed(CLIENT, ip="192.0.2.77"))
    assert [reply.code for reply in replies] == [250, 250]


async def test_an_allow_filter_overrides_every_list_for_its_recipients_alone() -> None:
    rig = Rig(book(RULES), lists=zone_lists("bl.example"))
    replies = await rig.send("a@example.com", "open@example.com")
    assert [reply.code for reply in replies] == [550, 250, 250]
    receipt = await rig.receipt(replies[-1].text.removeprefix("Ok "))
    assert receipt.dnsbl == ()


async def test_a_block_filter_is_named_before_a_list() -> None:
    rig = Rig(book(RULES), lists={"bl.example": _yes})
    await rig.send("a@example.com", client=changed(CLIENT, ip="192.0.2.200"))
    assert [row.by for row in await rig.history()] == ["banned"]


async def test_relaying_is_denied_as_such_to_a_listed_client() -> None:
    rig = Rig(book(RULES), lists=zone_lists("bl.example"))
    assert [str(reply) for reply in await rig.send("a@other.example")] == ["550 5.7.1 Relaying denied"]


async def test_without_reject_a_listing_is_only_a_fact() -> None:
    rig = Rig(
        book(RULES),
        lists=zone_lists("second.example", "clean.example", "bl.example"),
        settings=InboundSettings(refuse_listed=False),
    )
    replies = await rig.send("a@example.com")
    assert [reply.code for reply in replies] == [250, 250]
    receipt = await rig.receipt(replies[-1].text.removeprefix("Ok "))
    assert receipt.dnsbl == ("second.example", "bl.example")


async def test_the_lists_are_asked_at_connect() -> None:
    asked = []

    async def is_listed(ip: str) -> bool:
        asked.append(ip)
        return False

    rig = Rig(book(RULES), lists={"bl.example": is_listed})
    session = await rig.session()
    await asyncio.sleep(0)
    assert asked == ["192.0.2.1"]
    await session.close()


async def test_a_client_that_another_host_speaks_for_is_asked_about_anew() -> None:
    asked = []

    async def is_listed(ip: str) -> bool:
        asked.append(ip)
        return False

    rig = Rig(book(RULES), lists={"bl.example": is_listed})
    session = await rig.session()
    await asyncio.sleep(0)
    await session.hello(Client(ip="192.0.2.9", helo="client.example"))
    await asyncio.sleep(0)
    assert asked == ["192.0.2.1", "192.0.2.9"]
    await session.close()


async def test_the_first_rcpt_waits_for_the_answer_and_no_longer_than_one_list_needs() -> None:
    lists, answers = promised("slow.example", "bl.example")
    rig = Rig(book(RULES), lists=lists, settings=InboundSettings(wait_for_lists_seconds=30))
    session = await rig.session()
    assert (await session.mail(None, None, smtputf8=False)).code == 250
    answering = asyncio.ensure_future(session.rcpt(parse_mailbox("a@example.com")))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not answering.done()
    answers["bl.example"].set_result(True)
    assert str(await answering) == REFUSED
    await session.close()


async def test_a_list_that_hangs_costs_one_wait_and_lets_the_client_pass() -> None:
    lists, _ = promised("slow.example")
    rig = Rig(book(RULES), lists=lists, settings=InboundSettings(wait_for_lists_seconds=0.05))
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    loop = asyncio.get_running_loop()
    began = loop.time()
    recipients = tuple(Recipient(mailbox=parse_mailbox(f"{name}@example.com")) for name in "abcdefgh")
    replies = [await session.rcpt(recipient.mailbox) for recipient in recipients]
    replies.append(await session.data(Envelope(reverse_path=None, recipients=recipients), MESSAGE))
    assert [reply.code for reply in replies] == [250] * 9
    assert 0.04 < loop.time() - began < 0.3
    await session.close()


async def test_an_answer_that_comes_after_the_wait_still_counts_for_later_recipients() -> None:
    lists, answers = promised("bl.example")
    rig = Rig(book(RULES), lists=lists, settings=InboundSettings(wait_for_lists_seconds=0.01))
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    assert (await session.rcpt(parse_mailbox("a@example.com"))).code == 250
    answers["bl.example"].set_result(True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert str(await session.rcpt(parse_mailbox("b@example.com"))) == REFUSED
    await session.close()


async def test_a_list_that_fails_lets_the_client_pass() -> None:
    async def failing(_: str) -> bool:
        raise OSError("no network")

    rig = Rig(book(RULES), lists={"bl.example": failing})
    assert [reply.code for reply in await rig.send("a@example.com")] == [250, 250]


async def test_an_allowed_client_does_not_wait() -> None:
    lists, _ = promised("slow.example")
    rig = Rig(book(RULES), lists=lists, settings=InboundSettings(wait_for_lists_seconds=30))
    assert [reply.code for reply in await asyncio.wait_for(rig.send("open@example.com"), 5)] == [250, 250]


async def test_a_session_that_ends_leaves_no_question_behind() -> None:
    lists, answers = promised("slow.example")
    rig = Rig(book(RULES), lists=lists)
    session = await rig.session()
    await asyncio.sleep(0)
    await session.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert answers["slow.example"].cancelled()


async def _yes(_: str) -> bool:
    return True
