"""Mail from strangers: what is admitted, what is promised, and what the history tells (semantics.md §1, §3, §5, §6)."""

import asyncio
from dataclasses import replace

import pytest

from inbound.admission import storage_refusal
from inbound.gate import Gate
from inbound.ports import InboundSettings
from inbound.sampling import Sampler
from mail.address import Mailbox, parse_mailbox
from mail.client import Client
from mail.counters import key
from mail.envelope import Envelope, Recipient
from mail.errors import Temporary
from mail.ids import is_message_id, shard_of
from mail.receipt import Evidence
from mail.reply import BARE_NEWLINE, MESSAGE_TOO_BIG, SYNTAX_ERROR, TIMED_OUT
from mail.values import changed
from rules.compiled import CompiledBook
from spool.memory import MemorySpool
from spool.ports import Accepted, Broken, HistoryRow, Job, JobKind, JobQuery, JobState, Load, MessageState
from tests.inbound.inbound_rig import CLIENT, MESSAGE, Rig, book, secure, verdicts
from verdicts.judge import Judgement

STORE = "actions: [{disk: {path: ./mail}}]"
TOUR = f"""
version: 1
domains: [example.com]
active: main
filters:
  - {{name: bad-range, policy: Block, cidr: 198.51.100.0/24}}
  - {{name: friend, policy: Allow, cidr: 198.51.100.7}}
rule_sets:
  main:
    - {{name: support, recipients: [support@example.com], {STORE}}}
    - {{name: secret, recipients: [secret@example.com], tls_policy: Require, {STORE}}}
    - name: gone
      recipients: [gone@example.com]
      actions: [{{bounce: {{smtp_reply_code: "550", status_code: "5.1.6", message: "He has moved"}}}}]
    - {{name: postmaster, recipients: [postmaster@example.com], {STORE}}}
"""


def rejecting(actions_before: str = "", *, code: str = '"550"', status: str = '"5.7.26"') -> CompiledBook:
    return book(f"""
version: 1
domains: [example.com]
active: main
rule_sets:
  main:
    - name: spoofs
      when: [{{dmarc: FAIL}}]
      actions:
        {actions_before}
        - bounce: {{smtp_reply_code: {code}, status_code: {status}, message: "Failed DMARC"}}
        - stop: {{scope: Recipients}}
    - name: rest
      {STORE}
""")


FAILING = Judgement(verdicts=verdicts(dmarc="fail"), evidence=Evidence())


async def test_an_accepted_message_is_durable_before_its_reply() -> None:
    rig = Rig(book(TOUR))
    rcpt, reply = await rig.send("support@example.com")
    assert str(rcpt) == "250 2.1.5 Ok"
    message_id = reply.text.removeprefix("Ok ")
    assert (reply.code, reply.enhanced) == (250, "2.0.0")
    assert is_message_id(message_id)
    assert shard_of(message_id) == rig.spool.shard
    assert await rig.spool.body(message_id) == MESSAGE
    (job,) = rig.jobs
    assert (job.kind, job.message_id, job.key, job.state) == (
        JobKind.WALK,
        message_id,
        f"{message_id}/0",
        JobState.LEASED,
    )
    receipt = await rig.receipt(message_id)
    assert receipt.client == Client(ip="192.0.2.1", port=4711, helo="client.example", protocol="ESMTP")
    assert receipt.rule_set == rig.compiled.digest
    assert receipt.size == len(MESSAGE)
    assert receipt.header == MESSAGE[:-6]
    (row,) = await rig.history()
    assert (row.id, row.phase, row.outcome, row.subject, row.header_from) == (
        message_id,
        "accepted",
        "accepted",
        "Hello",
        "a@b.example",
    )
    assert row.reply == str(reply)
    (event,) = rig.events
    assert (event.message_id, event.rules, event.summary) == (
        message_id,
        ("support",),
        "spf=PASS dkim=GRAY dmarc=PASS arc=GRAY",
    )


