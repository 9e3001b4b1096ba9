"""A mail file with the envelope it came in, or the best guess at one (semantics.md §8: replay).

Values that nobody gave are taken from `FILE.yaml` beside the file, else guessed from the header section and labelled `guessed`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mail.address import Mailbox, parse_mailbox, parse_path
from mail.address_list import parse_address_list
from mail.client import Client, canonical_ip
from mail.crlf import wire_bytes
from mail.envelope import Envelope, Recipient
from mail.errors import Malformed
from mail.headers import HeaderView
from mail.message import Message
from mail.receipt import Receipt
from mail.reply import BAD_ADDRESS, BAD_SENDER, SYNTAX_ERROR, Reply
from rules.load_yaml import parse_yaml
from rules.schema_findings import Report
from rules.schema_nodes import Mapping as MappingNode
from rules.schema_nodes import Node, Scalar, shown

KEYS = ("mail_from", "rcpt_to", "client_ip", "helo", "now")
MAX_OCTETS = 512 << 20
_HELO = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One message to judge. `guessed` names the envelope values that are guesses; `notes` are sentences for a person.

    `refused_as` is what the server would answer to EHLO, MAIL or RCPT for what breaks RFC 5321's grammar; the message is
    judged all the same. `recorded` is the receipt of a message of the spool: what was learnt of its client stands as it is there.
    """

    file: str
    message: Message
    envelope: Envelope
    client: Client
    now: datetime
    guessed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refused_as: Reply | None = None
    recorded: Receipt | None = None


def read_sample(
    path: Path,
    given: Mapping[str, Any],
    is_ours: Callable[[str], bool],
    first_domain: str | None,
    clock: Callable[[], datetime],
) -> Sample:
    """Read a mail file. Raises `Malformed` with a sentence about a value that cannot be used, OSError for the file itself."""
    data = path.read_bytes()
    if len(data) > MAX_OCTETS:
        raise Malformed(f"larger than {MAX_OCTETS:,} octets")
    raw, changed = wire_bytes(data)
    message = Message.of(raw)
    values = {**_beside(path), **given}
    guess = _Guess(message.header, is_ours, first_domain)
    given_from = _reverse_path(values["mail_from"]) if "mail_from" in values else _Read(guess.mail_from())
    given_to = (
        _recipients(values["rcpt_to"], first_domain)
        if values.get("rcpt_to")
        else [_Read(each) for each in guess.rcpt_to()]
    )
    mail_from = given_from.mailbox
    rcpt_to = [read.mailbox for read in given_to if read.mailbox is not None]
    refused_as = _grammar_refusal(str(values.get("helo") or "localhost"), given_from, given_to)
    guessed = [key for key in ("mail_from", "rcpt_to") if key not in values or (key == "rcpt_to" and not values[key])]
    return Sample(
        file=str(path),
        message=message,
        envelope=Envelope(
            reverse_path=mail_from,
            recipients=tuple(Recipient(mailbox=mailbox) for mailbox in dict.fromkeys(rcpt_to)),
            body="7BIT" if raw.isascii() else "8BITMIME",
            smtputf8=not all(str(mailbox).isascii() for mailbox in (mail_from or "", *rcpt_to)),
        ),
        client=_client(values),
        now=_time(values["now"]) if values.get("now") else clock(),
        guessed=tuple(guessed),
        notes=("its line ends were LF and are read as CRLF",) if changed else (),
        refused_as=refused_as,
    )


def _beside(path: Path) -> dict[str, Any]:
    side = path.with_name(path.name + ".yaml")
    if not side.is_file():
        return {}
    report = Report(str(side))
    tree = parse_yaml(side.read_text(encoding="utf-8", errors="replace"), report)
    if tree is not None and not isinstance(tree, MappingNode):
        report.error("wrong-type", tree, f"expected {', '.join(KEYS)}")
    values: dict[str, Any] = {}
    if isinstance(tree, MappingNode):
        for name, (key, node) in tree.entries.items():
            if name in KEYS:
                values[name] = _plain(node)
            else:
                report.error("unknown-key", key, f"unknown key {shown(name)}; expected {', '.join(KEYS)}")
    if report.has_errors:
        raise Malformed("; ".join(str(finding) for finding in report.findings()))
    return values


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return None if node.value is None and not node.quoted else node.text
    if isinstance(node, MappingNode):
        return {}
    return [_plain(item) for item in node.items]


