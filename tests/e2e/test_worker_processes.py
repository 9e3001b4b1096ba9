"""The parent and its workers: who takes mail, who follows whom, and what is left when one of them is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

from gateway_process import PROGRAM, GatewayProcess, Start, environment, until
from sample_gateway import ZONE
from smtp_wire import Wire
from webhook_sink import Sink

from mail.ids import shard_of

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: keep, actions: [{disk: {path: mail}}]}
"""
POSTED = RULES.replace("{disk: {path: mail}}", "{webhook: {url: SINK, format: raw}}")
RAW = b"From: a@b.example\r\nSubject: hi\r\n\r\nhi\r\n"


def delivered(live: GatewayProcess, count: int) -> list[str]:
    """So many mails, each over a connection of its own."""
    return [live.deliver(RAW, rcpt_to=["x@example.com"]) for _ in range(count)]


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_worker_takes_mail_in_a_shard_of_its_own(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, workers=2)
    assert len(set(live.pids)) == 2
    assert live.running.pid not in live.pids
    ids = delivered(live, 40)
    assert {shard_of(message_id) for message_id in ids} == {0, 1}
    assert (
        Counter(len(Path(live.data / "shards" / name / "spool.db").read_bytes()) > 0 for name in ("00", "01"))[True]
        == 2
    )
    live.wait_done(*ids)
    assert {row["id"] for row in live.objects("find", "--limit", "100")} == set(ids)
    # One line each, whole, whoever wrote it.
    lines = [line for line in live.output.splitlines() if " 250 " in line]
    assert sorted(line.split()[-1] for line in lines) == sorted(ids)


def test_what_fewer_workers_hold_is_finished_and_nothing_is_lost(gateway: Start, sink: Sink) -> None:
    live = gateway(rules=POSTED.replace("SINK", sink.url), dns=ZONE, workers=3)
    sink.status = 503
    first = delivered(live, 30)
    assert {shard_of(message_id) for message_id in first} == {0, 1, 2}
    assert live.stop() == 0
    live.workers = 1
    sink.status = 200
    live.start()
    assert len(live.pids) == 1
    # Some have had their next attempt by themselves by now.
    live.cli("queue", "retry", *first)
    live.wait_done(*first)
    second = delivered(live, 3)
    assert {shard_of(message_id) for message_id in second} == {0}
    assert live.stop() == 0
    live.workers = 2
    live.start()
    third = delivered(live, 12)
    live.wait_done(*second, *third)
    ids = [*first, *second, *third]
    assert {row["id"] for row in live.objects("find", "--limit", "100")} == set(ids)
    assert set(sink.ids()) == {f"{message_id}/0/keep/0" for message_id in ids}


def test_an_operator_reaches_the_jobs_of_every_worker(gateway: Start, sink: Sink) -> None:
    live = gateway(rules=POSTED.replace("SINK", sink.url), dns=ZONE, workers=2)
    sink.status = 503
    ids = delivered(live, 16)
    until(lambda: len(live.objects("queue", "list")) == 16, "each has a job")
    jobs = [str(row["id"]) for row in live.objects("queue", "list")]
    parked = live.cli("queue", "park", *jobs)
    assert b"16 jobs parked" in parked.stdout, parked
    sink.status = 200
    assert b"16 jobs released" in live.cli("queue", "release", "--yes", "--all").stdout
    live.wait_done(*ids)


def test_a_dead_worker_is_replaced_while_the_other_goes_on(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, workers=2)
    sessions = [Wire(live.address) for _ in range(16)]
    assert {wire.reply().code for wire in sessions} == {220}
    victim = live.pids[1]
    os.kill(victim, signal.SIGKILL)
    until(lambda: f"worker 1 (process {victim}) was killed by SIGKILL" in live.output, "it says who died")
    # Those of the other worker go on; whoever comes meanwhile waits in the queue, or with the other.
    ids = delivered(live, 16)
    answers = Counter(wire.command("NOOP").code for wire in sessions if wire.send_what_it_takes(b""))
    assert answers[250] > 0
    for wire in sessions:
        wire.socket.close()
    until(lambda: "worker 1 is back" in live.output, "it is replaced")
    live.wait_done(*ids, *delivered(live, 8))


def test_a_worker_that_is_told_to_end_drains_and_is_replaced(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE)
    with live.connected() as wire:
        for line, code in (("MAIL FROM:<a@b.example>", 250), ("RCPT TO:<x@example.com>", 250), ("DATA", 354)):
            assert wire.command(line).code == code
        os.kill(live.pids[0], signal.SIGTERM)
        with Wire(live.address, timeout=30) as waiting:
            wire.send(RAW + b".\r\n")
            assert wire.reply().code == 250
            # It came while nobody listened: the parent holds the socket, and the next worker finds it in its queue.
            assert waiting.reply().code in (220, 421)
    until(lambda: "worker 0 is back" in live.output, "it is replaced")
    assert "ended as it was told to" in live.output
    delivered(live, 2)


