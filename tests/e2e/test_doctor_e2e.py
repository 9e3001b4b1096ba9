"""doctor beside a real gateway: it finds it, greets it, and reads its certificate."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start
from sample_gateway import small_settings

RULES = "version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{disk: {path: mail}}]}]}\n"
ZONE = """\
mx.example.com: {A: [127.0.0.1]}
1.0.0.127.in-addr.arpa: {PTR: [mx.example.com]}
example.com: {MX: [[10, mx.example.com]]}
"""


@pytest.fixture
def live(gateway: Start, tmp_path: Path) -> GatewayProcess:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "zone.yaml").write_text(ZONE)
    config = small_settings(tmp_path, rules="rules.yaml", dns="{zone: zone.yaml}")
    made = gateway(config=config)
    # The settings say where it listens; the port was chosen at the start.
    config.write_text(config.read_text() + f"listen: ['{made.listen}']\n")
    return made


def test_a_running_gateway_is_found_and_its_certificate_read(live: GatewayProcess) -> None:
    done = live.cli("doctor")
    told = done.stdout.decode()
    assert done.returncode == 0, told
    lines = {
        line[6:].split("  ")[0]: line[:4].strip()
        for line in told.splitlines()
        if line[:4].strip() in ("ok", "warn", "fail")
    }
    assert lines[f"listener {live.listen}"] == "ok"
    assert lines[f"TLS {live.listen}"] == "ok"
    assert lines["hostname"] == lines["MX example.com"] == lines["postmaster"] == lines["rights"] == "ok"
    assert "self-signed" in told
    assert "the server may open" in " ".join(told.split())


def test_a_gateway_that_is_down_fails_the_check(live: GatewayProcess) -> None:
    assert live.stop() == 0
    done = live.cli("doctor", "--json", "example.com")
    assert done.returncode == 1
    assert b'"status":"fail","said":"cannot be reached: Connection refused","fix":"start the gateway' in done.stdout
