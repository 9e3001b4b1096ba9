"""`gatepost replay` decides as the live gateway does, prints identical bytes twice, and needs no network for it."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_process import GatewayProcess, Start, run_program
from sample_gateway import MESSAGES, TOUR, ZONE, rules_for, small_settings
from smtp_wire import Heard, Wire
from webhook_sink import Sink

from gatepost.sample import Sample, read_sample

EVERY_RULE_SET = sorted(path.name for path in TOUR.parent.glob("*.yaml"))
SOME_RULE_SETS = ["catch-all-with-exceptions.yaml", "dmarc-reject.yaml", "loop-protection.yaml", "tour.yaml"]
OFFLINE = ("unshare", "--net")


def can_unshare() -> bool:
    return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0


def replay_samples(*, cwd: Path, rules: Path = TOUR, wrapped: tuple[str, ...] = (), **variables: str) -> bytes:
    options = ("--rules", rules, "--dns", ZONE, "--json")
    done = run_program("replay", *MESSAGES, *options, cwd=cwd, wrapped=wrapped, **variables)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_two_replays_print_identical_bytes(tmp_path: Path) -> None:
    # Nothing may hang on the order of a hash table either.
    first, second = (replay_samples(cwd=tmp_path, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second
    lines = [json.loads(line) for line in first.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in MESSAGES]
    assert len(lines) >= 20


@pytest.mark.skipif(not can_unshare(), reason="a network namespace of its own needs root")
def test_a_replay_needs_no_network(tmp_path: Path) -> None:
    # In the new namespace even loopback is down.
    assert replay_samples(cwd=tmp_path, wrapped=OFFLINE) == replay_samples(cwd=tmp_path)


def test_the_line_has_the_keys_that_programs_rely_on(tmp_path: Path) -> None:
    for line in map(json.loads, replay_samples(cwd=tmp_path).splitlines()):
        required = {"file", "message_id", "envelope", "verdicts", "reply", "rules", "steps", "prepended", "cut"}
        assert required <= line.keys() <= {*required, "refused"}
        assert set(line["envelope"]) == {"mail_from", "rcpt_to", "client_ip", "helo", "guessed"}
        assert set(line["verdicts"]) == {"spf", "dkim", "dmarc", "arc", "spam", "virus"}
        for verdict in line["verdicts"].values():
            assert set(verdict) == {"status", "results"}
            for result in verdict["results"]:
                assert set(result) == {"method", "result", "reason", "properties"}
        assert set(line["reply"]) == {"code", "enhanced", "text"}
        for rule in line["rules"]:
            assert set(rule) == {"name", "matched", "reason", "conditions"}
            assert all(set(condition) == {"condition", "saw", "result"} for condition in rule["conditions"])
        for step in line["steps"]:
            assert set(step) == {"rule", "action", "recipients", "outcome", "detail"}


def sample_of(path: Path) -> Sample:
    return read_sample(path, {}, lambda domain: domain == "example.com", "example.com", lambda: datetime.now(UTC))


def deliver_live(gateway: GatewayProcess, sample: Sample) -> Heard:
    """As the sample's client would: its address by PROXY, its EHLO, its envelope."""
    envelope, raw = sample.envelope, sample.message.raw
    with Wire(gateway.address) as wire:
        family = "TCP6" if ":" in str(sample.client.ip) else "TCP4"
        here = "::1" if family == "TCP6" else "127.0.0.1"
        wire.send(f"PROXY {family} {sample.client.ip} {here} 40000 25\r\n".encode())
        assert wire.reply().code == 220
        assert wire.command(f"EHLO {sample.client.helo}").code == 250
        parameters = f" SIZE={len(raw)} BODY={envelope.body}" + (" SMTPUTF8" if envelope.smtputf8 else "")
        recipients = [str(mailbox) for mailbox in envelope.mailboxes]
        return wire.transaction(str(envelope.reverse_path or ""), recipients, raw, parameters)


def decisions(told: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on whether it is live: not ids, times and what became of the steps."""
    return {
        "verdicts": {name: verdict["status"] for name, verdict in told["verdicts"].items()},
        "results": {
            name: [(result["result"], result["reason"], result["properties"]) for result in verdict["results"]]
            for name, verdict in told["verdicts"].items()
        },
        "rules": [(rule["name"], rule["matched"], rule["reason"], rule["conditions"]) for rule in told["rules"]],
        "steps": [(step["rule"], step["action"], step["recipients"]) for step in told["steps"]],
        "cut": told["cut"],
        "reply": told["reply"]["code"],
        "enhanced": told["reply"]["enhanced"],
        "envelope": {key: told["envelope"][key] for key in ("mail_from", "rcpt_to", "client_ip", "helo")},
    }


@pytest.mark.parametrize("rules_file", EVERY_RULE_SET if int(os.environ.get("TORTURE") or 5) > 5 else SOME_RULE_SETS)
def test_a_replay_decides_as_live_delivery_does(rules_file: str, gateway: Start, sink: Sink, tmp_path: Path) -> None:
    rules = rules_for(tmp_path, sink, TOUR.with_name(rules_file))
    live = gateway(
        rules=rules, dns=ZONE, config=small_settings(tmp_path), options=("--proxy-from", "127.0.0.0/8", "--quiet")
    )
    replayed = [json.loads(line) for line in replay_samples(cwd=tmp_path, rules=rules).splitlines()]
    heard = [deliver_live(live, sample_of(path)) for path in MESSAGES]
    assert [reply.code for reply in heard] == [line["reply"]["code"] for line in replayed]

    by_session = messages_by_session(live)
    assert len(by_session) == len(MESSAGES)
    live.wait_done(*(message_id for message_id in by_session if message_id))
    for line, message_id in zip(replayed, by_session, strict=True):
        if message_id is None:
            assert line["steps"] == [], line["file"]
        else:
            (told,) = live.stories([message_id])
            assert decisions(told) == decisions(line), line["file"]


def messages_by_session(gateway: GatewayProcess) -> list[str | None]:
    """The message of each session in their order, those that were rejected after DATA too; None where there was none."""
    found: dict[str, str | None] = {}
    for row in reversed(gateway.objects("find", "--limit", "1000")):
        found[row["session"]] = row["id"] if row["state"] is not None else found.get(row["session"])
    return list(found.values())
