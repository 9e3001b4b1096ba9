"""The commands that change the session's state (semantics.md §7), each a function of the machine and its argument."""

from __future__ import annotations  # those of inner functions are made anew at every call otherwise

from collections.abc import Callable
from typing import TYPE_CHECKING

from mail.envelope import Recipient
from mail.reply import (
    BAD_SEQUENCE,
    BARE_NEWLINE,
    BYE,
    LINE_TOO_LONG,
    MESSAGE_TOO_BIG,
    NEED_MAIL,
    NEED_RCPT,
    NOT_IMPLEMENTED,
    OK,
    READY_FOR_TLS,
    RECIPIENT_OK,
    START_DATA,
    SYNTAX_ERROR,
    TOO_MANY_RECIPIENTS,
    TRY_AGAIN,
    UNKNOWN_COMMAND,
    Reply,
)
from mail.values import changed
from smtp.arguments import Refusal, parse_bdat, parse_hello, parse_mail, parse_rcpt, parse_xclient
from smtp.config import can_start_tls, trusts
from smtp.content import Content
from smtp.events import Hello, Mail, Rcpt, Refused, Verb
from smtp.reading import SIZE_LIMIT, start_chunk, start_data
from smtp.replies import (
    TOO_MANY_COMMANDS,
    TOO_MANY_MESSAGES,
    TOO_MANY_RECIPIENTS_HERE,
    TOO_MANY_REFUSED,
    banner,
    hello,
)
from smtp.transaction import Chunk

if TYPE_CHECKING:
    from smtp.machine import Machine

_ARGUMENT_SHOWN = 256
_BLANK = b" \t\r"  # RFC 5321 §4.1.1: white space before the CRLF is tolerated
LINE_LIMIT = "smtp.line_limit"


def read_line(machine: Machine, data: bytes, at: int) -> bool:
    """Run the command line that begins there; False where its end has not come."""
    limits, strict = machine.config.limits, machine.strict
    end = data.find(b"\n", at)
    octets = (len(data) if end < 0 else end + 1) - at
    if octets > limits.garbage_octets:
        is_bare = strict and b"\r" in data[at : at + limits.garbage_octets - 1]
        reply, limit = (BARE_NEWLINE, "") if is_bare else (LINE_TOO_LONG, LINE_LIMIT)
        machine.refuse("", reply.closing(), limit)
        return True
    if end < 0:
        return False
    machine.move_to(end + 1)
    line = data[at:end]
    if strict and (not line.endswith(b"\r") or b"\r" in line[:-1]):
        machine.refuse("", BARE_NEWLINE)
    elif octets > limits.line_octets:
        machine.refuse("", LINE_TOO_LONG, LINE_LIMIT)
    else:
        run(machine, line.rstrip(_BLANK))
    return True


def run(machine: Machine, line: bytes) -> None:
    """One command line without its CRLF."""
    counts, limits = machine.counts, machine.config.limits
    verb, _, argument = line.partition(b" ")
    verb = verb.upper()
    counts.commands += 1
    if verb not in _BRINGS_MAIL:
        counts.idle_commands += 1
    if counts.commands - counts.commands_before > limits.commands or counts.idle_commands > limits.idle_commands:
        machine.refuse(_shown(verb), TOO_MANY_COMMANDS, "smtp.idle_commands")
        return
    command = _COMMANDS.get(verb, _unknown)
    try:
        command(machine, argument)
    except Refusal as refusal:
        machine.refuse(_shown(verb), refusal.reply, refusal.limit, refusal.sender)


def _shown(verb: bytes) -> str:
    return verb[:16].decode("ascii", "replace") if verb.isalnum() else ""


def _ehlo(machine: Machine, argument: bytes) -> None:
    _greet(machine, "EHLO", parse_hello(argument))


def _helo(machine: Machine, argument: bytes) -> None:
    _greet(machine, "HELO", parse_hello(argument))


