"""SIGTERM and SIGINT: what is under way ends, nothing is lost, the exit code is 0."""

from __future__ import annotations

import signal
import time

import pytest
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE
from smtp_wire import GONE, Wire, dotted
from webhook_sink import Sink

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: keep
      actions:
        - disk: {path: mail}
        - webhook: {url: SINK, format: raw}
"""
RAW = b"From: a@b.example\r\nSubject: last\r\n\r\nlast words\r\n"


@pytest.fixture
def live(gateway: Start, sink: Sink) -> GatewayProcess:
    return gateway(rules=RULES.replace("SINK", sink.url), dns=ZONE, workers=2)


def begin_data(wire: Wire) -> None:
    for line, code in (("MAIL FROM:<a@b.example>", 250), ("RCPT TO:<x@example.com>", 250), ("DATA", 354)):
        assert wire.command(line).code == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_message_that_is_being_received_is_taken_before_the_end(
    number: signal.Signals, live: GatewayProcess, sink: Sink
) -> None:
    with live.connected() as wire:
        begin_data(wire)
        wire.send(RAW[:20])
        live.signal(number)
        until(lambda: "gatepost stopping" in live.output, "it says that it stops")
        with pytest.raises(ConnectionRefusedError):
            Wire(live.address)
        wire.send(dotted(RAW)[20:])
        reply = wire.reply()
        assert reply.code == 250
        assert wire.reply().code == 421
        assert wire.reply() is GONE
    assert live.wait() == 0
    assert "gatepost stopped" in live.output
    message_id = reply.text.split()[-1]
    assert live.cli("show", message_id, "--raw").stdout == RAW
    # Whether its actions ran before the end or wait for the next start, they run.
    live.start()
    live.wait_done(message_id)
    assert set(sink.ids()) == {f"{message_id}/0/keep/1"}
    print(
        f"{number.name} in the middle of DATA: 1 message taken, then 421 and the end; {len(sink.ids())} action done for it"
    )


def test_an_idle_client_is_told_goodbye_and_holds_nothing_up(live: GatewayProcess) -> None:
    with live.connected() as wire:
        started = time.monotonic()
        live.signal(signal.SIGTERM)
        assert wire.reply().code == 421
        assert live.wait() == 0
        assert time.monotonic() - started < 10


def test_actions_that_are_under_way_end_before_the_process(live: GatewayProcess, sink: Sink) -> None:
    sink.gate.clear()
    ids = [live.deliver(RAW, rcpt_to=["x@example.com"]) for _ in range(10)]
    until(lambda: len(sink.calls) == 10, "the application is called")
    live.signal(signal.SIGTERM)
    until(lambda: "gatepost stopping" in live.output, "it says that it stops")
    assert live.running.poll() is None
    sink.gate.set()
    assert live.wait() == 0
    for told in live.stories(ids):
        assert [step["outcome"] for step in told["steps"]] == ["done", "done"]
    assert sink.ids() == dict.fromkeys([f"{message_id}/0/keep/1" for message_id in ids], 1)


def test_a_second_signal_changes_nothing(live: GatewayProcess) -> None:
    live.signal(signal.SIGTERM)
    live.running.send_signal(signal.SIGTERM)
    assert live.wait() == 0


def test_a_backlog_at_the_end_is_worked_off_after_the_next_start(live: GatewayProcess, sink: Sink) -> None:
    sink.status = 503
    ids = [live.deliver(RAW, rcpt_to=["x@example.com"]) for _ in range(30)]
    assert live.stop() == 0
    sink.status = 200
    live.start()
    # Some have had their next attempt by themselves by now: then there is nothing to retry.
    live.cli("queue", "retry", *ids)
    live.wait_done(*ids)
    assert set(sink.ids()) == {f"{message_id}/0/keep/1" for message_id in ids}


def test_a_client_that_never_ends_its_message_does_not_hold_the_end_up_for_ever(
    live: GatewayProcess, torture: int
) -> None:
    if torture <= 5:
        pytest.skip("it is waited for 30 s: with TORTURE above 5 only")
    with live.connected(timeout=60) as wire:
        begin_data(wire)
        wire.send(RAW)
        live.signal(signal.SIGTERM)
        assert live.wait(60) == 0
