"""Files change while mail goes on: what is good is in force for who comes next, what is bad changes nothing, nobody is dropped."""

from __future__ import annotations

import datetime
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import ROOT, GatewayProcess, Start, until
from mail_load import Load
from sample_gateway import ZONE, small_settings
from smtp_wire import Wire

from smtp.tls import self_signed

RULES = """\
version: 1
domains: [example.com]
filters:
  - {name: listed, policy: Block, file: blocked.txt}
rule_sets:
  default:
    - {name: keep, actions: [{disk: {path: mail}}]}
"""


PLAIN = RULES.replace("filters:\n  - {name: listed, policy: Block, file: blocked.txt}\n", "")


def made(directory: Path, hostname: str) -> Path:
    """A certificate of its own, with its key."""
    directory.mkdir()
    path = directory / "own.pem"
    path.write_bytes(self_signed(hostname, datetime.datetime.now(datetime.UTC)))
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "mx.pem"
    shutil.copy(made(tmp_path / "first", "first.example"), path)
    return path


@pytest.fixture
def live(gateway: Start, tmp_path: Path, certificate: Path) -> GatewayProcess:
    config = small_settings(tmp_path, smtp="{size_limit: 1MB}", tls=f"{{certificate: {certificate.name}}}")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    (tmp_path / "blocked.txt").write_text("192.0.2.1/32\n")
    return gateway(rules=rules, config=config, dns=ZONE, workers=2, options=("--quiet",))


def certificate_served(live: GatewayProcess) -> bytes:
    """What STARTTLS shows."""
    with live.connected() as wire:
        assert wire.command("STARTTLS").code == 220
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(wire.socket) as secured:
            return secured.getpeercert(binary_form=True) or b""


def size_offered(live: GatewayProcess) -> str:
    with Wire(live.address, timeout=30) as wire:
        wire.reply()
        offered = wire.command("EHLO c.example").text.splitlines()
    return next(line for line in offered if line.startswith("SIZE"))


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not(
    live: GatewayProcess, certificate: Path, tmp_path: Path
) -> None:
    before, pids = certificate_served(live), live.pids
    with live.connected() as wire:
        certificate.write_text("no certificate")
        until(lambda: "the settings are refused" in live.output, "it says that this is none")
        assert certificate_served(live) == before
        shutil.copy(made(tmp_path / "second", "second.example"), certificate)
        until(lambda: len({certificate_served(live) for _ in range(6)} - {before}) == 1, "the new one is shown")
        until(lambda: all(certificate_served(live) != before for _ in range(6)), "by all workers")
        assert wire.command("NOOP").code == 250
    assert live.pids == pids
    assert "is back" not in live.output


def test_a_changed_setting_is_in_force_for_who_comes_next(live: GatewayProcess, tmp_path: Path) -> None:
    assert size_offered(live) == "SIZE 1000000"
    with live.connected() as wire:
        small_settings(tmp_path, smtp="{size_limit: 2MB}", tls="{certificate: mx.pem}", workers="3")
        until(lambda: all(size_offered(live) == "SIZE 2000000" for _ in range(6)), "the new limit is offered")
        until(lambda: "settings in force: smtp.size_limit\n" in live.output, "it says what changed")
        assert "settings that need a restart" not in live.output, "the command line says how many workers there are"
        assert wire.command("NOOP").code == 250
    small_settings(tmp_path, smtp="{size_limit: 2MB}", tls="{certificate: mx.pem}", dns="{cache: 5}")
    until(lambda: "settings that need a restart: dns.cache\n" in live.output, "it says what waits")


def test_settings_with_errors_change_nothing(live: GatewayProcess, tmp_path: Path) -> None:
    small_settings(tmp_path, smtp="{size_limit: huge, recipients: 1}")
    live.signal(signal.SIGHUP)
    until(lambda: "the settings are refused, those before stay in force" in live.output, "it says so")
    assert "size_limit" in live.output
    assert size_offered(live) == "SIZE 1000000"