def _greet(machine: Machine, verb: str, name: str) -> None:
    machine.drop_transaction()
    protocol = "SMTP" if verb == "HELO" else "ESMTPS" if machine.client.tls else "ESMTP"  # RFC 3848
    client = changed(machine.client, helo=machine.helo_override or name, protocol=protocol)
    machine.greeting = verb
    machine.ask(Hello(client))


def answered_hello(machine: Machine, event: Hello, reply: Reply | None) -> None:
    if reply is not None:
        machine.send(reply)
        return
    machine.client = event.client
    machine.greeted_with = machine.greeting
    config = machine.config
    if machine.greeting == "EHLO":
        trusted = trusts(config, machine.peer)
        machine.send_raw(hello(config, secure=machine.client.tls is not None, trusted=trusted))
    elif machine.greeting == "HELO":
        machine.send(Reply(code=250, text=config.hostname))
    else:
        machine.send_raw(banner(config))


def _xclient(machine: Machine, argument: bytes) -> None:
    if not trusts(machine.config, machine.peer):
        raise Refusal(UNKNOWN_COMMAND)
    if machine.transaction.is_open:
        raise Refusal(BAD_SEQUENCE)
    client = parse_xclient(argument, changed(machine.client, helo=machine.helo_override))
    machine.helo_override = client.helo
    machine.greeting = ""  # the session starts again: it is greeted, and says EHLO
    machine.ask(Hello(client))


def _starttls(machine: Machine, argument: bytes) -> None:
    if not can_start_tls(machine.config):
        raise Refusal(NOT_IMPLEMENTED)
    if argument.strip():
        raise Refusal(SYNTAX_ERROR)
    if machine.client.tls is not None or machine.transaction.is_open:
        raise Refusal(BAD_SEQUENCE)
    machine.send(READY_FOR_TLS)
    machine.start_tls()


def _mail(machine: Machine, argument: bytes) -> None:
    if not machine.greeted_with:
        raise Refusal(BAD_SEQUENCE.because("Send EHLO first"))
    if machine.transaction.is_open:
        raise Refusal(BAD_SEQUENCE.because("Error: nested MAIL command"))
    limits = machine.config.limits
    if machine.counts.transactions >= limits.transactions:
        raise Refusal(TOO_MANY_MESSAGES, "smtp.messages_per_connection")
    if machine.counts.recipients >= limits.recipients_per_connection:
        raise Refusal(TOO_MANY_RECIPIENTS_HERE, "smtp.recipients_per_connection")
    mail = parse_mail(argument, extended=machine.greeted_with == "EHLO", limit=limits.message_octets)
    machine.offered = mail
    machine.ask(Mail(mail.reverse_path, mail.declared_size, mail.smtputf8))


def answered_mail(machine: Machine, reply: Reply | None) -> None:
    reply = reply or TRY_AGAIN
    if reply.is_positive:
        machine.counts.transactions += 1
        machine.transaction.mail = machine.offered
    machine.send(reply)


def _rcpt(machine: Machine, argument: bytes) -> None:
    transaction = machine.transaction
    if transaction.mail is None:
        raise Refusal(NEED_MAIL)
    if transaction.content is not None:
        raise Refusal(BAD_SEQUENCE)
    mailbox = parse_rcpt(argument, smtputf8=transaction.mail.smtputf8)
    if len(transaction.recipients) >= machine.config.limits.recipients:
        # Not an error of the client's: RFC 5321 §4.5.3.1.10 has it send the rest in another transaction.
        machine.ask(Refused("RCPT", TOO_MANY_RECIPIENTS, "smtp.recipients"))
        machine.send(TOO_MANY_RECIPIENTS)
    elif mailbox in transaction.recipients:
        machine.send(RECIPIENT_OK)
    else:
        machine.ask(Rcpt(mailbox))


