"""A message of the spool is judged again by what was recorded: with the network unplugged, the zone changed, months later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway_process import SAMPLES, Start

RULES = "version: 1\nrule_sets: {default: [{name: inbox, actions: [disk: {path: mail}]}]}\n"
# Every name answers otherwise, or fails.
CHANGED = {"_dmarc.acme.example": {"TXT": ["v=DMARC1; p=none"]}, "acme.example": "SERVFAIL"}


def messages() -> list[Path]:
    return [path for path in sorted((SAMPLES / "messages").glob("*.eml")) if path.stat().st_size < 200_000]


def judged(told: dict[str, Any]) -> tuple[Any, ...]:
    return told["verdicts"], told["message_id"], told["envelope"]


@pytest.fixture
def stored(gateway: Start) -> tuple[Any, list[str]]:
    """A gateway that has taken the samples over a zone, and their ids; then it is gone."""
    process = gateway(rules=RULES, dns=SAMPLES / "dns" / "zone.yaml")
    ids = []
    for path in messages():
        beside = yaml.safe_load(path.with_name(path.name + ".yaml").read_text())
        sender = beside.get("mail_from") or ""
        with process.connected(hello=beside.get("helo") or "c.example") as wire:
            wire.command(f"XCLIENT ADDR={beside['client_ip']}" if "." in beside.get("client_ip", "") else "NOOP")
            wire.command(f"EHLO {beside.get('helo') or 'c.example'}")
            raw = path.read_bytes()
            parameters = "" if raw.isascii() else " BODY=8BITMIME SMTPUTF8"
            reply = wire.transaction("" if sender == "<>" else sender, ["a@example.com"], raw, parameters)
        if reply.code == 250:
            ids.append(reply.text.split()[-1])
    process.wait_done(*ids)
    process.stop()
    return process, ids


def test_recorded_messages_have_the_verdicts_they_had(stored: tuple[Any, list[str]], tmp_path: Path) -> None:
    process, ids = stored
    zone = tmp_path / "changed.yaml"
    zone.write_text(yaml.safe_dump(CHANGED))
    # What the settings say of DNS is another zone now, and no name server would be reached.
    config = tmp_path / "gatepost.yaml"
    config.write_text(f"dns: {{zone: {zone}, servers: ['127.0.0.1:1']}}\n")
    replays = {
        name: process.objects("replay", *ids, "--rules", process.rules, "--config", config, *options)
        for name, options in {"recorded": ("--dns", "recorded"), "unsaid": (), "changed": ("--dns", zone)}.items()
    }
    first = list(process.stories(ids))
    print(f"replayed from what was recorded: {len(ids)} of {len(messages())} samples")
    assert len(ids) >= 20
    changed = 0
    for then, recorded, unsaid, other in zip(first, *replays.values(), strict=True):
        assert judged(recorded) == judged(unsaid) == judged(then)
        assert recorded["rules"] == then["rules"]
        changed += other["verdicts"] != then["verdicts"]
    assert changed > 10, "the other zone should have made a difference"


def test_an_id_takes_no_envelope_and_a_file_has_no_record(stored: tuple[Any, list[str]]) -> None:
    process, ids = stored
    done = process.cli("replay", ids[0], "--mail-from", "x@y.example", "--rules", process.rules)
    assert done.returncode == 1
    assert b"has its own envelope: --mail-from is for files" in done.stderr
    done = process.cli("replay", messages()[0], "--dns", "recorded", "--rules", process.rules)
    assert done.returncode == 1
    assert b"DNS is recorded with messages of the spool only" in done.stderr
    (told,) = process.objects("replay", ids[0][:20], "--rules", process.rules)
    assert told["message_id"] == ids[0]


def test_what_was_not_checked_then_is_not_checked_again(gateway: Start) -> None:
    zone = SAMPLES / "dns" / "zone.yaml"
    process = gateway(rules=RULES, dns=zone, variables={"GATEPOST_VERDICTS__CHECKS": "none"})
    raw = (SAMPLES / "messages" / "list-broken-dkim.eml").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    taken = process.deliver(raw, rcpt_to=["a@example.com"])
    process.wait_done(taken)
    process.stop()
    process.variables = {}
    statuses = []
    for options in ((), ("--dns", zone)):
        (told,) = process.objects("replay", taken, "--rules", process.rules, *options)
        statuses.append({told["verdicts"][method]["status"] for method in ("spf", "dkim", "dmarc", "arc")})
    assert statuses[0] == {"DISABLED"}
    assert "DISABLED" not in statuses[1]