def test_workers_end_with_the_parent_and_a_restart_works_at_once(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, workers=2)
    ids = delivered(live, 6)
    for _ in range(2):
        pids = live.pids
        live.kill()
        live.start()
        assert not any(is_alive(pid) for pid in pids)
        ids += delivered(live, 6)
    live.wait_done(*ids)


def test_a_second_server_of_the_same_state_is_refused(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE)
    active, counted = live.objects("rules", "list"), (live.data / "limits.cells").stat().st_ino
    other = gateway(start=False, rules=RULES.replace("keep", "other"), dns=ZONE, state=live.data)
    other.launch()
    assert other.wait() == 3
    assert "in use" in other.output
    # It has changed nothing there before it knew.
    assert live.objects("rules", "list") == active
    assert (live.data / "limits.cells").stat().st_ino == counted
    other = gateway(start=False, rules=RULES, dns=ZONE, listen=live.listen, workers=2)
    other.launch()
    assert other.wait() == 3
    assert f"{live.listen} is in use; use --listen" in other.output
    delivered(live, 1)


def test_what_keeps_a_worker_from_its_start_ends_the_server_with_its_reason(gateway: Start, tmp_path: Path) -> None:
    zone = tmp_path / "zone.yaml"
    zone.write_text("example.com: {TEXT: [x]}\n")
    live = gateway(start=False, rules=RULES, dns=zone, workers=2)
    live.launch()
    assert live.wait() == 3
    assert live.output.count("error: ") == 1
    assert not live.ready_file.exists()


def test_a_second_signal_ends_at_once(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, workers=2)
    with live.connected() as wire:
        for line, code in (("MAIL FROM:<a@b.example>", 250), ("RCPT TO:<x@example.com>", 250), ("DATA", 354)):
            assert wire.command(line).code == code
        pids = live.pids
        live.signal(signal.SIGTERM)
        until(lambda: "gatepost stopping" in live.output, "it drains")
        assert live.running.poll() is None
        live.signal(signal.SIGTERM)
        assert live.wait(10) == 0
    assert not any(is_alive(pid) for pid in pids)


LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="gatepost.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_systemd_opens_the_socket_hears_of_readiness_and_is_fed(gateway: Start, tmp_path: Path) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(30)
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    ready = tmp_path / "ready.json"
    (tmp_path / "rules.yaml").write_text(RULES)
    options = ["--listen", "192.0.2.1:25", "--ready-file", str(ready), "--workers", "2", "--dns", str(ZONE)]
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    # Whoever comes before the service is there waits.
    early = Wire(listening.getsockname(), timeout=30)
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(listening.fileno()), *PROGRAM, "serve", *options],
            cwd=tmp_path,
            env=environment(**variables),
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert heard.recv(100) == b"READY=1"
        assert json.loads(ready.read_text())["smtp"] == [f"127.0.0.1:{listening.getsockname()[1]}"]
        assert heard.recv(100) == b"WATCHDOG=1"
        assert early.reply().code == 220
        assert early.command("EHLO c.example").code == 250
        assert early.transaction("a@b.example", ["x@example.com"], RAW).code == 250
        early.socket.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        said = [heard.recv(100)]
        while said[-1] != b"STOPPING=1":
            said.append(heard.recv(100))
        assert set(said[:-1]) <= {b"WATCHDOG=1"}
        # The socket is systemd's: it stays open, and mail waits for the next start.
        Wire(listening.getsockname()).socket.close()
    finally:
        process.kill()
        process.wait()
        listening.close()
        heard.close()


def heaps_of_threads(pid: int) -> int:
    """How many glibc has made in this process: each is 64 MiB of addresses, at a multiple of that, the end unused."""
    span, begun = 64 * 2**20, -1
    found = 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        extent, rights, _, _, inode = line.split()[:5]
        start, end = (int(address, 16) for address in extent.split("-"))
        if inode == "0" and start % span == 0:
            begun = start
        found += rights == "---p" and end - span == begun
    return found


def test_the_threads_of_a_worker_share_one_heap(gateway: Start, sink: Sink) -> None:
    both = RULES.replace("{disk: {path: mail}}", f"{{disk: {{path: mail}}}}, {{webhook: {{url: '{sink.url}'}}}}")
    live = gateway(rules=both, dns=ZONE)
    large = RAW + b"0123456789abcdef\r\n" * 30_000
    live.wait_done(*(live.deliver(large, rcpt_to=["x@example.com"]) for _ in range(3)))
    (pid,) = live.pids
    assert len(os.listdir(f"/proc/{pid}/task")) > 3, "threads were at work"
    assert heaps_of_threads(pid) == 0
