"""Attacks on the edge of the real process, while an honest client goes on: what each is answered, and that nothing stays behind.

Each attack prints what it counted: replies, what the honest client delivered meanwhile, and how memory and descriptors stood.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from gateway_process import PYTHON, GatewayProcess, Start, until
from sample_gateway import ZONE
from smtp_wire import GONE, Wire, dotted

MIB = 2**20
RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: all, actions: [{disk: {path: mail}}]}
"""
IMPATIENT = {"GATEPOST_SMTP__COMMAND_TIMEOUT": "2s", "GATEPOST_SMTP__DATA_TIMEOUT": "2s"}
GOOD = b"From: a@b.example\r\nSubject: fine\r\n\r\nfine\r\n"
OPENING = b"EHLO evil.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<x@example.com>\r\n"
Attacker = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def processes(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += processes(int(child))
    return found


def standing(live: GatewayProcess) -> tuple[int, int]:
    """Descriptors, and octets of resident memory that no file stands behind."""
    descriptors, resident = 0, 0
    for pid in processes(live.running.pid):
        descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        status = Path(f"/proc/{pid}/status").read_text()
        resident += next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
    return descriptors, resident


class Honest(threading.Thread):
    """Delivers one message after the other until it is told to stop; a failure is kept for the test."""

    def __init__(self, live: GatewayProcess) -> None:
        super().__init__()
        self._live = live
        self._over = threading.Event()
        self.delivered: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set() or not self.delivered:
                self.delivered.append(self._live.deliver(GOOD, rcpt_to=["x@example.com"]))
        except BaseException as failure:  # the test's thread raises it again
            self.failure = failure

    def stop(self) -> None:
        self._over.set()
        self.join()
        if self.failure is not None:
            raise self.failure


@contextlib.contextmanager
def survived(live: GatewayProcess, what: str, *, grows_by: int = 64 * MIB) -> Iterator[None]:
    """Others are served all the while; memory stays bounded; descriptors come back; no word of Python is said."""
    live.deliver(GOOD, rcpt_to=["x@example.com"])
    descriptors, resident = standing(live)
    highest, over = [resident], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            highest[0] = max(highest[0], standing(live)[1])

    watcher, honest = threading.Thread(target=watch), Honest(live)
    watcher.start()
    honest.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        honest.stop()
    live.wait_done(honest.delivered[-1])
    until(lambda: standing(live)[0] <= descriptors + 4, f"descriptors as before {what}")
    grown = max(highest[0], standing(live)[1]) - resident
    print(f"{what}: {len(honest.delivered)} honest messages meanwhile, grew by {grown / MIB:.1f} MiB at most")
    assert grown < grows_by, f"{grown / MIB:.0f} MiB"
    assert PYTHON.findall(live.output) == []


@pytest.fixture(scope="module")
def live(shared_gateway: Start) -> GatewayProcess:
    return shared_gateway(rules=RULES, dns=ZONE, variables={**IMPATIENT, "GATEPOST_SMTP__CONNECTIONS": "5000"})


def attack(live: GatewayProcess, count: int, play: Callable[[Attacker, int], Awaitable[object]]) -> Counter[object]:
    """So many at once, each on a connection and, in tens, from addresses of one network; what each came to, counted."""

    async def one(number: int) -> object:
        source = (f"127.66.6.{number % 250 + 1}", 0)
        try:
            connection = await asyncio.open_connection(*live.address, local_addr=source, limit=2**22)
        except ConnectionError:
            return "no connection"
        try:
            async with asyncio.timeout(60):
                return await play(connection, number)
        except ConnectionError:
            return "reset"
        finally:
            connection[1].transport.abort()

    async def all_of_them() -> Counter[object]:
        return Counter(await asyncio.gather(*map(one, range(count))))

    return asyncio.run(all_of_them())


async def every_code(reader: asyncio.StreamReader) -> list[str]:
    """The codes of all replies until the end."""
    return [line[:3].decode() for line in (await reader.read()).splitlines() if line[3:4] == b" "]


async def codes(reader: asyncio.StreamReader) -> tuple[str, ...]:
    """Each once for a run of the same."""
    heard = await every_code(reader)
    return tuple(code for number, code in enumerate(heard) if number == 0 or heard[number - 1] != code)


def test_thousands_of_connections_from_one_network_leave_room_for_others(live: GatewayProcess, torture: int) -> None:
    count = min(300 * torture, 10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 500)
    held: list[asyncio.StreamWriter] = []

    async def sit(connection: Attacker, number: int) -> object:
        reader, writer = connection
        first = (await reader.readline())[:9]
        if first.startswith(b"220"):
            held.append(writer)
            await reader.read()  # until it is sent away
        return first[:3]

    with survived(live, f"{count} connections"):
        found = attack(live, count, sit)
    print(found)
    assert set(found) <= {b"220", b"421"}
    assert 190 <= found[b"220"] < count / 2  # 200 at a time: others came when the first had been sent away
    assert found[b"421"] == count - found[b"220"]


SLOW: dict[str, tuple[bytes, bytes]] = {
    "silent from the start": (b"", b""),
    "a command that trickles": (b"", b"x"),
    "behind EHLO": (b"EHLO evil.example\r\n", b""),
    "behind MAIL, trickling": (OPENING[:-25], b"R"),
    "behind DATA": (OPENING + b"DATA\r\nSubject: x\r\n", b""),
    "in a chunk": (OPENING + b"BDAT 1000\r\nabc", b""),
    "between chunks": (OPENING + b"BDAT 3\r\nabc", b""),
}


def test_who_is_slow_is_sent_away_in_every_phase(live: GatewayProcess, torture: int) -> None:
    phases = list(SLOW.items())

    async def dawdle(connection: Attacker, number: int) -> object:
        name, (opening, drop) = phases[number % len(phases)]
        reader, writer = connection
        writer.write(opening)

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                while drop:
                    writer.write(drop)
                    await asyncio.sleep(0.3)

        trickling = asyncio.create_task(trickle())
        heard = await codes(reader)
        trickling.cancel()
        return name, heard[-1]

    with survived(live, "slow clients"):
        found = attack(live, len(phases) * 3 * torture, dawdle)
    print(found)
    assert set(found) == {(name, "421") for name in SLOW}


def test_what_is_sent_along_with_starttls_is_thrown_away(live: GatewayProcess) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Wire(live.address) as wire:
        wire.reply()
        wire.send(b"EHLO evil.example\r\nSTARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@b.example>\r\n")
        assert [wire.reply().code for _ in range(2)] == [250, 220]
        wire.socket = context.wrap_socket(wire.socket)
        assert wire.command("MAIL FROM:<a@b.example>").code == 503  # EHLO was forgotten too
        assert wire.command("EHLO client.example").code == 250
        assert wire.transaction("a@b.example", ["x@example.com"], GOOD).code == 250
    assert all(row["mail_from"] != "evil@b.example" for row in live.objects("find"))


FLOODS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "EHLO": (b"EHLO evil.example\r\n", ("220", "250", "421")),
    "RSET": (b"RSET\r\n", ("220", "250", "421")),
    "no command": (b"x\r\n", ("220", "500", "421")),
    "HELP": (b"HELP\r\n", ("220", "214", "421")),
    "unknown recipients": (b"RCPT TO:<x@open.example>\r\n", ("220", "250", "550", "421")),
}