@pytest.mark.parametrize(
    ("recipient", "client", "reply", "by"),
    [
        ("x@other.example", {}, "550 5.7.1 Relaying denied", ""),
        ("x@sub.example.com", {}, "550 5.7.1 Relaying denied", ""),
        ("nobody@example.com", {}, "550 5.1.1 Requested action not taken: mailbox unavailable", ""),
        ("support@example.com", {"ip": "198.51.100.1"}, "550 5.7.1 IP address blacklisted by recipient", "bad-range"),
        ("nobody@example.com", {"ip": "198.51.100.1"}, "550 5.7.1 IP address blacklisted by recipient", "bad-range"),
        ("x@other.example", {"ip": "198.51.100.1"}, "550 5.7.1 Relaying denied", ""),
        ("support@example.com", {"ip": "198.51.100.7"}, "250 2.1.5 Ok", ""),
        ("secret@example.com", {}, "530 5.7.0 Must issue a STARTTLS command first", "secret"),
        ("gone@example.com", {}, "550 5.1.6 He has moved", "gone"),
    ],
)
async def test_a_recipient_is_answered_in_the_order_of_the_house(
    recipient: str, client: dict[str, str], reply: str, by: str
) -> None:
    rig = Rig(book(TOUR))
    replies = await rig.send(recipient, client=changed(Client(ip="192.0.2.1"), **client))
    assert str(replies[0]) == reply
    if replies[0].code >= 400:
        (row,) = await rig.history()
        assert (row.phase, row.outcome, row.reply, row.by) == ("rcpt", "refused", reply, by)
        assert row.rcpt_to == (recipient,)
        assert rig.jobs == []
        assert [event.outcome for event in rig.events] == ["refused"]


async def test_with_tls_the_secret_is_taken() -> None:
    rig = Rig(book(TOUR))
    assert (await rig.send("secret@example.com", client=secure()))[-1].code == 250


async def test_postmaster_without_a_domain_is_at_the_first_of_ours() -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    bare = Mailbox(local_part="postmaster", domain="")
    assert (await session.rcpt(bare)).code == 250
    both = (Recipient(mailbox=bare), Recipient(mailbox=parse_mailbox("postmaster@example.com")))
    reply = await session.data(Envelope(reverse_path=None, recipients=both), MESSAGE)
    receipt = await rig.receipt(reply.text.removeprefix("Ok "))
    assert [str(mailbox) for mailbox in receipt.envelope.mailboxes] == ["postmaster@example.com"]
    assert receipt.envelope.reverse_path is None


async def test_without_domains_postmaster_is_at_our_own_host() -> None:
    rig = Rig(book(f"version: 1\nactive: all\nrule_sets:\n  all:\n    - {{name: all, {STORE}}}\n"))
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    bare = Mailbox(local_part="postmaster", domain="")
    assert (await session.rcpt(bare)).code == 250
    await session.data(Envelope(reverse_path=None, recipients=(Recipient(mailbox=bare),)), MESSAGE)
    assert (await rig.history())[0].rcpt_to == ("postmaster@mx.example.com",)


async def test_recipients_with_other_rules_are_split_where_that_is_set() -> None:
    for split, code in ((False, 250), (True, 452)):
        rig = Rig(book(TOUR), settings=InboundSettings(split_recipients=split))
        replies = await rig.send("support@example.com", "postmaster@example.com")
        assert [reply.code for reply in replies] == [250, code, 250]


async def test_a_rejected_message_without_other_steps_leaves_its_receipt_and_no_body() -> None:
    rig = Rig(rejecting(), judgement=FAILING)
    reply = (await rig.send("x@example.com"))[-1]
    assert str(reply) == "550 5.7.26 Failed DMARC"
    (row,) = await rig.history()
    assert (row.phase, row.outcome, row.by, row.reply) == ("data", "refused", "spoofs", str(reply))
    stored = await rig.spool.message(row.id)
    assert (stored.state, stored.has_body) == (MessageState.REJECTED, False)
    assert rig.jobs == []
    assert (await rig.receipt(row.id)).verdicts.dmarc.result == "fail"


async def test_a_rejected_message_with_other_steps_is_committed_with_its_job_first() -> None:
    rig = Rig(rejecting("- disk: {path: ./evidence}"), judgement=FAILING)
    reply = (await rig.send("x@example.com"))[-1]
    assert reply.code == 550
    (job,) = rig.jobs
    stored = await rig.spool.message(job.message_id)
    assert (stored.state, stored.has_body) == (MessageState.REJECTED, True)
    assert await rig.spool.body(job.message_id) == MESSAGE


async def test_a_temporary_bounce_is_a_history_row_and_no_job() -> None:
    rig = Rig(rejecting(code='"451"', status='"4.7.1"'), judgement=FAILING)
    reply = (await rig.send("x@example.com"))[-1]
    assert reply.code == 451
    (row,) = await rig.history()
    assert (row.outcome, row.phase, row.by) == ("deferred", "data", "spoofs")
    assert not is_message_id(row.id)
    assert await rig.spool.jobs(JobQuery()) == []


