"""Too few descriptors, a DNS that is slow or lies, an expired certificate, a clock that jumps, a storm of reloads."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from gateway_process import GatewayProcess, Start, until
from mail_load import Load
from sample_gateway import ZONE, sample_bytes, small_settings
from smtp_wire import Wire
from webhook_sink import Sink

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: all
      actions: [{disk: {path: mail}}]
"""
RAW = b"From: a@b.example\r\nSubject: fine\r\n\r\nfine\r\n"


def family(live: GatewayProcess) -> list[int]:
    """The processes of a gateway."""
    found = [live.running.pid]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def descriptors(live: GatewayProcess) -> int:
    return sum(len(os.listdir(f"/proc/{process}/fd")) for process in family(live))


def test_out_of_descriptors_it_waits_and_then_goes_on(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE)
    live.deliver(RAW, rcpt_to=["x@example.com"])
    before = descriptors(live)
    for process in family(live):
        room = len(os.listdir(f"/proc/{process}/fd")) + 24
        resource.prlimit(process, resource.RLIMIT_NOFILE, (room, room))
    with ExitStack() as stack:
        # One that is there already is served, whatever comes after it.
        first = stack.enter_context(live.connected())
        crowd = [stack.enter_context(socket.create_connection(live.address, timeout=5)) for _ in range(120)]
        served = sum(greeted(each) for each in crowd)
        reply = first.transaction("a@b.example", ["x@example.com"], RAW)
        assert reply.code in (250, 451, 452), reply
    assert 0 < served < len(crowd), "the limit was not felt"
    assert live.running.poll() is None
    message_id = until(lambda: taken(live), "mail is taken again", seconds=30)
    live.wait_done(message_id)
    until(lambda: descriptors(live) <= before + 4, "every descriptor is given back", seconds=20)
    print(
        f"{len(crowd)} connections, {served} greeted with 24 descriptors to spare; then {descriptors(live)} open as before"
    )