def test_floods_of_pipelined_commands_end_after_their_limit(live: GatewayProcess, torture: int) -> None:
    kinds = list(FLOODS.items())

    async def flood(connection: Attacker, number: int) -> object:
        name, (line, _) = kinds[number % len(kinds)]
        reader, writer = connection
        opening = OPENING[:-25] if name == "unknown recipients" else b""  # EHLO and MAIL
        writer.write(opening + line * 20_000)
        return name, await codes(reader)

    with survived(live, "pipelined floods"):
        found = attack(live, len(kinds) * 2 * torture, flood)
    print(found)
    # Who is hung up on while sending may lose the last reply to a reset; the first ones are never lost.
    assert {(name, heard) for name, heard in found if heard == dict(kinds)[name][1]} == {  # type: ignore[misc]
        (name, heard) for name, (_, heard) in kinds
    }


def test_100_000_recipients_are_answered_each_and_held_never(live: GatewayProcess, torture: int) -> None:
    count = min(20_000 * torture, 100_000)
    with survived(live, f"{count} recipients"), Wire(live.address) as wire:
        wire.reply()
        assert [wire.command(line).code for line in ("EHLO e.example", "MAIL FROM:<a@b.example>")] == [250, 250]
        lines = b"".join(b"RCPT TO:<user%d@example.com>\r\n" % number for number in range(count))
        sender = threading.Thread(target=wire.send_what_it_takes, args=(lines,))
        sender.start()
        heard = Counter(wire.reply().code for _ in range(count))
        sender.join()
    print(heard)
    assert heard == {250: 1000, 452: count - 1000}


LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "more than there may be": (b"BDAT 99999999999999\r\n", ("552",)),
    "a number with a sign": (b"BDAT -1 LAST\r\n", ("501",)),
    "no number": (b"BDAT x LAST\r\n", ("501",)),
    "twenty-one digits": (b"BDAT 100000000000000000000 LAST\r\n", ("501",)),
    "fewer than are sent": (b"BDAT 2 LAST\r\nab\r\nQUIT\r\n", ("250", "500", "221")),
    "more than are sent": (b"BDAT 100 LAST\r\nabc\r\nQUIT\r\n", ()),
    "a bare line feed inside": (b"BDAT 5 LAST\r\na\nb\r\n", ("554",)),
    "a dot that ends nothing": (b"BDAT 5 LAST\r\n\r\n.\r\nQUIT\r\n", ("250", "221")),
}