class _Guess:
    def __init__(self, header: HeaderView, is_ours: Callable[[str], bool], first_domain: str | None) -> None:
        self._header, self._is_ours, self._first = header, is_ours, first_domain

    def mail_from(self) -> Mailbox | None:
        return_path = self._header.text("Return-Path")
        if return_path is not None and return_path.strip() == "<>":
            return None
        return next(self._mailboxes("Return-Path", "From"), None)

    def rcpt_to(self) -> list[Mailbox]:
        for name in ("Delivered-To", "X-Original-To"):
            found = list(self._mailboxes(name))
            if found:
                return found[:1]
        ours = [mailbox for mailbox in self._mailboxes("To", "Cc") if self._is_ours(mailbox.domain)]
        return ours or [Mailbox(local_part="postmaster", domain=self._first or "localhost")]

    def _mailboxes(self, *names: str) -> Iterator[Mailbox]:
        for name in names:
            for header in self._header.all(name):
                for named in parse_address_list(header.text):
                    try:
                        yield parse_mailbox(named.address)
                    except Malformed:
                        continue


@dataclass(frozen=True, slots=True)
class _Read:
    """A mailbox as given; `is_broken` where the server would not take it."""

    mailbox: Mailbox | None
    is_broken: bool = False


def _reverse_path(value: Any) -> _Read:
    if value in (None, "", "<>"):
        return _Read(None)
    return _mailbox(value, "mail_from")


def _recipients(value: Any, first_domain: str | None) -> list[_Read]:
    """As the server has it, a bare Postmaster is the first domain's (RFC 5321 §4.5.1)."""
    postmaster = _Read(Mailbox(local_part="postmaster", domain=first_domain or "localhost"))
    return [
        postmaster if str(each).lower() in ("postmaster", "<postmaster>") else _mailbox(each, "rcpt_to")
        for each in ([value] if isinstance(value, str) else value)
    ]


def _mailbox(value: Any, what: str) -> _Read:
    text = value if isinstance(value, str) else ""
    try:
        mailbox = parse_path(text) if text.startswith("<") else parse_mailbox(text)
    except Malformed as error:
        local, at, domain = text.removeprefix("<").removesuffix(">").rpartition("@")
        if not at or not domain or not text.isprintable():
            raise Malformed(f"{what} {shown(str(value))}: {error}") from None
        return _Read(Mailbox(local_part=local, domain=domain.lower()), is_broken=True)
    if mailbox is None:
        raise Malformed(f"{what} may not be the null path")
    return _Read(mailbox)


def _grammar_refusal(helo: str, mail_from: _Read, rcpt_to: list[_Read]) -> Reply | None:
    """The server's answer to the first of EHLO, MAIL and RCPT that breaks the grammar."""
    if not _HELO.match(helo):
        return SYNTAX_ERROR
    if mail_from.is_broken:
        return BAD_SENDER
    return BAD_ADDRESS if any(read.is_broken for read in rcpt_to) else None


def _client(values: Mapping[str, Any]) -> Client:
    ip, helo = values.get("client_ip"), values.get("helo")
    if helo and not str(helo).isprintable():
        raise Malformed(f"helo {shown(str(helo))} is nothing that a client can say")
    try:
        return Client(ip=canonical_ip(str(ip)) if ip else None, helo=str(helo) if helo else None, protocol="ESMTP")
    except ValueError:
        raise Malformed(f"client_ip {shown(str(ip))} is not an IP address") from None


def _time(value: Any) -> datetime:
    try:
        when = datetime.fromisoformat(str(value))
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"now {shown(str(value))} is not a time; expected one like 2026-03-01T12:00:00Z") from None