def greeted(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(3) == b"220"
    except OSError:
        return False


def taken(live: GatewayProcess) -> str | None:
    try:
        with live.connected(timeout=5) as wire:
            reply = wire.transaction("a@b.example", ["x@example.com"], RAW)
    except (OSError, AssertionError):
        return None
    return reply.text.split()[-1] if reply.code == 250 else None


class NameServer:
    """Answers on UDP as `manner` says: silent, slow, garbage, another question's answer, or everything exists."""

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(4096)
            except OSError:
                return
            self.questions += 1
            threading.Thread(target=self._answer, args=(query, client), daemon=True).start()

    def _answer(self, query: bytes, client: tuple[str, int]) -> None:
        if self.manner == "slow":
            time.sleep(3)
        question = query[12 : query.index(b"\0", 12) + 5]
        answers = {
            "silent": None,
            "slow": reply(query, question, rcode=2),
            "garbage": os.urandom(40),
            "another question": reply(query, b"\x05other\x07example\0\0\1\0\1"),
            "a lie": reply(query, question, record=b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\2"),
            "cut off": reply(query, question, flags=0x8380),
        }
        answer = answers[self.manner]
        if answer is not None:
            try:
                self._socket.sendto(answer, client)
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()


def reply(query: bytes, question: bytes, *, rcode: int = 0, record: bytes = b"", flags: int = 0x8180) -> bytes:
    return query[:2] + struct.pack(">HHHHH", flags | rcode, 1, bool(record), 0, 0) + question + record


@pytest.fixture(params=["silent", "slow", "garbage", "another question", "a lie", "cut off"])
def name_server(request: pytest.FixtureRequest) -> Iterator[NameServer]:
    made = NameServer(request.param)
    yield made
    made.close()


def test_a_name_server_that_fails_in_any_manner_neither_stops_mail_nor_makes_it_authentic(
    name_server: NameServer, gateway: Start, tmp_path: Path
) -> None:
    config = small_settings(tmp_path, dns=f"{{servers: ['{name_server.address}'], timeout: 4s}}")
    live = gateway(rules=RULES, config=config)
    started = time.monotonic()
    message_id = live.deliver(sample_bytes("invoice.eml"), mail_from="billing@acme.example", rcpt_to=["x@example.com"])
    seconds = time.monotonic() - started
    assert seconds < 15
    live.wait_done(message_id)
    (told,) = live.stories([message_id])
    words = {method: told["verdicts"][method]["status"] for method in ("spf", "dkim", "dmarc")}
    assert "PASS" not in words.values(), words
    assert name_server.questions
    print(f"{name_server.manner}: {name_server.questions} questions, {seconds:.1f} s, {words}")


def test_an_expired_certificate_still_keeps_listeners_out(gateway: Start, tmp_path: Path) -> None:
    """RFC 7435: between mail servers any certificate is better than none; that it ended is doctor's to say."""
    issued = trustme.CA().issue_cert("mx.example.com", not_after=datetime.now(UTC) - timedelta(days=3))
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "expired.pem")
    config = small_settings(tmp_path, tls=f"{{certificate: {tmp_path / 'expired.pem'}}}", dns=f"{{zone: {ZONE}}}")
    live = gateway(rules=RULES, config=config)
    config.write_text(config.read_text() + f"listen: ['{live.listen}']\n")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with live.connected() as wire:
        assert wire.command("STARTTLS").code == 220
        wire.socket = context.wrap_socket(wire.socket)
        assert wire.command("EHLO client.example").code == 250
        reply = wire.transaction("a@b.example", ["x@example.com"], RAW)
    assert reply.code == 250
    told = live.cli("doctor").stdout.decode()
    assert "the certificate was good until" in told
    print("an expired certificate: 1 message taken under it after STARTTLS, and doctor says that it ended")


CLOCK = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long shift(void) {
    char text[32] = {0};
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long found = read(file, text, 31) > 0 ? atol(text) : 0;
    close(file);
    return found;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(which, now);
    if (!done && which == CLOCK_REALTIME) now->tv_sec += shift();
    return done;
}
time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
"""


def test_a_clock_that_jumps_loses_nothing_and_repeats_nothing(gateway: Start, sink: Sink, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("moving the clock of one process needs a C compiler")
    (tmp_path / "clock.c").write_text(CLOCK)
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "clock.c"), "-ldl"], check=True)
    rules = RULES.replace(
        "[{disk: {path: mail}}]", f"[{{disk: {{path: mail}}}}, {{webhook: {{url: {sink.url}, format: raw}}}}]"
    )
    shift.write_text("0")
    live = gateway(rules=rules, dns=ZONE, variables={"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)})
    ids = []
    for hours in (0, -48, 3, 0):
        shift.write_text(str(hours * 3600))
        ids += [live.deliver(RAW, rcpt_to=["x@example.com"]) for _ in range(5)]
    live.wait_done(*ids)
    assert sink.ids() == dict.fromkeys([f"{message_id}/0/all/1" for message_id in ids], 1)
    rows = {row["id"]: row for row in live.objects("find", "--limit", "100")}
    assert rows.keys() == set(ids)
    hours = {datetime.fromisoformat(row["at"]).astimezone(UTC) for row in rows.values()}
    assert max(hours) - min(hours) > timedelta(hours=50), "the clock did not move"
    for message_id in ids:
        assert (live.data / "mail" / message_id).read_bytes().endswith(RAW)
    print(f"{len(ids)} messages over jumps of -48 h, +51 h and -3 h: each stored and posted once")


@pytest.mark.timeout(300)
def test_a_storm_of_reloads_under_load_costs_no_message(gateway: Start, torture: int) -> None:
    live = gateway(rules=RULES, dns=ZONE, options=("--quiet",))
    assert live.rules is not None
    live.deliver(RAW, rcpt_to=["x@example.com"])
    before = descriptors(live)
    load = Load(live.address, messages=100 * torture, connections=10, recipient="x@example.com")
    load.start()
    reloads = 0
    while not load.is_over:
        # Every third one is broken, and changes nothing.
        broken = reloads % 3 == 2
        text = RULES.replace("name: all", f"name: all-{reloads % 7}") + ("    - {nonsense\n" if broken else "")
        partial = live.rules.with_name("next.yaml")
        partial.write_text(text)
        partial.replace(live.rules)
        live.signal(signal.SIGHUP)
        reloads += 1
        threading.Event().wait(0.02)
    load.join()
    assert load.refusals == []
    assert len(load.taken) == 100 * torture
    live.wait_done(*load.taken, seconds=120)
    steps = {row["id"] for row in live.objects("find", "--limit", "100000", "--outcome", "stored")}
    assert load.taken.keys() <= steps
    until(lambda: descriptors(live) <= before + 4, "every descriptor is given back", seconds=20)
    print(f"{reloads} reloads, a third of them broken, under {len(load.taken)} messages: none refused, all stored")


def test_a_message_is_taken_whole_although_it_comes_over_a_reload(gateway: Start) -> None:
    """It is pinned to the rules of its MAIL (semantics.md §4)."""
    live = gateway(rules=RULES, dns=ZONE)
    assert live.rules is not None
    with Wire(live.address, timeout=20) as wire:
        assert wire.reply().code == 220
        for line, code in (("EHLO c.example", 250), ("MAIL FROM:<a@b.example>", 250), ("RCPT TO:<x@example.com>", 250)):
            assert wire.command(line).code == code
        live.rules.write_text(RULES.replace("name: all", "name: new"))
        live.signal(signal.SIGHUP)
        until(lambda: "now active" in live.output, "the new rules are active")
        assert wire.command("DATA").code == 354
        wire.send(RAW + b".\r\n")
        reply = wire.reply()
    assert reply.code == 250
    message_id = reply.text.split()[-1]
    live.wait_done(message_id)
    (told,) = live.stories([message_id])
    assert [step["rule"] for step in told["steps"]] == ["all"]
