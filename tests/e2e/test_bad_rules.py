"""Broken rules: refused at the start with everything that is wrong, and at reload without an effect on what is active."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start, until

GOOD = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - {name: one, recipients: [one@example.com], actions: [{disk: {path: mail}}]}
"""
BETTER = GOOD.replace("one", "two")
BROKEN = """\
version: 1
domains: [example.com]
filters: [{name: f, policy: Blok, cidr: 300.1.1.1/8}]
rule_sets:
  default:
    - {name: one, recipients: [x@elsewhere.example], actions: [{dsk: {path: mail}}]}
    - {name: one, recipients: [], actions: [{stop: {}}, {drop: {}}]}
"""
WRONG = ("Blok", "300.1.1.1/8", 'did you mean "disk"', "elsewhere.example", "one")


def lines_of(text: str, rules: Path) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{rules}:") and ": error: " in line]


def test_a_start_with_broken_rules_tells_every_error_and_exits_with_1(gateway: Start) -> None:
    live = gateway(start=False, rules=BROKEN)
    live.launch()
    assert live.wait() == 1
    assert live.rules is not None
    errors = lines_of(live.output, live.rules)
    assert len(errors) >= 5, live.output
    for word in WRONG:
        assert any(word in line for line in errors), word
    assert "nothing was started" in live.output
    assert not live.ready_file.exists()
    assert not live.data.exists()


def test_a_start_without_the_named_rules_file_exits_with_1(gateway: Start, tmp_path: Path) -> None:
    live = gateway(start=False, rules=tmp_path / "absent.yaml")
    live.launch()
    assert live.wait() == 1
    assert "absent.yaml:1:1: error: the rules file cannot be read: no such file or directory" in live.output


def rcpt(live: GatewayProcess, recipient: str) -> int:
    with live.connected() as wire:
        assert wire.command("MAIL FROM:<a@b.example>").code == 250
        return wire.command(f"RCPT TO:<{recipient}>").code


def change(live: GatewayProcess, text: str, *, by: str) -> None:
    assert live.rules is not None
    before = live.rules.stat()
    live.rules.write_text(text)
    if by == "SIGHUP":
        # The file looks untouched, so that it is the signal that is seen.
        if before.st_size == live.rules.stat().st_size:
            os.utime(live.rules, ns=(before.st_atime_ns, before.st_mtime_ns))
        live.signal(signal.SIGHUP)


@pytest.mark.parametrize("by", ["SIGHUP", "change of the file"])
def test_a_reload_takes_good_rules_and_refuses_broken_ones(by: str, gateway: Start) -> None:
    live = gateway(rules=GOOD)
    assert (rcpt(live, "one@example.com"), rcpt(live, "two@example.com")) == (250, 550)
    change(live, BETTER, by=by)
    until(lambda: " now active" in live.output, "the new rules are active")
    assert (rcpt(live, "one@example.com"), rcpt(live, "two@example.com")) == (550, 250)

    change(live, BROKEN, by=by)
    until(lambda: " stays active" in live.output, "the broken rules are refused")
    assert live.rules is not None
    assert len(lines_of(live.output, live.rules)) >= 5
    assert f"{live.rules} is refused; rule set" in live.output
    assert (rcpt(live, "one@example.com"), rcpt(live, "two@example.com")) == (550, 250)

    change(live, GOOD + "# again\n", by=by)
    until(lambda: live.output.count(" now active") == 2, "the good rules are active again")
    assert rcpt(live, "one@example.com") == 250


@pytest.mark.parametrize(
    "broken",
    [b"\xff\xfe\x00", b"", b"{", b"- [" * 10_000, b"version: 1\nrule_sets: {default: []}\n", None],
    ids=["not UTF-8", "empty", "open brace", "deep", "no rule", "gone"],
)
def test_whatever_stands_in_the_file_the_gateway_lives_on(broken: bytes | None, gateway: Start) -> None:
    live = gateway(rules=GOOD)
    assert live.rules is not None
    if broken is None:
        live.rules.unlink()
    else:
        live.rules.write_bytes(broken)
    live.signal(signal.SIGHUP)
    until(lambda: " stays active" in live.output or " loaded as " in live.output, "an answer to the change")
    with live.connected() as wire:
        assert wire.command("NOOP").code == 250
    if " stays active" in live.output:
        assert rcpt(live, "one@example.com") == 250


def test_a_session_under_way_keeps_the_rules_of_its_mail_command(gateway: Start) -> None:
    live = gateway(rules=GOOD)
    with live.connected() as wire:
        assert wire.command("MAIL FROM:<a@b.example>").code == 250
        change(live, BETTER, by="SIGHUP")
        until(lambda: " now active" in live.output, "the new rules are active")
        assert wire.command("RCPT TO:<one@example.com>").code == 250
        assert wire.command("RCPT TO:<two@example.com>").code == 550
        assert wire.command("RSET").code == 250
        assert wire.command("MAIL FROM:<a@b.example>").code == 250
        assert wire.command("RCPT TO:<two@example.com>").code == 250


def test_a_reload_may_not_open_the_relay(gateway: Start) -> None:
    """Rules without domains are refused at reload too, where a listener is not loopback; here they are loopback's."""
    live = gateway(rules=GOOD)
    change(live, "version: 1\nrule_sets: {default: [{name: all, actions: [{disk: {path: mail}}]}]}\n", by="SIGHUP")
    until(lambda: " now active" in live.output, "the new rules are active")
    assert rcpt(live, "x@anywhere.example") == 250


def test_a_port_that_is_taken_is_said_with_the_way_out(gateway: Start) -> None:
    first = gateway(rules=GOOD)
    second = gateway(start=False, rules=GOOD, listen=first.listen)
    second.launch()
    assert second.wait() == 3
    assert f"error: {first.listen} is in use; use --listen HOST:PORT to choose another" in second.output
    assert not second.data.exists()


def test_a_second_gateway_on_the_same_state_is_refused(gateway: Start) -> None:
    first = gateway(rules=GOOD)
    second = gateway(start=False, rules=GOOD, state=first.data)
    second.launch()
    assert second.wait() == 3
    assert "error: " in second.output
    assert rcpt(first, "one@example.com") == 250
    assert first.cli("find").returncode == 0


def test_every_action_without_a_target_is_told_before_the_start_is_refused(gateway: Start) -> None:
    arn = "arn:aws:workmail:eu-west-1:123456789012:organization"
    actions = [{"WorkmailAction": {"OrganizationArn": f"{arn}/m-{number}"}} for number in (1, 2)]
    rule = {"Name": "all", "Enabled": True, "Recipients": ["example.com"], "Actions": actions}
    live = gateway(start=False, rules=json.dumps({"Metadata": {"Name": "ours"}, "Rules": [rule]}))
    live.launch()
    assert live.wait() == 1
    assert live.output.count(" has no local target") == 2
