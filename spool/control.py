"""The control socket: how a command asks the process that holds the shards to change something (semantics.md §6).

One request and one answer a line, both JSON objects, on a Unix socket that only its owner may open. An answer is
`{"ok": ...}` or `{"error": text, "kind": "NotFound"}`.

*Trust.* Who can open the socket is the user the server runs as, or root; a request is still read as data, within a bound.
*Failure.* An error of the house's family is answered in its words; any other is answered without detail and logged.
"""

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mail.errors import GatepostError, Malformed, Misuse, Permanent, Temporary
from spool.ports import Broken, Full, Locked, NotFound

Handler = Callable[[dict[str, Any]], Awaitable[Any]]

PEER_UID: ContextVar[int | None] = ContextVar("PEER_UID", default=None)
"""While a handler runs: the user at the other end, as the kernel says; None where it does not, and where nobody asked."""

LINE_OCTETS = 2**20
ANSWER_OCTETS = 2**26  # what every worker of a large machine counted
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_PATH_OCTETS = 107  # sun_path, with its final NUL
_KINDS: dict[str, type[GatepostError]] = {
    kind.__name__: kind for kind in (NotFound, Full, Broken, Locked, Malformed, Misuse, Permanent, Temporary)
}

_log = logging.getLogger("gatepost.spool")


class NoServer(Temporary):
    """Nobody listens on the socket: the shards are free to be opened."""


def open_control(path: Path) -> socket.socket:
    """Listen on `path`, 0600. `Locked`: a live server listens there; a dead one's socket is replaced.

    Who has it is the server of that directory, whether it answers yet or not: nothing there is changed before.
    """
    _check_length(path)
    if path.is_socket():
        if _is_alive(path):
            raise Locked(f"{path} is in use by a running server")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # before bind, so that the file is never wider than this
        listening.bind(str(path))
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening


async def serve_control(listening: socket.socket, handler: Handler) -> asyncio.Server:
    """Answer on what `open_control` opened, also whoever waits there already; close the result to stop."""
    try:
        return await asyncio.start_unix_server(
            lambda reader, writer: _converse(reader, writer, handler), sock=listening, limit=LINE_OCTETS
        )
    except BaseException:
        listening.close()
        raise


async def ask(path: Path, request: dict[str, Any], *, timeout_seconds: float = 30.0) -> Any:
    """One request, and what its answer holds under `ok`. Raises `NoServer`, or the family's error that the server answered."""
    _check_length(path)
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_OCTETS)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoServer(f"no server listens on {path}") from error
    except OSError as error:
        raise Temporary(f"{path} cannot be opened: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_seconds):
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
    except (TimeoutError, OSError, ValueError) as error:
        raise Temporary(f"the server did not answer on {path}") from error
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise Temporary(f"the server on {path} broke off")
    return unpacked(json.loads(line))


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    PEER_UID.set(_uid_of(writer.get_extra_info("socket")))
    try:
        while line := await reader.readline():
            writer.write(json.dumps(await answered(line, handler)).encode() + b"\n")
            await writer.drain()
    except (ValueError, OSError) as error:
        _log.warning("a request on the control socket was cut off: %s", error)  # longer than a line may be, or gone
    finally:
        writer.close()


def _uid_of(connected: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)


async def answered(line: bytes, handler: Handler) -> dict[str, Any]:
    """What the handler says to the request on this line, as an answer of the protocol."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        return {"error": "a request is one JSON object on one line", "kind": "Malformed"}
    return await answer_to(request, handler)


async def answer_to(request: dict[str, Any], handler: Handler) -> dict[str, Any]:
    """`{"ok": ...}`, or the failure in words."""
    try:
        return {"ok": await handler(request)}
    except GatepostError as error:
        kind = next((name for name, family in _KINDS.items() if isinstance(error, family)), "Temporary")
        return {"error": str(error), "kind": kind}
    except Exception:
        _log.exception("a request on the control socket failed")
        return {"error": "the server failed; its log says how", "kind": "Temporary"}


def unpacked(answer: dict[str, Any]) -> Any:
    """What an answer holds under `ok`; raises the error of the family that it tells of instead."""
    if "error" in answer:
        raise _KINDS.get(answer["kind"], Temporary)(answer["error"])
    return answer["ok"]


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1.0)
        try:
            knock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except TimeoutError:
            return True
        return True


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > _PATH_OCTETS:
        raise Permanent(
            f"{path} is too long for a socket ({_PATH_OCTETS} octets at most); use a relative or shorter --data"
        )