async def test_a_scanner_that_is_down_defers_and_one_that_may_not_be_missing_refuses() -> None:
    for words, code in (({"deferred": "virus: timeout"}, 451), ({"rejected": "virus: timeout"}, 550)):
        rig = Rig(book(TOUR), judgement=Judgement(verdicts=verdicts(), evidence=Evidence(), **words))
        reply = (await rig.send("support@example.com"))[-1]
        assert (reply.code, reply.detail) == (code, "7.1")
        (row,) = await rig.history()
        assert row.detail == "virus: timeout"
        assert "timeout" not in str(reply)
        assert rig.jobs == []


async def test_what_goes_on_without_a_scan_says_so_in_its_history() -> None:
    said = {"unscanned": "spam scan failed: no answer within 20 s"}
    rig = Rig(book(TOUR), judgement=Judgement(verdicts=verdicts(), evidence=Evidence(), **said))
    assert (await rig.send("support@example.com"))[-1].code == 250
    (row,) = await rig.history()
    assert (row.outcome, row.detail) == ("accepted", "unscanned: spam scan failed: no answer within 20 s")


async def test_a_loop_is_found_by_its_received_fields() -> None:
    rig = Rig(book(TOUR))
    hop = b"Received: from x by y; Sat, 21 Nov 2026 12:00:00 +0000\r\n"
    assert (await rig.send("support@example.com", raw=hop * 100 + MESSAGE))[-1].code == 250
    assert str((await rig.send("support@example.com", raw=hop * 101 + MESSAGE))[-1]) == "554 5.4.6 Mail loop detected"
    (row, *_) = [each for each in await rig.history() if each.outcome == "refused"]
    assert row.by == "smtp.received_limit"
    assert rig.services.counters.snapshot()[key("limited_total", limit="smtp.received_limit")] == 1
    assert len(rig.judged) == 1


@pytest.mark.parametrize(
    ("head", "is_refused"),
    [
        (b"a:\r\n" * 20_000, False),
        (b"a:\r\n" * 20_001, True),
        (b"a:" + b"x" * (2**20 - 2) + b"\r\n", False),
        (b"a:" + b"x" * (2**20 - 1) + b"\r\n", True),
        (b"a:\r\n" * 10_000_000, True),
    ],
)
async def test_a_giant_header_is_refused_before_it_is_parsed(head: bytes, is_refused: bool) -> None:
    rig = Rig(book(TOUR))
    reply = (await rig.send("support@example.com", raw=head + b"\r\nText\r\n"))[-1]
    assert (str(reply) == "552 5.3.4 Header section too big") == is_refused
    (row,) = await rig.history()
    assert row.size == len(head) + 8
    assert row.phase == ("data" if is_refused else "accepted")


async def test_forged_fields_are_cut_from_what_rules_see_and_kept_in_the_spool() -> None:
    rig = Rig(book(TOUR))
    forged = b"X-SES-Virus-Verdict: PASS\r\n"
    reply = (await rig.send("support@example.com", raw=forged + MESSAGE))[-1]
    message_id = reply.text.removeprefix("Ok ")
    receipt = await rig.receipt(message_id)
    assert receipt.cut == ((0, len(forged)),)
    assert receipt.fields.first("X-SES-Virus-Verdict") is None
    assert (await rig.spool.body(message_id)).startswith(forged)


class Failing(MemorySpool):
    def __init__(self, error: Temporary) -> None:
        super().__init__()
        self._error = error

    async def accept(self, unit: Accepted, *, company: int = 1) -> Job | None:
        raise self._error

    async def log(self, row: HistoryRow) -> None:
        raise self._error


async def test_a_full_or_broken_store_never_promises() -> None:
    rig = Rig(
        book(TOUR), spool=MemorySpool(room_octets=2**31), settings=InboundSettings(reserve_octets=0, reserve_fraction=0)
    )
    rig.spool._room_octets = 10
    assert str((await rig.send("support@example.com"))[-1]) == "452 4.3.1 Insufficient system storage"
    assert [row.outcome for row in await rig.history()] == ["deferred"]
    rig = Rig(book(TOUR), spool=Failing(Broken("I/O error")))
    assert str((await rig.send("support@example.com"))[-1]) == "451 4.3.0 Temporary failure, please try again later"
    assert rig.jobs == []


