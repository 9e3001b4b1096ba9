"""When the world fails: a full disk, no DNS, a state directory that cannot be written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import ROOT, GatewayProcess, Start, run_program, until
from sample_gateway import ZONE, sample_bytes, small_settings

from tests.small_disk import small_disk

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: all, actions: [{disk: {path: mail}}]}
"""
GOOD = b"From: a@b.example\r\nSubject: fine\r\n\r\nfine\r\n"
BIG = b"From: a@b.example\r\nSubject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 60_000
MB = 10**6


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=80) as where:
        yield where


def fill(disk: Path, *, leave: int) -> Path:
    """Take the disk's room, but for so many octets."""
    filler = disk / "filler"
    room = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - leave)
    return filler


@pytest.fixture
def cramped(disk: Path, gateway: Start, tmp_path: Path) -> GatewayProcess:
    config = small_settings(tmp_path, spool="{reserve: 1MB}", dns="{zone: zone.yaml}")
    (tmp_path / "zone.yaml").write_text("b.example: {TXT: ['v=spf1 -all']}\n")
    return gateway(rules=RULES, config=config, state=disk / "var")


def mail_code(live: GatewayProcess) -> str:
    with live.connected() as wire:
        return str(wire.command("MAIL FROM:<a@b.example>"))[:9]


def test_below_the_reserve_mail_is_deferred_until_there_is_room(cramped: GatewayProcess, disk: Path) -> None:
    cramped.deliver(GOOD, rcpt_to=["x@example.com"])
    filler = fill(disk, leave=2 * MB)
    assert until(lambda: (code := mail_code(cramped)) != "250 2.1.0" and code, "MAIL is deferred") == "452 4.3.1"
    filler.unlink()
    until(lambda: mail_code(cramped) == "250 2.1.0", "MAIL is taken again")
    cramped.deliver(GOOD, rcpt_to=["x@example.com"])


def test_a_disk_that_fills_up_during_data_defers_that_message_and_recovers(cramped: GatewayProcess, disk: Path) -> None:
    with cramped.connected() as wire:
        for line, code in (("MAIL FROM:<a@b.example>", 250), ("RCPT TO:<x@example.com>", 250), ("DATA", 354)):
            assert wire.command(line).code == code
        filler = fill(disk, leave=64 * 1024)
        wire.send(BIG + b".\r\n")
        assert str(wire.reply())[:9] == "452 4.3.1"
        assert not list(cramped.data.glob("shards/*/bodies/*"))
    assert cramped.running.poll() is None
    filler.unlink()
    until(lambda: mail_code(cramped) == "250 2.1.0", "MAIL is taken again", seconds=90)
    message_id = until(lambda: _taken(cramped), "a message is taken again", seconds=90)
    assert cramped.cli("show", message_id, "--raw").stdout == BIG
    assert cramped.stop() == 0
    print(f"a full disk: 1 message of {len(BIG)} octets answered 452, none of it kept, and taken once there was room")


def _taken(live: GatewayProcess) -> str | None:
    with live.connected() as wire:
        reply = wire.transaction("a@b.example", ["x@example.com"], BIG)
    return reply.text.split()[-1] if reply.code == 250 else None


def test_without_any_name_server_mail_is_judged_temperror_and_answered_in_time(gateway: Start, tmp_path: Path) -> None:
    """Nobody listens on that port: every question fails at once or runs into its limit."""
    live = gateway(rules=RULES, config=small_settings(tmp_path, dns='{servers: ["127.0.0.1:9"]}'))
    started = time.monotonic()
    message_id = live.deliver(sample_bytes("invoice.eml"), mail_from="billing@acme.example", rcpt_to=["x@example.com"])
    assert time.monotonic() - started < 15
    live.wait_done(message_id)
    (told,) = live.stories([message_id])
    for method in ("dkim", "dmarc"):
        assert told["verdicts"][method]["status"] == "PROCESSING_FAILED", told["verdicts"][method]
        assert [result["result"] for result in told["verdicts"][method]["results"]] == ["temperror"]


def test_a_rule_that_needs_dns_defers_while_there_is_none(gateway: Start, tmp_path: Path) -> None:
    rules = RULES.replace("actions:", "when: [{dkim: PASS}], actions:")
    live = gateway(rules=rules, config=small_settings(tmp_path, dns='{servers: ["127.0.0.1:9"]}'))
    with live.connected(timeout=40) as wire:
        reply = wire.transaction("billing@acme.example", ["x@example.com"], sample_bytes("invoice.eml"))
    assert str(reply)[:9] == "451 4.7.0"
    (row,) = live.objects("find", "--outcome", "deferred")
    assert row["by"] == "all"


def test_a_zone_file_that_is_wrong_or_absent_is_said_at_the_start(gateway: Start, tmp_path: Path) -> None:
    (tmp_path / "zone.yaml").write_text("example.com: {TEXT: [x]}\n")
    for name, said in (("zone.yaml", "example.com"), ("absent.yaml", "absent.yaml")):
        live = gateway(start=False, rules=RULES, dns=tmp_path / name)
        live.launch()
        assert live.wait() == 3
        assert "error: " in live.output
        assert said in live.output


def test_a_state_directory_that_cannot_be_made_is_said_at_the_start(gateway: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    live = gateway(start=False, rules=RULES, state=tmp_path / "file" / "var")
    live.launch()
    assert live.wait() == 3
    assert (
        f"error: the state directory {live.data} cannot be made: Not a directory; choose one with --data\n"
        in live.output
    )


def test_an_old_ready_file_says_nothing_of_a_server_that_does_not_start(tmp_path: Path) -> None:
    old = tmp_path / "ready.json"
    old.write_text('{"pid": 1}')
    (tmp_path / "zone.yaml").write_text("example.com: {TEXT: [x]}\n")
    done = run_program("serve", "--listen", "127.0.0.1:0", "--dns", "zone.yaml", "--ready-file", old, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert not old.exists()


def test_without_uvloop_it_says_so_and_takes_mail(gateway: Start, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "sitecustomize.py").write_text("import sys\n\nsys.modules['uvloop'] = None\n")
    live = gateway(rules=RULES, dns=ZONE, workers=2, variables={"PYTHONPATH": f"{absent}:{ROOT}"})
    assert "uvloop is not installed: Python's own event loop serves, which is slower\n" in live.output
    live.deliver(b"Subject: x\r\n\r\nx\r\n", rcpt_to=["x@example.com"])


def test_settings_with_errors_are_told_all_at_once(gateway: Start, tmp_path: Path) -> None:
    config = small_settings(tmp_path, smtp="{size_limit: huge, recipient: 5}", retention="{full: soon}")
    live = gateway(start=False, rules=RULES, config=config)
    live.launch()
    assert live.wait() == 1
    assert live.output.count(": error: ") == 3
