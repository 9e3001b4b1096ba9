"""Limits of the edge as an operator sets them and a client meets them, with two workers that count together."""

from __future__ import annotations

import json
import ssl

import pytest
from gateway_process import GatewayProcess, Start
from sample_gateway import ZONE
from smtp_wire import GONE, Wire

RULES = """\
version: 1
domains: [example.com]
filters:
  - {name: friend, policy: Allow, cidr: 127.0.5.0/24}
rule_sets:
  default:
    - {name: all, recipients: [x@example.com], actions: [{disk: {path: mail}}]}
"""
GOOD = b"From: a@b.example\r\nSubject: fine\r\n\r\nfine\r\n"
TWO = {"GATEPOST_WORKERS": "2"}
FRIEND = "127.0.5.9"


def mail_code(live: GatewayProcess, source: str | None = None) -> int:
    """MAIL's code on a connection of its own."""
    with Wire(live.address, source=source) as wire:
        assert wire.reply().code == 220
        assert wire.command("EHLO client.example").code == 250
        return wire.command("MAIL FROM:<a@b.example>").code


def test_a_rate_is_counted_over_all_workers_and_a_friend_is_exempt(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, variables={**TWO, "GATEPOST_RATES__MESSAGES_PER_IP": "7/1d"})
    assert [mail_code(live) for _ in range(20)] == [250] * 7 + [450] * 13
    assert [mail_code(live, FRIEND) for _ in range(9)] == [250] * 9
    refused = [row for row in live.objects("find", "--outcome", "deferred") if row["by"] == "rates.messages_per_ip"]
    assert len(refused) == 13
    assert {row["reply"] for row in refused} == {"450 4.7.1 Too many messages from your address, try again later"}


def test_connections_are_counted_over_all_workers_and_leave_again(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, variables={**TWO, "GATEPOST_SMTP__CONNECTIONS_PER_IP": "10"})
    for _ in range(3):
        wires = [Wire(live.address, source="127.0.6.1") for _ in range(25)]
        codes = [wire.reply().code for wire in wires]
        for wire in wires:
            wire.send_what_it_takes(b"QUIT\r\n")
        assert [wire.reply().code for wire in wires].count(221) == 10
        assert all(wire.reply() is GONE for wire in wires)
        for wire in wires:
            wire.socket.close()
        assert sorted(codes) == [220] * 10 + [421] * 15


def test_who_talks_before_the_banner_is_refused_and_who_waits_is_greeted(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, variables={"GATEPOST_SMTP__GREETING_DELAY": "1s"})
    with Wire(live.address) as early, Wire(live.address) as patient, Wire(live.address, source=FRIEND) as friend:
        assert friend.reply().code == 220
        early.send(b"EHLO client.example\r\n")
        assert early.reply().code == 554
        assert patient.reply().code == 220
        assert patient.command("EHLO client.example").code == 250


def test_greylisting_knows_after_a_restart_who_came_before(gateway: Start) -> None:
    live = gateway(rules=RULES, dns=ZONE, variables={**TWO, "GATEPOST_GREYLIST__WAIT": "1s"})
    with live.connected() as wire:
        assert wire.transaction("a@b.example", ["x@example.com"], GOOD).code == 451
    assert live.stop() == 0
    live.start()  # longer than a second
    with live.connected() as wire:
        assert wire.transaction("a@b.example", ["x@example.com"], GOOD).code == 250
        assert wire.transaction("other@b.example", ["x@example.com"], GOOD).code == 451


@pytest.mark.parametrize("starttls", ["true", "false"])
def test_tls_from_the_first_octet_beside_starttls_or_without_it(gateway: Start, starttls: str) -> None:
    variables = {"GATEPOST_TLS__LISTEN": "127.0.0.1:0", "GATEPOST_TLS__ENABLED": starttls}
    live = gateway(rules=RULES, dns=ZONE, variables=variables)
    plain, secure = (int(address.rpartition(":")[2]) for address in json.loads(live.ready_file.read_text())["smtp"])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert live.address[1] == plain
    with Wire(("127.0.0.1", plain)) as wire:
        wire.reply()
        assert ("STARTTLS" in wire.command("EHLO client.example").text) == (starttls == "true")
        assert wire.command("STARTTLS").code == (220 if starttls == "true" else 502)
    with Wire(("127.0.0.1", secure)) as wire:
        wire.socket = context.wrap_socket(wire.socket, server_hostname="mx.example.com")
        assert wire.reply().code == 220
        assert "STARTTLS" not in wire.command("EHLO client.example").text
        reply = wire.transaction("a@b.example", ["x@example.com"], GOOD)
    assert reply.code == 250
    assert live.objects("show", reply.text.split()[-1])[0]["client"]["tls"] is not None