class Crowd(MemorySpool):
    """Notes how many accepts each one was told to expect."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[int] = []

    async def accept(self, unit: Accepted, *, company: int = 1) -> Job | None:
        self.expected.append(company)
        return await super().accept(unit, company=company)


async def test_the_store_is_told_how_many_transactions_are_open() -> None:
    rig = Rig(book(TOUR), spool=(spool := Crowd()))
    await rig.send("support@example.com")
    first, second = [await rig.session() for _ in range(2)]
    for session in (first, second):
        assert (await session.mail(None, None, smtputf8=False)).is_positive
    await rig.send("support@example.com")
    await first.reset()
    await rig.send("support@example.com")
    await second.data(Envelope(reverse_path=None, recipients=()), b"")
    await second.close()
    await rig.send("support@example.com")
    assert [spool.expected[each] for each in (0, 1, 2, -1)] == [1, 3, 2, 1]
    assert rig.services.under_way == set()


async def test_what_nobody_foresaw_is_in_the_history_and_not_in_the_reply() -> None:
    rig = Rig(book(TOUR))

    def broken(header: object) -> tuple[()]:
        raise RuntimeError("db password=secret")

    rig.services = replace(rig.services, forged_spans=broken)
    with pytest.raises(RuntimeError):
        await rig.send("support@example.com")
    (row,) = await rig.history()
    assert (row.phase, row.outcome, row.rcpt_to) == ("data", "deferred", ("support@example.com",))
    assert row.detail == "RuntimeError: db password=secret"
    assert "secret" not in row.reply


LOAD = Load(
    ready_jobs=0,
    leased_jobs=0,
    queued_units=0,
    queued_octets=0,
    oldest_wait_seconds=0,
    free_octets=2**40,
    total_octets=2**41,
    cap_reached=False,
)


@pytest.mark.parametrize(
    ("load", "limit"),
    [
        (LOAD, None),
        (changed(LOAD, ready_jobs=100_000), None),
        (changed(LOAD, ready_jobs=100_001), "spool.max_ready"),
        (changed(LOAD, free_octets=2**30, total_octets=2**32), None),
        (changed(LOAD, free_octets=2**30 - 1, total_octets=2**32), "spool.reserve"),
        (changed(LOAD, free_octets=2**36, total_octets=2**41), "spool.reserve"),
        (changed(LOAD, cap_reached=True), "retention.cap"),
    ],
)
def test_mail_is_refused_where_there_is_no_room(load: Load, limit: str | None) -> None:
    denial = storage_refusal(load, InboundSettings())
    assert (None if denial is None else denial.limit) == limit


async def test_mail_that_finds_no_room_is_counted_and_leaves_some_rows_only() -> None:
    rig = Rig(book(TOUR), spool=MemorySpool(room_octets=10))
    rig.services = replace(rig.services, sampler=Sampler(2))
    session = await rig.session()
    for _ in range(5):
        await session.mail(None, None, smtputf8=False)
    assert [(row.phase, row.by) for row in await rig.history()] == [("mail", "spool.reserve")] * 2
    assert rig.services.counters.value("limited_total", limit="spool.reserve") == 5


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("NOOP", "smtp.idle_commands"),
        ("FOO", "smtp.errors"),
        ("", "smtp.line_limit"),
        ("", "smtp.command_timeout"),
        ("MAIL", "smtp.messages_per_connection"),
    ],
)
async def test_a_limit_that_ends_a_session_after_a_message_has_a_row_too(command: str, limit: str) -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    mailbox = parse_mailbox("support@example.com")
    await session.rcpt(mailbox)
    envelope = Envelope(reverse_path=None, recipients=(Recipient(mailbox=mailbox),))
    assert (await session.data(envelope, MESSAGE)).code == 250
    await session.refused("FOO", SYNTAX_ERROR, "")
    await session.refused(command, TIMED_OUT, limit)
    await session.close()
    assert [(row.outcome, row.by) for row in await rig.history()] == [("accepted", ""), ("deferred", limit)]


async def test_a_name_that_was_refused_is_in_no_mail_that_follows() -> None:
    rig = Rig(book(TOUR))
    rig.services = replace(rig.services, gate=Gate(helo="forged", hostname="mx.example.com"))
    session = await rig.session()
    reply = await session.hello(changed(CLIENT, helo="mx.example.com", protocol="ESMTP"))
    assert str(reply) == "550 5.7.1 EHLO says our own name"
    await session.mail(None, None, smtputf8=False)
    mailbox = parse_mailbox("support@example.com")
    await session.rcpt(mailbox)
    await session.data(Envelope(reverse_path=None, recipients=(Recipient(mailbox=mailbox),)), MESSAGE)
    assert [(row.phase, row.helo) for row in await rig.history()] == [
        ("ehlo", "mx.example.com"),
        ("accepted", "client.example"),
    ]


async def test_no_room_at_mail_is_a_history_row() -> None:
    rig = Rig(book(TOUR), spool=MemorySpool(room_octets=10))
    session = await rig.session()
    assert str(await session.mail(None, None, smtputf8=False)) == "452 4.3.1 Insufficient system storage"
    (row,) = await rig.history()
    assert (row.phase, row.outcome) == ("mail", "deferred")


async def test_a_transaction_that_ends_without_a_message_is_aborted_in_the_history() -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    await session.mail(parse_mailbox("a@b.example"), None, smtputf8=False)
    await session.rcpt(parse_mailbox("support@example.com"))
    await session.reset()
    await session.close()
    (row,) = await rig.history()
    assert (row.phase, row.outcome, row.rcpt_to, row.mail_from) == (
        "rcpt",
        "aborted",
        ("support@example.com",),
        "a@b.example",
    )


@pytest.mark.parametrize(("reply", "outcome"), [(BARE_NEWLINE, "refused"), (MESSAGE_TOO_BIG, "refused")])
async def test_content_that_the_server_refuses_is_in_the_history(reply: object, outcome: str) -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    await session.rcpt(parse_mailbox("support@example.com"))
    await session.refused("DATA", reply, "")  # type: ignore[arg-type]
    await session.reset()
    await session.close()
    (row,) = await rig.history()
    assert (row.phase, row.outcome, row.reply) == ("data", outcome, str(reply))


async def test_refused_recipients_beside_an_accepted_message_have_a_row_of_their_own() -> None:
    rig = Rig(book(TOUR))
    await rig.send("nobody@example.com", "support@example.com", "none@example.com")
    rows = await rig.history()
    assert sorted((row.outcome, row.rcpt_to) for row in rows) == [
        ("accepted", ("support@example.com",)),
        ("refused", ("nobody@example.com", "none@example.com")),
    ]


async def test_a_session_of_nothing_but_errors_leaves_one_row() -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    for _ in range(5):
        await session.refused("FOO", SYNTAX_ERROR, "")
    await session.close()
    assert [(row.outcome, row.reply) for row in await rig.history()] == [("refused", str(SYNTAX_ERROR))]


async def test_a_mail_that_is_too_big_is_found_by_its_sender() -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    await session.refused("MAIL", MESSAGE_TOO_BIG, "smtp.size_limit", parse_mailbox("a@b.example"))
    (row,) = await rig.history()
    assert (row.phase, row.mail_from, row.by) == ("mail", "a@b.example", "smtp.size_limit")


async def test_the_book_is_pinned_at_mail() -> None:
    rig = Rig(book(TOUR))
    first = rig.compiled
    session = await rig.session()
    await session.mail(None, None, smtputf8=False)
    rig.compiled = book("version: 1\ndomains: [other.example]\nactive: none\nrule_sets: {none: []}\n")
    assert (await session.rcpt(parse_mailbox("support@example.com"))).code == 250
    recipient = Recipient(mailbox=parse_mailbox("support@example.com"))
    reply = await session.data(Envelope(reverse_path=None, recipients=(recipient,)), MESSAGE)
    assert (await rig.receipt(reply.text.removeprefix("Ok "))).rule_set == first.digest


async def test_the_name_of_the_client_is_waited_for_only_so_long() -> None:
    async def known(ip: str) -> str:
        await asyncio.sleep(0)
        return "mail.b.example"

    async def never(ip: str) -> str:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def failing(ip: str) -> str:
        raise OSError("no network")

    for name_of, name in ((known, "mail.b.example"), (never, None), (failing, None)):
        rig = Rig(book(TOUR), name_of=name_of, settings=InboundSettings(wait_for_names_seconds=0.01))
        reply = (await rig.send("support@example.com"))[-1]
        assert (await rig.receipt(reply.text.removeprefix("Ok "))).client.name == name


async def test_an_internationalised_message_says_so_in_its_protocol() -> None:
    rig = Rig(book(TOUR))
    session = await rig.session()
    await session.mail(None, None, smtputf8=True)
    recipient = Recipient(mailbox=parse_mailbox("support@example.com"))
    await session.rcpt(recipient.mailbox)
    await session.data(Envelope(reverse_path=None, recipients=(recipient,), smtputf8=True), MESSAGE)
    assert rig.judged[0][0].protocol == "UTF8SMTP"


async def test_the_history_has_subject_and_author_as_people_read_and_look_for_them() -> None:
    rig = Rig(book(TOUR))
    head = b"From: =?utf-8?q?J=C3=B6rg?= <a@b.example>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?= =?utf-8?q?_aus?= K.\r\n\r\nx\r\n"
    await rig.send("support@example.com", raw=head)
    (row,) = await rig.history()
    assert (row.subject, row.header_from) == ("Grüße aus K.", "Jörg <a@b.example>")