def test_settings_whose_file_is_gone_stay_until_it_is_back(gateway: Start) -> None:
    running = gateway(start=False, rules=PLAIN, dns=ZONE, options=("--quiet",))
    config = running.directory / "gatepost.yaml"
    config.write_text("version: 1\nsmtp: {size_limit: 1MB}\n")
    running.start()
    config.unlink()
    until(lambda: "those before stay in force: gatepost.yaml is gone\n" in running.output, "it says so")
    assert size_offered(running) == "SIZE 1000000"
    config.write_text("version: 1\nsmtp: {size_limit: 2MB}\n")
    until(lambda: size_offered(running) == "SIZE 2000000", "it is read again")


def test_a_changed_list_of_a_filter_is_a_new_version_of_the_rules(live: GatewayProcess, tmp_path: Path) -> None:
    raw = b"Subject: x\r\n\r\nx\r\n"
    live.deliver(raw, rcpt_to=["x@example.com"])
    (tmp_path / "blocked.txt").write_text("127.0.0.0/8\n")

    def refused() -> bool:
        with live.connected() as wire:
            return wire.transaction("a@b.example", ["x@example.com"], raw).code == 550

    until(lambda: all(refused() for _ in range(6)), "the client is blocked by every worker")
    assert len(live.objects("rules", "list")) == 2


TOPICS = (
    "topics: {told: {arn: 'arn:aws:sns:eu-west-1:123456789012:told', subscribers: [{url: 'http://127.0.0.1:9/x'}]}}\n"
)


@pytest.fixture
def own_port(gateway: Start, tmp_path: Path) -> Iterator[tuple[int, Path, GatewayProcess]]:
    """A port that nobody else gets while the test runs, a rules file, and a server of it that would choose this port for HTTP."""
    with socket.socket() as held:
        # Bound and not listening: whoever asks for this very port with SO_REUSEADDR gets it too.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        directory = tmp_path / "port"
        directory.mkdir()
        chosen = f"import gatepost.publishing\n\ngatepost.publishing.DEFAULT_LISTEN = ('127.0.0.1', {port})\n"
        (directory / "sitecustomize.py").write_text(chosen)
        rules = tmp_path / "rules.yaml"
        rules.write_text(PLAIN)
        variables = {"PYTHONPATH": f"{directory}:{ROOT}"}
        yield port, rules, gateway(rules=rules, dns=ZONE, workers=2, options=("--quiet",), variables=variables)


def test_rules_that_need_the_http_listener_now_start_it(
    own_port: tuple[int, Path, GatewayProcess],
) -> None:
    port, rules, running = own_port
    rules.write_text(PLAIN + TOPICS)
    until(lambda: f"http 127.0.0.1:{port}\n" in running.output, "it says where")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 403")


def test_where_that_port_is_taken_it_says_so_and_takes_it_at_a_later_reload(
    own_port: tuple[int, Path, GatewayProcess],
) -> None:
    port, rules, running = own_port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        rules.write_text(PLAIN + TOPICS)
        until(lambda: f"no HTTP listener: 127.0.0.1:{port} cannot be had" in running.output, "it says so")
        running.deliver(b"Subject: x\r\n\r\nx\r\n", rcpt_to=["x@example.com"])
    running.signal(signal.SIGHUP)
    until(lambda: f"http 127.0.0.1:{port}\n" in running.output, "it says where")


@pytest.mark.timeout(300)
def test_a_storm_of_reloads_under_load_drops_no_connection(live: GatewayProcess, tmp_path: Path, torture: int) -> None:
    messages, rounds = 100 * torture, 5 * torture
    load = Load(live.address, messages=messages, connections=8, recipient="x@example.com")
    load.start()
    for number in range(rounds):
        goal = messages * number // rounds
        until(lambda goal=goal: len(load.taken) >= goal or load.is_over, f"{goal} taken", seconds=120, every=0.002)
        match number % 4:
            case 0:
                small_settings(tmp_path, smtp=f"{{size_limit: {number + 1}MB}}", tls="{certificate: mx.pem}")
            case 1:
                (tmp_path / "rules.yaml").write_text(f"{RULES}# {number}\n")
            case 2:
                (tmp_path / "rules.yaml").write_text("rule_sets: [nonsense\n")
            case 3:
                (tmp_path / "mx.pem").touch()
        live.signal(signal.SIGHUP)
    load.join()
    assert load.refusals == []
    assert load.broken == 0
    assert len(load.taken) == messages
    assert "is back" not in live.output
    print(f"{rounds} reloads, {messages} messages, no connection dropped")
