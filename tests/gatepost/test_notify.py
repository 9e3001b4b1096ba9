"""What systemd hears of us, and that nothing depends on its listening."""

import os
import socket

import pytest

from gatepost.notify import VARIABLES, Notifier, forget_systemd


@pytest.fixture
def heard(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_a_state_is_heard(heard):
    Notifier({"NOTIFY_SOCKET": heard.getsockname()}, 1).say("READY=1")
    assert heard.recv(100) == b"READY=1"


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0gatepost-test-{os.getpid()}")
        listening.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@gatepost-test-{os.getpid()}"}, 1).say("STOPPING=1")
        assert listening.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_is_said_and_nothing_fails(tmp_path):
    Notifier({}, 1).say("READY=1")
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, 1)
    gone.say("READY=1")
    gone.say("WATCHDOG=1")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000"}, 60.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"NOTIFY_SOCKET": "/x"}, 0.0),
        ({"WATCHDOG_USEC": "60000000"}, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_fed_as_often_as_it_is_wanted_of_us(environment, seconds):
    assert Notifier(environment, 7).watchdog_seconds == seconds


def test_a_child_is_not_told_of_systemd(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    forget_systemd()
    assert not set(VARIABLES) & set(os.environ)
