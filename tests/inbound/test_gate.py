"""What speaks against a client: rates, its EHLO, its first visit; and that an Allow filter overrides it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inbound.backend import InboundBackend
from inbound.gate import Gate
from inbound.greylist import Greylist, GreylistSettings
from inbound.ports import Services
from inbound.rate_table import RateColumn, create_rate_table
from inbound.rates import Rate, RateLimits, Throttle, parse_rate
from inbound.sampling import Sampler
from mail.address import parse_mailbox
from mail.client import Client
from mail.errors import Malformed
from mail.reply import TOO_BUSY
from mail.values import changed
from spool.ports import HistoryRow
from tests.inbound.inbound_rig import CLIENT, Rig, book

NOON = 1_795_000_000.0
RULES = """
version: 1
domains: [example.com]
filters:
  - {name: friend, policy: Allow, cidr: 198.51.100.7}
  - {name: for-one, policy: Allow, cidr: 198.51.100.8, recipients: [one@example.com]}
rule_sets:
  default:
    - {name: all, recipients: [one@example.com, two@example.com], actions: [{disk: {path: mail}}]}
"""
BOOK = book(RULES)
FRIEND, FOR_ONE = Client(ip="198.51.100.7"), Client(ip="198.51.100.8")
ONE, TWO = parse_mailbox("one@example.com"), parse_mailbox("two@example.com")
SENDER = parse_mailbox("a@b.example")
HOUR = Rate(2, 3600)


@pytest.fixture
def counts(tmp_path: Path) -> RateColumn:
    return create_rate_table(tmp_path / "limits", workers=1, buckets=64).column(0)


@pytest.fixture
def greylist(tmp_path: Path) -> Greylist:
    return Greylist(tmp_path / "greylist", GreylistSettings(wait=300, retry_within=3600, keep=86_400), buckets=64)


@pytest.mark.parametrize(
    ("text", "rate"), [("600/1h", Rate(600, 3600)), ("5/10s", Rate(5, 10)), ("7/d", Rate(7, 86_400)), ("none", None)]
)
def test_a_rate_is_a_count_and_a_time(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0/1h", "600", "600/h1", "-1/h", "1/0h", "1/1w", "often"])
def test_anything_else_is_no_rate(text: str) -> None:
    with pytest.raises(Malformed, match="600/1h"):
        parse_rate(text)


def test_each_rate_has_its_own_count_and_says_whose_it_is(counts: RateColumn) -> None:
    throttle = Throttle(
        counts,
        RateLimits(
            connections_per_ip=HOUR,
            messages_per_ip=HOUR,
            messages_per_sender_domain=HOUR,
            messages_per_recipient=HOUR,
            unknown_recipients_per_ip=HOUR,
        ),
    )
    asked = {
        "rates.connections_per_ip": lambda: throttle.connection("192.0.2.1", NOON),
        "rates.messages_per_ip": lambda: throttle.message("192.0.2.2", None, NOON),
        "rates.messages_per_sender_domain": lambda: throttle.message(None, SENDER, NOON),
        "rates.messages_per_recipient": lambda: throttle.recipient(ONE, NOON),
        "rates.unknown_recipients_per_ip": lambda: throttle.unknown_recipient("192.0.2.3", NOON),
    }
    for limit, ask in asked.items():
        assert [ask(), ask()] == [None, None]
        denial = ask()
        assert denial is not None
        assert denial.limit == limit
        assert denial.reply.is_transient
        assert (denial.reply.enhanced or "").startswith("4.7.")


def test_who_guesses_addresses_finds_the_door_shut(counts: RateColumn) -> None:
    throttle = Throttle(counts, RateLimits(unknown_recipients_per_ip=HOUR))
    for _ in range(3):
        throttle.unknown_recipient("192.0.2.1", NOON)
    denial = throttle.connection("192.0.2.1", NOON)
    assert denial is not None
    assert denial.reply.close
    assert throttle.connection("192.0.2.2", NOON) is None
    assert throttle.connection("192.0.2.1", NOON + 3600) is None


def test_a_network_of_ipv6_is_one_client_and_labels_are_one_recipient(counts: RateColumn) -> None:
    throttle = Throttle(counts, RateLimits(messages_per_ip=HOUR, messages_per_recipient=HOUR))
    found = [throttle.message(f"2001:db8:1:2::{number:x}", None, NOON) for number in range(3)]
    assert [denial is None for denial in found] == [True, True, False]
    labels = [throttle.recipient(parse_mailbox(f"One+{number}@example.com"), NOON) for number in range(3)]
    assert [denial is None for denial in labels] == [True, True, False]


def test_an_allow_filter_lifts_every_limit_on_reputation(counts: RateColumn, greylist: Greylist) -> None:
    none = Rate(1, 3600)
    limits = RateLimits(
        connections_per_ip=none, messages_per_ip=none, messages_per_recipient=none, unknown_recipients_per_ip=none
    )
    gate = Gate(
        throttle=Throttle(counts, limits),
        greylist=greylist,
        helo="named",
        hostname="mx.example",
        greeting_delay_seconds=3,
    )
    for _ in range(3):
        assert gate.at_connect(BOOK, FRIEND, NOON) is None
        assert gate.delay(BOOK, FRIEND) == 0
        assert gate.at_hello(BOOK, changed(FRIEND, helo="mx.example")) is None
        assert gate.at_mail(BOOK, FRIEND, SENDER, NOON) is None
        assert gate.at_rcpt(BOOK, FRIEND, SENDER, ONE, NOON) is None
        assert gate.at_unknown_recipient(BOOK, FRIEND, TWO, NOON) is None
    stranger = Client(ip="192.0.2.1", helo="mx.example")
    assert gate.delay(BOOK, stranger) == 3
    assert gate.at_hello(BOOK, stranger) is not None
    assert gate.at_rcpt(BOOK, stranger, SENDER, TWO, NOON) is not None


def test_a_filter_for_some_recipients_vouches_at_rcpt_only(greylist: Greylist) -> None:
    gate = Gate(greylist=greylist, greeting_delay_seconds=3)
    assert gate.delay(BOOK, FOR_ONE) == 3
    assert gate.at_rcpt(BOOK, FOR_ONE, SENDER, ONE, NOON) is None
    assert gate.at_rcpt(BOOK, FOR_ONE, SENDER, TWO, NOON) is not None


@pytest.mark.parametrize(
    ("helo", "forged", "named"),
    [
        ("mail.acme.example", True, True),
        ("MX.Example.", False, False),
        ("localhost", True, False),
        ("192.0.2.1", True, False),
        ("[192.0.2.1]", True, True),
    ],
)
def test_an_ehlo_is_refused_as_far_as_the_setting_says(helo: str, forged: bool, named: bool) -> None:
    client = Client(ip="192.0.2.1", helo=helo)
    for word, taken in (("any", True), ("forged", forged), ("named", named)):
        assert (Gate(helo=word, hostname="mx.example").at_hello(BOOK, client) is None) is taken
    assert Gate(helo="forged", hostname="mx.example").at_hello(BOOK, Client(ip="::1", helo="mx.example")) is None


def test_a_client_that_xclient_describes_has_said_no_ehlo_that_could_be_wrong() -> None:
    gate = Gate(helo="named", hostname="mx.example")
    assert gate.at_hello(BOOK, Client(ip="192.0.2.1")) is None
    assert gate.at_hello(BOOK, Client(ip="192.0.2.1", helo="localhost")) is not None


def test_who_comes_again_in_time_passes_and_is_known(greylist: Greylist) -> None:
    def wait(at: float, ip: str = "192.0.2.1") -> int:
        return greylist.wait_for(ip, SENDER, ONE, NOON + at)

    assert [wait(0), wait(10), wait(299)] == [300, 290, 1]
    assert [wait(300), wait(301), wait(300 + 80_000)] == [0, 0, 0]
    assert wait(90_000, "192.0.2.77") == 0  # the same network
    assert wait(90_000, "192.0.3.1") == 300
    assert wait(90_000 + 86_401) == 300  # nothing for longer than it is kept


def test_who_comes_again_too_late_begins_anew(greylist: Greylist) -> None:
    assert greylist.wait_for("192.0.2.1", None, ONE, NOON) == 300
    assert greylist.wait_for("192.0.2.1", None, ONE, NOON + 3601) == 300
    assert greylist.wait_for("192.0.2.1", None, ONE, NOON + 3901) == 0


def test_the_greylist_outlives_a_restart_and_a_broken_file_is_made_anew(tmp_path: Path) -> None:
    settings = GreylistSettings(wait=60, retry_within=3600, keep=86_400)
    path = tmp_path / "greylist"
    assert Greylist(path, settings, buckets=64).wait_for("192.0.2.1", SENDER, ONE, NOON) == 60
    again = Greylist(path, settings, buckets=64)
    assert again.wait_for("192.0.2.1", SENDER, ONE, NOON + 60) == 0
    path.write_bytes(b"cut short")
    assert Greylist(path, settings, buckets=64).wait_for("192.0.2.1", SENDER, ONE, NOON + 60) == 60


def test_a_flood_of_strangers_costs_the_oldest_triplets_and_no_memory(greylist: Greylist) -> None:
    assert greylist.wait_for("192.0.2.1", SENDER, ONE, NOON) == 300
    for number in range(5000):
        greylist.wait_for(f"10.{number // 250}.{number % 250}.1", SENDER, ONE, NOON + 1)
    assert greylist.wait_for("192.0.2.1", SENDER, ONE, NOON + 300) == 300  # forgotten: asked to come again, no more


def test_of_many_like_rows_some_are_kept_and_the_next_counts_the_others() -> None:
    sampler, now = Sampler(2), datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert [sampler.take("a", now) for _ in range(5)] == [0, 0, None, None, None]
    assert sampler.take("b", now) == 0
    later = now + timedelta(minutes=1)
    assert [sampler.take("a", later), sampler.take("a", later), sampler.take("a", later)] == [3, 0, None]


def gated(gate: Gate, sampler: Sampler | None = None) -> Rig:
    rig = Rig(BOOK)
    rig.services = replace(rig.services, gate=gate, sampler=sampler or Sampler())
    return rig


async def test_a_session_is_refused_where_the_gate_says_counted_and_kept(
    counts: RateColumn, greylist: Greylist
) -> None:
    rig = gated(Gate(throttle=Throttle(counts, RateLimits(messages_per_ip=HOUR)), greylist=greylist))
    assert [str(reply) for reply in await rig.send("one@example.com")] == [
        "451 4.7.1 Greylisted, please try again in 5 minutes"
    ]
    await rig.send("one@example.com")
    session = await rig.session()
    reply = await session.mail(SENDER, None, smtputf8=False)
    assert str(reply) == "450 4.7.1 Too many messages from your address, try again later"
    rows = await rig.history()
    assert [(row.phase, row.outcome, row.by) for row in rows] == [
        ("rcpt", "deferred", "greylist.wait"),
        ("rcpt", "deferred", "greylist.wait"),
        ("mail", "deferred", "rates.messages_per_ip"),
    ]
    assert limited(rig.services) == {"greylist.wait": 2, "rates.messages_per_ip": 1}


async def test_a_recipient_that_nobody_knows_once_too_often_ends_the_session(counts: RateColumn) -> None:
    rig = gated(Gate(throttle=Throttle(counts, RateLimits(unknown_recipients_per_ip=Rate(1, 3600)))))
    replies = await rig.send("nobody@example.com", "guess@example.com")
    assert [reply.code for reply in replies] == [550, 421]
    assert replies[1].close
    session = rig.services
    assert (await greeted(session)).startswith("421 4.7.1")
    assert [row.phase for row in await rig.history()] == ["rcpt", "connect"]


async def greeted(services: Services) -> str:
    session = InboundBackend(services)()
    reply = await session.greet(CLIENT)
    await session.close()
    return str(reply)


async def test_rows_of_a_flood_are_left_out_and_said_but_all_are_counted() -> None:
    clock = [datetime(2026, 11, 21, 12, tzinfo=UTC)]
    rig = gated(Gate(), Sampler(1))
    rig.services = replace(rig.services, clock=lambda: clock[0])
    for _ in range(4):
        await denied(rig.services)
    clock[0] += timedelta(minutes=2)
    await denied(rig.services)
    rows: list[HistoryRow] = await rig.history()
    assert [(row.phase, row.by, row.client_ip, row.detail) for row in rows] == [
        ("connect", "smtp.connections_per_ip", "192.0.2.1", ""),
        ("connect", "smtp.connections_per_ip", "192.0.2.1", "3 more refusals like this one were left out before it"),
    ]
    assert limited(rig.services) == {"smtp.connections_per_ip": 5}
    assert rig.services.counters.value("refusals_total", phase="connect", reply="421 4.3.2") == 3


async def denied(services: Services) -> None:
    session = InboundBackend(services)()
    await session.denied(CLIENT, TOO_BUSY, "smtp.connections_per_ip")
    await session.close()


def limited(services: Services) -> dict[str, float]:
    found = services.counters.snapshot().items()
    return {dict(labels)["limit"]: count for (name, labels), count in found if name == "limited_total"}


def test_whom_greylisting_sends_away_has_used_up_nothing_of_a_recipients_rate(
    counts: RateColumn, greylist: Greylist
) -> None:
    gate = Gate(throttle=Throttle(counts, RateLimits(messages_per_recipient=HOUR)), greylist=greylist)
    denials = [gate.at_rcpt(BOOK, CLIENT, SENDER, ONE, NOON + at) for at in (0, 300, 301, 302)]
    assert [denial and denial.limit for denial in denials] == [
        "greylist.wait",
        None,
        None,
        "rates.messages_per_recipient",
    ]
