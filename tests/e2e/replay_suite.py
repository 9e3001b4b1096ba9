"""Suites of cases through one `gatepost replay --batch`: what a stranger with a corpus would do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_process import run_program

RULES = "rule_sets: {default: [{name: keep, actions: [{disk: {path: mail}}]}]}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One message with its envelope and DNS. `because` is the section that asks for what is expected.

    `expect` is by verdict: one result, or for `dkim` a tuple of them; `dmarc_policy` is a property.
    """

    name: str
    because: str
    raw: bytes
    expect: Mapping[str, Any]
    zone: Mapping[str, Any] = field(default_factory=dict)
    mail_from: str | None = "ann@acme.example"
    client_ip: str | None = "192.0.2.1"
    helo: str | None = "mx.acme.example"
    now: str = "2026-01-02T03:04:05Z"


def replayed(cases: Iterable[Case], directory: Path, *, settings: str = "") -> list[dict[str, Any]]:
    """The line of each case, in order."""
    (directory / "rules.yaml").write_text(RULES)
    (directory / "gatepost.yaml").write_text(settings)
    lines = []
    for number, case in enumerate(cases):
        file, zone = directory / f"{number}.eml", directory / f"{number}.zone.yaml"
        # A file without any CRLF would have its LF read as CRLF: none of these is one.
        file.write_bytes(case.raw)
        zone.write_text(json.dumps(case.zone))
        line = {"file": file.name, "dns": zone.name, "mail_from": case.mail_from, "rcpt_to": ["bob@example.com"]}
        line |= {"client_ip": case.client_ip, "helo": case.helo, "now": case.now}
        lines.append(json.dumps({key: value for key, value in line.items() if value is not None or key == "mail_from"}))
    (directory / "list.jsonl").write_text("".join(f"{line}\n" for line in lines))
    options = ("--json", "--rules", "rules.yaml", "--config", "gatepost.yaml")
    done = run_program("replay", "--batch", "list.jsonl", *options, cwd=directory, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[:2000] + done.stdout.decode()[:2000]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(lines)
    return told


def results(told: Mapping[str, Any], method: str) -> tuple[str, ...]:
    return tuple(one["result"] for one in told["verdicts"][method]["results"])


def differences(cases: Iterable[Case], told: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By the case's name, what came instead."""
    found = {}
    for case, line in zip(cases, told, strict=True):
        for method, wanted in case.expect.items():
            if method == "dmarc_policy":
                came: Any = line["verdicts"]["dmarc"]["results"][0]["properties"].get("policy.dmarc")
            else:
                came = results(line, method)
                came = came if method == "dkim" else came[0]
            if came != wanted:
                reasons = [
                    one.get("reason") for one in line["verdicts"].get(method.partition("_")[0], {}).get("results", ())
                ]
                found[case.name] = f"{case.because}: {method} {came}, expected {wanted} ({reasons})"
    return found
