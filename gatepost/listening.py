"""The listening sockets: bound by the parent, kept open by it, and handed to whichever process is a worker (semantics.md §6).

Where the kernel can deal connections out (SO_REUSEPORT on Linux) each worker has a socket of its own at every address; elsewhere,
and where systemd bound them, all workers share one. A restarted worker finds what waits in the queue of its socket.
"""

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from mail.errors import Permanent

BACKLOG = 1024
CAN_DEAL = sys.platform == "linux"
_RECHECK_SECONDS = 0.05
_FIRST_PASSED = 3  # sd_listen_fds(3)


Dealt = tuple[socket.socket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """One worker's listening sockets; at those of `tls` TLS comes first."""

    smtp: Sequence[socket.socket] = ()
    tls: Sequence[socket.socket] = ()
    http: Sequence[socket.socket] = ()
    watch: Sequence[socket.socket] = ()


KINDS = tuple(each.name for each in fields(Doors))
"""What sockets are for, in the order in which they are handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """`smtp`, and `tls` where TLS comes first, have the sockets of each address: one for each worker, or one for all.

    `http` may get more later; the first worker serves it, and `watch`, where metrics and health are told.
    """

    smtp: tuple[Dealt, ...]
    tls: tuple[Dealt, ...] = ()
    http: list[socket.socket] = field(default_factory=list)
    watch: list[socket.socket] = field(default_factory=list)

    def of(self, worker: int) -> Doors:
        """What this worker serves."""
        smtp, tls = ([sockets[worker % len(sockets)] for sockets in group] for group in (self.smtp, self.tls))
        return Doors(smtp=smtp, tls=tls, http=self.http if worker == 0 else (), watch=self.watch if worker == 0 else ())

    @property
    def addresses(self) -> list[str]:
        return [shown_address(sockets[0]) for sockets in (*self.smtp, *self.tls)]

    @property
    def http_addresses(self) -> list[str]:
        return [shown_address(bound) for bound in self.http]

    @property
    def watch_addresses(self) -> list[str]:
        return [shown_address(bound) for bound in self.watch]

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """Host and port of each address at which mail is taken."""
        return [sockets[0].getsockname()[:2] for sockets in (*self.smtp, *self.tls)]

    def close(self) -> None:
        for sockets in (*self.smtp, *self.tls, self.http, self.watch):
            for bound in sockets:
                bound.close()


def shown_address(bound: socket.socket) -> str:
    """`127.0.0.1:2580` or `[::1]:2580`."""
    return _shown(*bound.getsockname()[:2])


def bind_all(addresses: Sequence[tuple[str, int]], workers: int) -> tuple[Dealt, ...]:
    """The sockets of each address. Raises OSError, in words that help, and then none is open."""
    opened: list[Dealt] = []
    try:
        for host, port in addresses:
            opened.append(bind(host, port, workers))
    except BaseException:
        Listening(smtp=tuple(opened)).close()
        raise
    return tuple(opened)


def bind(host: str, port: int, workers: int = 1) -> Dealt:
    """A bound, listening socket for each worker, or for all of them where the kernel cannot deal connections out."""
    count = workers if CAN_DEAL else 1
    if count == 1:
        return (_bound(host, port, dealt=False),)
    # Sockets with SO_REUSEPORT bind beside those of any other server of ours: only one without it finds out whether a port is free.
    with _bound(host, port, dealt=False, listens=False) as probe:
        port = port or probe.getsockname()[1]
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_bound(host, port, dealt=True))
    except BaseException:
        Listening(smtp=(tuple(sockets),)).close()
        raise
    return tuple(sockets)


def patiently(bound: Callable[[], tuple[Dealt, ...]], seconds: float) -> tuple[Dealt, ...]:
    """Try for so long while an address is in use: by the workers of a parent that died, which are about to be gone."""
    until = time.monotonic() + seconds
    while True:
        try:
            return bound()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                raise
        time.sleep(_RECHECK_SECONDS)


def passed_sockets(environment: Mapping[str, str], process: int) -> Listening | None:
    """Those of systemd's socket activation (sd_listen_fds(3)), or None.

    One named `http` is for HTTP, at one named `smtps` TLS comes first, all others take mail.

    Raises `Permanent` for one that does not listen for TCP.
    """
    if environment.get("LISTEN_PID") != str(process) or not environment.get("LISTEN_FDS", "").isdecimal():
        return None
    count = int(environment["LISTEN_FDS"])
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {"http": [], "smtps": []}
    for place in range(count):
        descriptor = _FIRST_PASSED + place
        os.set_inheritable(descriptor, False)
        passed = socket.socket(fileno=descriptor)
        is_internet = passed.family in (socket.AF_INET, socket.AF_INET6) and passed.type == socket.SOCK_STREAM
        if not is_internet or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise Permanent(
                f"socket {place + 1} of {count} that systemd passed does not listen for TCP: use ListenStream=HOST:PORT"
            )
        found.setdefault(names[place] if place < len(names) else "", []).append(passed)
    http, tls = found.pop("http"), found.pop("smtps")
    smtp = tuple((passed,) for sockets in found.values() for passed in sockets)
    if count and not (smtp or tls):
        raise Permanent("none of the sockets that systemd passed is for mail: pass port 25 too, or none for http")
    return Listening(smtp=smtp, tls=tuple((passed,) for passed in tls), http=http) if count else None


def _bound(host: str, port: int, *, dealt: bool, listens: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dealt:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        if listens:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _in_words(error, host, port) from None
    return bound


def _in_words(error: OSError, host: str, port: int) -> OSError:
    shown = _shown(host, port)
    if error.errno == errno.EADDRINUSE:
        said = f"{shown} is in use; use --listen HOST:PORT to choose another"
    elif error.errno == errno.EACCES:
        said = (
            f"cannot listen on {shown}: only root may; start as root (see the setting user) or use --listen HOST:PORT"
        )
    else:
        said = f"cannot listen on {shown}: {error.strerror}; use --listen HOST:PORT to choose another"
    told = OSError(said)
    told.errno = error.errno
    return told


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
