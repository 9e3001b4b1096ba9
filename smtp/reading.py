"""How the machine reads what is no command: the PROXY header, DATA up to its last dot, BDAT up to its last octet.

A reader takes what there is of its content, and answers or asks when it ends. Every refusal ends the transaction.
"""

from typing import TYPE_CHECKING

from mail.errors import Malformed
from mail.reply import BAD_SEQUENCE, BARE_NEWLINE, MESSAGE_TOO_BIG, OK, Reply
from mail.values import changed
from smtp.content import Content, DotContent
from smtp.events import Arrived, Data, Denied
from smtp.proxy import parse_proxy
from smtp.replies import NO_PROXY_HEADER
from smtp.transaction import Chunk

if TYPE_CHECKING:
    from smtp.machine import Machine


SIZE_LIMIT = "smtp.size_limit"


def read_proxy(machine: "Machine") -> bool:
    data, at = machine.next_octets()
    try:
        proxied = parse_proxy(data[at:])
    except Malformed:
        # Whoever does not speak the protocol of the proxy is told nothing; the operator is.
        machine.ask(Denied(machine.client, NO_PROXY_HEADER, "proxy_from"))
        machine.finish()
        return True
    if proxied is None:
        return False
    machine.move_to(at + proxied.octets)
    if proxied.ip is None:
        machine.open_for(machine.client)
    else:
        machine.open_for(changed(machine.client, ip=proxied.ip, port=proxied.port))
    return True


def start_data(machine: "Machine") -> None:
    limits = machine.config.limits
    dots = DotContent(limits.message_octets, limits.grace_octets, strict=machine.strict)
    machine.transaction.content = dots.content
    machine.read_with(lambda: _read_data(machine, dots))


def _read_data(machine: "Machine", dots: DotContent) -> bool:
    machine.move_to(dots.feed(*machine.next_octets()))
    if dots.content.has_bare_newline:
        _refuse(machine, "DATA", BARE_NEWLINE)
    elif dots.is_exhausted:
        _refuse(machine, "DATA", MESSAGE_TOO_BIG.closing(), SIZE_LIMIT)
    elif dots.is_finished and dots.content.is_over:
        _refuse(machine, "DATA", MESSAGE_TOO_BIG, SIZE_LIMIT)
    else:
        tell(machine, dots.content)
        if dots.is_finished:
            _deliver(machine, dots.content, dots.take())
    return True


def start_chunk(machine: "Machine", chunk: Chunk) -> None:
    if chunk.octets_left:
        machine.read_with(lambda: _read_chunk(machine, chunk))
    else:
        _end_chunk(machine, chunk)


def _read_chunk(machine: "Machine", chunk: Chunk) -> bool:
    data, at = machine.next_octets()
    piece = data[at : at + chunk.octets_left]
    machine.move_to(at + len(piece))
    chunk.octets_left -= len(piece)
    content = machine.transaction.content
    if chunk.refusal is None and content is not None:
        content.add(piece, piece)
        if content.has_bare_newline:
            _refuse(machine, "BDAT", BARE_NEWLINE)
            return True
        tell(machine, content)
    if not chunk.octets_left:
        _end_chunk(machine, chunk)
    return True


def _end_chunk(machine: "Machine", chunk: Chunk) -> None:
    content = machine.transaction.content
    if chunk.refusal is not None or content is None:
        _refuse(machine, "BDAT", chunk.refusal or BAD_SEQUENCE, chunk.limit)
    elif not chunk.is_last:
        machine.read_commands()
        machine.send(OK.because(f"{content.octets} octets received"))
    elif machine.strict and content.ends_with_cr:
        _refuse(machine, "BDAT", BARE_NEWLINE)
    else:
        rest = content.take()
        if content.is_over:  # it has grown: a lone LF is two octets now
            _refuse(machine, "BDAT", MESSAGE_TOO_BIG, SIZE_LIMIT)
            return
        # DATA could not have carried a message without a final CRLF, and everything behind relies on it.
        _deliver(machine, content, rest if not rest or rest.endswith(b"\r\n") else rest + b"\r\n")


def tell(machine: "Machine", content: Content) -> None:
    """The session hears what has come of a large message."""
    for piece in content.arrived():
        machine.ask(Arrived(piece))


def _deliver(machine: "Machine", content: Content, rest: bytes) -> None:
    machine.read_commands()
    machine.ask(Data(machine.transaction.envelope(), rest, content.told + len(rest)))


def _refuse(machine: "Machine", command: str, reply: Reply, limit: str = "") -> None:
    machine.read_commands()
    machine.refuse(command, reply, limit)
    if not machine.is_over:
        machine.drop_transaction()