def answered_rcpt(machine: Machine, event: Rcpt, reply: Reply | None) -> None:
    reply = reply or TRY_AGAIN
    if reply.is_positive:
        machine.transaction.recipients[event.mailbox] = Recipient(mailbox=event.mailbox)
        machine.counts.recipients += 1
    elif not reply.is_transient:
        machine.counts.refused_recipients += 1
        if machine.counts.refused_recipients >= machine.config.limits.refused_recipients and not reply.close:
            machine.send(reply)
            machine.ask(Refused("RCPT", TOO_MANY_REFUSED, "smtp.refused_recipients"))
            reply = TOO_MANY_REFUSED
    machine.send(reply)


def _data(machine: Machine, argument: bytes) -> None:
    transaction = machine.transaction
    if argument.strip():
        raise Refusal(SYNTAX_ERROR)
    if transaction.mail is None:
        raise Refusal(NEED_MAIL)
    if not transaction.recipients:
        raise Refusal(NEED_RCPT)
    if transaction.content is not None:
        raise Refusal(BAD_SEQUENCE)  # RFC 3030 §2: not after BDAT
    start_data(machine)
    machine.send(START_DATA)


def _bdat(machine: Machine, argument: bytes) -> None:
    octets, is_last = parse_bdat(argument)
    transaction, limits = machine.transaction, machine.config.limits
    refusal: Reply | None = None
    limit = ""
    if transaction.mail is None:
        refusal = NEED_MAIL
    elif not transaction.recipients:
        refusal = NEED_RCPT
    elif (transaction.content.octets if transaction.content else 0) + octets > limits.message_octets:
        refusal, limit = MESSAGE_TOO_BIG, SIZE_LIMIT
    if refusal is not None and octets > limits.grace_octets:
        refusal = refusal.closing()  # too much to read past
        octets = 0
    if refusal is None and transaction.content is None:
        transaction.content = Content(limits.message_octets, strict=machine.strict)
    start_chunk(machine, Chunk(octets_left=octets, is_last=is_last, refusal=refusal, limit=limit))


def _rset(machine: Machine, argument: bytes) -> None:
    if argument.strip():
        raise Refusal(SYNTAX_ERROR)
    machine.drop_transaction()
    machine.send(OK)


def _quit(machine: Machine, argument: bytes) -> None:
    if argument.strip():
        raise Refusal(SYNTAX_ERROR)
    machine.send(BYE)


def _inherited(name: str) -> Command:
    def ask(machine: Machine, argument: bytes) -> None:
        machine.ask(Verb(name, argument[:_ARGUMENT_SHOWN].decode("ascii", "replace")))

    return ask


def _auth(_machine: Machine, _argument: bytes) -> None:
    raise Refusal(NOT_IMPLEMENTED)  # nobody logs in to an MX, and offering it would attract those who guess


def _foreign(_machine: Machine, _argument: bytes) -> None:
    raise Refusal(
        UNKNOWN_COMMAND.closing()
    )  # a browser was talked into speaking to us; its next lines are not SMTP either


def _unknown(_machine: Machine, _argument: bytes) -> None:
    raise Refusal(UNKNOWN_COMMAND)


Command = Callable[["Machine", bytes], None]
_BRINGS_MAIL = frozenset({b"MAIL", b"RCPT", b"DATA", b"BDAT"})
_COMMANDS: dict[bytes, Command] = {
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _data,
    b"BDAT": _bdat,
    b"EHLO": _ehlo,
    b"HELO": _helo,
    b"QUIT": _quit,
    b"RSET": _rset,
    b"STARTTLS": _starttls,
    b"XCLIENT": _xclient,
    b"NOOP": _inherited("NOOP"),
    b"HELP": _inherited("HELP"),
    b"VRFY": _inherited("VRFY"),
    b"EXPN": _inherited("EXPN"),
    b"AUTH": _auth,
    **dict.fromkeys((b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"TRACE"), _foreign),
}