def test_lies_about_the_size_of_a_chunk_smuggle_nothing(live: GatewayProcess) -> None:
    kinds = list(LIES.items())

    async def lie(connection: Attacker, number: int) -> object:
        name, (chunk, _) = kinds[number]
        reader, writer = connection
        writer.write(OPENING + chunk)
        writer.write_eof()
        return name, tuple((await every_code(reader))[4:])  # behind the banner, EHLO, MAIL and RCPT

    with survived(live, "BDAT lies"):
        found = attack(live, len(kinds), lie)
    assert dict(found.keys()) == {name: heard for name, (_, heard) in kinds}  # type: ignore[arg-type]


def test_a_half_close_in_the_middle_is_no_message_and_leaves_nothing(live: GatewayProcess, torture: int) -> None:
    script = OPENING + b"DATA\r\nSubject: half\r\n\r\ntext\r\n.\r\n"

    async def half(connection: Attacker, number: int) -> object:
        reader, writer = connection
        cut = number % len(script)
        writer.write(script[:cut])
        writer.write_eof()
        heard = await codes(reader)
        return "accepted" if heard[-2:] == ("354", "250") else "no message"

    with survived(live, "half-closed connections"):
        found = attack(live, min(len(script), 20 * torture), half)
    assert found.keys() == {"no message"}
    assert live.objects("find", "--subject", "half") == []


def test_giant_headers_are_refused_and_never_parsed(live: GatewayProcess) -> None:
    heads = {
        "one field of 8 MB": b"X: " + b"y" * (8 * 10**6) + b"\r\n\r\n",
        "30,000 fields": b"A: b\r\n" * 30_000 + b"\r\n",
        "never a blank line": (b"x" * 70 + b"\r\n") * 100_000,
    }

    async def send(connection: Attacker, number: int) -> object:
        reader, writer = connection
        writer.write(OPENING + b"DATA\r\n" + list(heads.values())[number % len(heads)] + b".\r\nQUIT\r\n")
        return await codes(reader)

    with survived(live, "giant headers", grows_by=200 * MIB):
        found = attack(live, 6, send)
    print(found)
    assert found == {("220", "250", "354", "552", "221"): 6}


def test_handshakes_that_fail_stall_or_end_at_once_leave_nothing(live: GatewayProcess, torture: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before = b"EHLO e.example\r\nSTARTTLS\r\n"

    async def shake(connection: Attacker, number: int) -> object:
        reader, writer = connection
        writer.write(before)
        while not (await reader.readline()).startswith(b"220 2.0.0"):
            pass
        match number % 3:
            case 0:
                writer.write(os.urandom(400))
                return "garbage", await reader.read() != b"x"
            case 1:
                writer.transport.abort()
                return "gone", True
            case _:
                await writer.start_tls(context)
                writer.write(b"EHLO e.example\r\n")
                return "whole", (await reader.readline()).startswith(b"250")

    with survived(live, "TLS handshakes"):
        found = attack(live, 30 * torture, shake)
    print(found)
    assert found == {(kind, True): 10 * torture for kind in ("garbage", "gone", "whole")}


def test_who_never_reads_is_not_answered_without_end(live: GatewayProcess, torture: int) -> None:
    """Replies that nobody takes fill a buffer once, and then the commands wait in the client."""

    def push(wires: Sequence[Wire]) -> list[int]:
        sent = []
        for wire in wires:
            wire.socket.setblocking(False)
            octets = 0
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while octets < 50 * MIB:
                    octets += wire.socket.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@example.com>\r\nRSET\r\n" * 1000)
            sent.append(octets)
        return sent

    with survived(live, "replies that nobody reads"):
        wires = [Wire(live.address, source=f"127.66.7.{number + 1}") for number in range(4 * torture)]
        for wire in wires:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = push(wires)
        for wire in wires:
            wire.socket.close()
    print(f"taken from each: {max(sent) / MIB:.1f} MiB at most")
    assert max(sent) < 20 * MIB


def test_after_all_this_a_message_is_still_taken(live: GatewayProcess) -> None:
    with live.connected() as wire:
        assert [wire.command(line).code for line in ("MAIL FROM:<a@b.example>", "RCPT TO:<x@example.com>", "DATA")] == [
            250,
            250,
            354,
        ]
        wire.send(dotted(GOOD))
        reply = wire.reply()
        assert reply.code == 250
        assert wire.command("QUIT").code == 221
        assert wire.reply() is GONE
    live.wait_done(reply.text.split()[-1])
