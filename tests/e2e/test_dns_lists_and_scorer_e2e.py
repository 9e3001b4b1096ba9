"""The real gateway with DNS lists and the built-in spam engine, from a zone file: refused, found, trained, judged, replayed."""

from __future__ import annotations

import json
import random
from pathlib import Path

from gateway_process import GatewayProcess, Start
from sample_gateway import small_settings
from smtp_wire import Heard, Wire

RULES = """version: 1
domains: [example.com]
filters: [{name: friend, policy: Allow, cidr: 192.0.2.8}]
active: main
rule_sets:
  main:
    - name: spam
      when: [{spam: FAIL}]
      actions: [{drop: {}}]
    - name: inbox
      scan_enabled: true
      recipients: [example.com]
      actions: [{disk: {path: mail}}]
"""
ZONE = """
7.2.0.192.bl.example: {A: [127.0.0.2]}
8.2.0.192.bl.example: {A: [127.0.0.2]}
9.2.0.192.bl.example: {A: [127.255.255.254]}
"""
WORDS = {"spam": [f"offer{number}" for number in range(30)], "ham": [f"meeting{number}" for number in range(30)]}


def mail(kind: str, seed: int) -> bytes:
    draw = random.Random(f"{kind}{seed}")
    text = " ".join([*draw.sample(WORDS[kind], 8), f"number{seed}"])
    return f"From: a@b.example\r\nSubject: Hello\r\n\r\n{text}\r\n".encode()


def deliver(gateway: GatewayProcess, ip: str, raw: bytes) -> Heard:
    with Wire(gateway.address) as wire:
        assert wire.reply().code == 220
        assert wire.command("EHLO client.example").code == 250
        assert wire.command(f"XCLIENT ADDR={ip}").code == 220
        assert wire.command("EHLO client.example").code == 250
        return wire.transaction("a@b.example", ["c@example.com"], raw, "")


def test_a_listed_client_is_refused_and_a_trained_engine_judges_the_rest(gateway: Start, tmp_path: Path) -> None:
    zone = tmp_path / "zone.yaml"
    zone.write_text(ZONE)
    settings = small_settings(tmp_path, dnsbl="{lists: [bl.example]}", spam="{engine: builtin}")
    live = gateway(rules=RULES, dns=zone, config=settings, options=("--quiet",))

    refused = deliver(live, "192.0.2.7", mail("ham", 1))
    assert str(refused) == "550 5.7.1 IP address blacklisted by recipient"
    (row,) = live.objects("find", "--outcome", "refused")
    assert (row["by"], row["client_ip"]) == ("bl.example", "192.0.2.7")
    assert [deliver(live, ip, mail("ham", 2)).code for ip in ("192.0.2.8", "192.0.2.9", "127.0.0.1")] == [250] * 3

    statuses = [spam_status(live, deliver(live, "192.0.2.1", mail("spam", 1000)))]
    for kind in WORDS:
        (tmp_path / kind).mkdir()
        for number in range(205):
            (tmp_path / kind / f"{number}.eml").write_bytes(mail(kind, number))
    assert live.cli("train", "--spam", tmp_path / "spam", "--ham", tmp_path / "ham").returncode == 0
    statuses += [spam_status(live, deliver(live, "192.0.2.1", mail(kind, 1001))) for kind in ("spam", "ham")]
    assert statuses == ["GRAY", "FAIL", "PASS"]


def spam_status(gateway: GatewayProcess, heard: Heard) -> str:
    """The verdict that was given, which a replay from what was recorded gives too."""
    message_id = heard.text.rpartition(" ")[2]
    gateway.wait_done(message_id)
    (told,) = gateway.stories([message_id])
    again = json.loads(gateway.cli("replay", message_id, "--json").stdout)
    assert again["verdicts"] == told["verdicts"]
    return told["verdicts"]["spam"]["status"]
