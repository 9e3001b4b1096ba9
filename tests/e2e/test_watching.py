"""A real server under real eyes: what it tells over HTTP, on one line, in a frame, in a transcript and in its audit log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from gateway_process import PROGRAM, GatewayProcess, Start, environment, until

RULES = """\
domains: [example.com]
rule_sets:
  default:
    - name: everything
      actions: [disk: {path: mail}]
"""
MAIL = b"From: a@b.example\r\nSubject: private words\r\n\r\nText\r\n"


def served(gateway: Start, directory: Path) -> GatewayProcess:
    """Two workers with a listener for metrics, logging JSON without addresses."""
    config = directory / "gatepost.yaml"
    config.write_text("version: 1\nmetrics: {listen: ['127.0.0.1:0']}\nlog: {format: json, redact: addresses}\n")
    rules = directory / "rules.yaml"
    rules.write_text(RULES)
    zone = directory / "zone.yaml"
    zone.write_text("{}\n")
    return gateway(config=config, rules=rules, dns=zone, workers=2)


@pytest.fixture(scope="module")
def watched(shared_gateway: Start, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    return served(shared_gateway, tmp_path_factory.mktemp("watched"))


def get(watched: GatewayProcess, path: str) -> tuple[int, str]:
    (address,) = json.loads(watched.ready_file.read_text())["metrics"]
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def value(text: str, name: str) -> float:
    (found,) = re.findall(rf"^gatepost_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_what_both_workers_counted_is_one_number(watched: GatewayProcess) -> None:
    ids = [watched.deliver(MAIL, rcpt_to=[f"u{number}@example.com"]) for number in range(12)]
    watched.wait_done(*ids)
    status, text = get(watched, "/metrics")
    assert status == 200
    assert value(text, 'messages_total{outcome="accepted"}') == 12
    assert value(text, 'steps_total{action="disk",outcome="done"}') == 12
    assert value(text, 'rule_matches_total{rule="everything"}') == 12
    assert value(text, "accept_seconds_count") == 12
    assert value(text, "workers") == 2
    assert value(text, "ready") == 1
    assert get(watched, "/healthz")[0] == 200
    assert get(watched, "/absent")[0] == 404
    status, text = get(watched, "/readyz")
    assert status == 200
    assert json.loads(text)["workers"] == 2
    lines = [json.loads(line) for line in watched.output.splitlines() if line.startswith("{")]
    assert {line["message"] for line in lines if line.get("outcome") == "accepted"} == set(ids)
    assert "u1@example.com" not in watched.output, "log.redact"


def test_status_and_top_tell_of_it(watched: GatewayProcess) -> None:
    watched.deliver(MAIL, rcpt_to=["support@example.com"])
    status = watched.cli("status")
    assert status.returncode == 0, status.stdout
    assert status.stdout.startswith(b"GATEPOST OK - ready; 2 workers; ")
    top = watched.cli("top", "--once", "--interval", "0.2").stdout.decode()
    assert re.search(r"^in all +[1-9]", top, re.MULTILINE)


def test_a_trace_shows_the_dialogue_of_whichever_worker_has_it_and_no_content(watched: GatewayProcess) -> None:
    arguments = ["trace", "--to", "support@", "--live", "--sessions", "1", "--for", "30s", "--data", str(watched.data)]
    tracing = subprocess.Popen(
        [*PROGRAM, *arguments], cwd=watched.directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert tracing.stderr is not None
    assert b"tracing" in tracing.stderr.readline()
    watched.deliver(MAIL, rcpt_to=["other@example.com"])
    watched.deliver(MAIL, rcpt_to=["support@example.com"])
    out, _ = tracing.communicate(timeout=30)
    text = out.decode()
    assert "RCPT TO:<support@example.com>" in text
    assert f"content of {len(MAIL)} octets for 1 recipient" in text
    assert "other@example.com" not in text
    assert "private words" not in text
    assert text.splitlines()[-1].endswith("the session is over")


def test_a_worker_that_was_killed_is_counted_and_readiness_comes_back(watched: GatewayProcess) -> None:
    victim = json.loads(watched.ready_file.read_text())["workers"][1]
    os.kill(victim, signal.SIGKILL)
    until(lambda: value(get(watched, "/metrics")[1], "worker_restarts_total") == 1, "the restart is counted")
    until(lambda: get(watched, "/readyz")[0] == 200, "it is ready again")


def test_who_did_what_stands_in_the_audit_log(gateway: Start, tmp_path: Path) -> None:
    own = served(gateway, tmp_path)
    (tmp_path / "rules.yaml").write_text(RULES.replace("disk: {path: mail}", "webhook: {url: 'http://127.0.0.1:9/'}"))
    own.signal(signal.SIGHUP)
    until(lambda: "now active" in own.output, "the new rules")
    message = own.deliver(MAIL, rcpt_to=["support@example.com"])
    until(lambda: own.objects("queue", "list"), "the step waits")
    assert own.cli("queue", "cancel", message, "--yes").returncode == 0
    assert own.stop() == 0
    noted = [json.loads(line) for line in (own.data / "audit.log").read_text().splitlines()]
    by_event = {each["event"]: each for each in noted}
    assert list(by_event) == ["started", "settings_reloaded", "rules_loaded", "jobs_changed", "stopped"]
    assert by_event["rules_loaded"]["active"] is True
    assert by_event["jobs_changed"]["operation"] == "cancel"
    assert {each["uid"] for each in noted} == {os.geteuid()}, "as the kernel says of the other end"
    status = own.cli("status")
    assert status.returncode == 2
    assert b"not running" in status.stdout


def test_addresses_leave_the_log_with_a_reload(gateway: Start, tmp_path: Path) -> None:
    own = served(gateway, tmp_path)
    config = tmp_path / "gatepost.yaml"
    hidden = config.read_text()
    config.write_text(hidden.replace("addresses", "none"))
    until(lambda: "settings in force: log.redact" in own.output, "addresses are shown")
    own.deliver(MAIL, rcpt_to=["shown@example.com"])
    config.write_text(hidden)
    until(lambda: own.output.count("settings in force: log.redact") == 2, "addresses are hidden")
    own.deliver(MAIL, rcpt_to=["hidden@example.com"])
    until(lambda: own.output.count('"outcome":"accepted"') == 2, "both lines")
    assert "shown@example.com" in own.output
    assert "hidden@example.com" not in own.output
