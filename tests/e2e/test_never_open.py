"""Promise: accepting is never open. No RCPT outside `domains` is taken; without domains nobody but loopback is served."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from signal import SIGHUP

import pytest
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE
from smtp_wire import Wire

RULES = """\
version: 1
domains: [example.com, .sub.example.com, münchen.example]
rule_sets:
  default:
    - {name: all, actions: [{disk: {path: mail}}]}
"""
OPEN = "version: 1\nrule_sets: {default: [{name: all, actions: [{disk: {path: mail}}]}]}\n"

OURS = [
    "<x@example.com>",
    "<X@EXAMPLE.COM>",
    "<x@Example.Com>",
    '<"a@b"@example.com>',
    "<a%b.example@example.com>",
    "<b.example!a@example.com>",
    "<x@deep.sub.example.com>",
    "<x@xn--mnchen-3ya.example>",
    "<postmaster>",
    "<PostMaster>",
    "<postmaster@example.com>",
]
FOREIGN = [
    "<x@b.example>",
    "<x@com>",
    "<x@sub.example.com>",
    "<x@www.example.com>",
    "<x@evil-example.com>",
    "<x@notsub.example.com>",
    "<x@example.com.b.example>",
    "<x@example.co>",
    "<x@example.comm>",
    "<x@ехample.com>",
    "<x@example.com@b.example>",
    "<x@b.example@example.com@b.example>",
    '<"x@example.com"@b.example>',
    "<x%example.com@b.example>",
    "<example.com!x@b.example>",
    "<@example.com:x@b.example>",
    "<@example.com,@b.example:x@b.example>",
    "<x@[127.0.0.1]>",
    "<x@[192.0.2.2]>",
    "<x@[IPv6:::1]>",
    "<x@2130706433>",
    "<x@localhost>",
    "<x@mx.example.com>",
    "<x>",
    "<root>",
    "<abuse>",
    "<>",
    "<@example.com>",
    "<x@>",
    "<x@example.com/b.example>",
    "<x@b.example\0@example.com>",
    "<x@b.example,x@example.com>",
    "<x@b.example x@example.com>",
    "<x@b.example> <x@example.com>",
    "<x@b.example><x@example.com>",
    "x@b.example",
    "<postmaster@b.example>",
    "<postmaster@[127.0.0.1]>",
    "<x@example..com>",
    "<x@.example.com>",
    "<x@example.com\u3002b.example>",
    "<x@exämple.com>",
    "<x@xn--exmple-cua.com>",
]


@pytest.fixture(scope="module")
def live(shared_gateway: Start) -> GatewayProcess:
    return shared_gateway(rules=RULES, dns=ZONE)


def answers(live: GatewayProcess, recipients: list[str]) -> Iterator[tuple[str, int]]:
    """The code of each RCPT, some in each session, so that no limit answers instead."""
    for start in range(0, len(recipients), 15):
        with live.connected() as wire:
            assert wire.command("MAIL FROM:<a@b.example> SMTPUTF8").code == 250
            for recipient in recipients[start : start + 15]:
                yield recipient, wire.command(f"RCPT TO:{recipient}").code


def test_ours_are_taken_however_they_are_written(live: GatewayProcess) -> None:
    assert dict(answers(live, OURS)) == dict.fromkeys(OURS, 250)
    with live.connected() as wire:
        assert wire.command("MAIL FROM:<a@b.example> SMTPUTF8").code == 250
        assert wire.command("RCPT TO:<x@münchen.example>").code == 250


def test_nothing_outside_our_domains_is_taken_however_it_is_written(live: GatewayProcess) -> None:
    taken = [recipient for recipient, code in answers(live, FOREIGN) if not 500 <= code < 600]
    assert taken == []


def test_no_combination_of_odd_pieces_is_taken_outside_our_domains(live: GatewayProcess, torture: int) -> None:
    chance = random.Random(torture)
    pieces = [
        "@", ".", "..", ",", ":", "%", "!", '"', "\\", "/", "[", "]", " ", "\t", "<", ">", "(", ")", ";", "x", "example.com",
        "b.example", "@b.example", "@example.com", "127.0.0.1", "xn--", "IPv6:", "\0", "é", "\u202e", "\u3002", "postmaster",
    ]  # fmt: skip
    odd = [
        "<" + "".join(chance.choices(pieces, k=chance.randrange(1, 7))) + "@b.example>" for _ in range(120 * torture)
    ]
    odd += ["<x@" + "".join(chance.choices(string.ascii_lowercase + ".-", k=9)) + ".com>" for _ in range(20 * torture)]
    odd += [
        "<" + "".join(chance.choices(pieces, k=4)) + "@b.example" + "".join(chance.choices(pieces, k=1))
        for _ in range(40 * torture)
    ]
    taken = [recipient for recipient, code in answers(live, odd) if not 500 <= code < 600]
    assert taken == []


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "mx.example.com:0", "192.0.2.1:0", "[::ffff:0.0.0.0]:0"])
def test_without_domains_no_listener_but_loopback_starts(listen: str, gateway: Start) -> None:
    live = gateway(start=False, rules=OPEN, listen=listen)
    live.launch()
    assert live.wait() == 1
    assert "every domain would be ours" in live.output
    assert not live.ready_file.exists()


def test_without_domains_one_open_listener_among_loopback_ones_is_one_too_many(gateway: Start) -> None:
    live = gateway(start=False, rules=OPEN, options=("--listen", "0.0.0.0:0"))
    live.launch()
    assert live.wait() == 1


def test_the_built_in_rules_are_for_loopback_only(gateway: Start) -> None:
    live = gateway(start=False, listen="0.0.0.0:0")
    live.launch()
    assert live.wait() == 1
    assert "every domain would be ours" in live.output


def test_without_domains_loopback_takes_everything_and_says_so(gateway: Start) -> None:
    live = gateway(rules=OPEN)
    assert "no domains are named: mail for every domain is taken, on loopback only" in live.output
    live.deliver(b"Subject: x\r\n\r\nx\r\n", rcpt_to=["x@anywhere.example"])


def test_with_domains_any_listener_starts(gateway: Start) -> None:
    live = gateway(rules=RULES, listen="0.0.0.0:0")
    port = live.address[1]
    with Wire(("127.0.0.1", port)) as wire:
        assert wire.reply().code == 220
        wire.command("EHLO x")
        wire.command("MAIL FROM:<a@b.example>")
        assert str(wire.command("RCPT TO:<x@b.example>")) == "550 5.7.1 Relaying denied"


def test_a_reload_without_domains_is_refused_where_the_listener_is_open(gateway: Start) -> None:
    live = gateway(rules=RULES, listen="0.0.0.0:0")
    assert live.rules is not None
    live.rules.write_text(OPEN)
    live.signal(SIGHUP)
    until(lambda: " stays active" in live.output, "the open rules are refused")
    with Wire(("127.0.0.1", live.address[1])) as wire:
        wire.reply()
        wire.command("EHLO x")
        wire.command("MAIL FROM:<a@b.example>")
        assert wire.command("RCPT TO:<x@b.example>").code == 550
