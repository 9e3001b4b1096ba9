"""A stranger clones, runs one command, and sends a mail: then the same without network."""

from __future__ import annotations

import json
import signal
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_checkout import NO_NETWORK, clone, make, set_up

MESSAGE = b"From: a@b.example\r\nTo: support@example.com\r\nSubject: hello\r\n\r\nthe first mail\r\n"
START_SECONDS = 20


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = clone(tmp_path_factory.mktemp("stranger") / "gatepost")
    set_up(where)
    return where


@pytest.fixture
def server(checkout: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The program as set up, on a port of its own, with no settings and no rules: (process, ready file)."""
    ready = tmp_path / "ready.json"
    command = [".venv/bin/gatepost", "serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=checkout, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ready.exists(), (tmp_path / "output").read_text()
    yield process, ready
    process.kill()
    process.wait()


def test_a_second_run_installs_nothing_and_needs_no_network(checkout: Path) -> None:
    for target in ("install", "install"):
        done = make(checkout, target, **NO_NETWORK)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mail_to_the_fresh_clone_is_accepted_and_stored(
    checkout: Path, server: tuple[subprocess.Popen[bytes], Path]
) -> None:
    process, ready = server
    host, port = json.loads(ready.read_text())["smtp"][0].rsplit(":", 1)
    with smtplib.SMTP(host, int(port), timeout=20) as client:
        client.ehlo("client.example")
        assert client.mail("a@b.example")[0] == 250
        assert client.rcpt("support@example.com")[0] == 250
        code, text = client.data(MESSAGE)
    assert code == 250, text
    message_id = text.split()[-1].decode()
    command = [".venv/bin/gatepost", "wait", message_id, "--for", "done"]
    waited = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=30, check=False)
    assert waited.returncode == 0, waited.stdout + waited.stderr
    stored = [path.read_bytes() for path in (checkout / "var" / "mail").rglob("*") if path.is_file()]
    assert any(body.endswith(MESSAGE) for body in stored)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def test_the_clone_is_as_clean_as_before(checkout: Path) -> None:
    status = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, check=True)
    assert status.stdout == ""
