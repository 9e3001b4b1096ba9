"""A socket for each worker where the kernel deals, a taken port found out all the same, and sockets that systemd passed."""

import os
import socket
import subprocess
import sys
import textwrap

import pytest

from gatepost.listening import CAN_DEAL, Listening, bind, bind_all, passed_sockets, patiently


@pytest.fixture
def closing():
    opened: list[socket.socket] = []
    yield opened.extend
    for each in opened:
        each.close()


@pytest.mark.skipif(not CAN_DEAL, reason="this system does not deal connections out")
def test_each_worker_has_a_socket_at_the_same_address(closing):
    sockets = bind("127.0.0.1", 0, 3)
    closing(sockets)
    assert len(sockets) == 3
    assert len({bound.getsockname() for bound in sockets}) == 1
    listening = Listening(smtp=(sockets,))
    assert [listening.of(worker).smtp for worker in range(3)] == [[bound] for bound in sockets]
    assert len(listening.addresses) == 1


def test_only_the_first_worker_serves_http(closing):
    smtp, http = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
    closing([*smtp, *http])
    listening = Listening(smtp=(smtp,), http=[*http])
    assert [list(listening.of(worker).http) for worker in range(2)] == [[*http], []]
    assert listening.of(0).smtp == listening.of(1).smtp, "they share the one socket"


def test_another_server_of_ours_has_the_port(closing):
    # Both would bind with SO_REUSEPORT, and the kernel would let them.
    first = bind("127.0.0.1", 0, 2)
    closing(first)
    with pytest.raises(OSError, match="is in use; use --listen"):
        bind("127.0.0.1", first[0].getsockname()[1], 2)


def test_an_address_that_cannot_be_had_leaves_none_open(closing):
    taken = bind("127.0.0.1", 0)
    closing(taken)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match="is in use"):
        bind_all([("127.0.0.1", 0), taken[0].getsockname()[:2]], 2)
    assert len(os.listdir("/dev/fd")) == before


def test_an_address_of_a_dying_server_is_waited_for(closing):
    tries = []
    free = bind("127.0.0.1", 0)
    closing(free)

    def bound():
        tries.append(1)
        return bind_all([free[0].getsockname()[:2]], 1) if len(tries) < 3 else (free,)

    assert patiently(bound, 5.0) == (free,)
    tries.clear()
    with pytest.raises(OSError, match="is in use"):
        patiently(bound, 0.0)
    assert len(tries) == 1


PASSED = """\
import os, socket
from gatepost.listening import passed_sockets
made = [{make} for _ in range(3)]
for place, each in enumerate(made):
    os.dup2(each.fileno(), 20 + place)
for place in range(3):
    os.dup2(20 + place, 3 + place)
found = passed_sockets(
    {{"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "{names}"}}, os.getpid()
)
print([[each.fileno() for each in sockets] for sockets in found.smtp], [[e.fileno() for e in s] for s in found.tls],
      [each.fileno() for each in found.http], any(map(os.get_inheritable, (3, 4, 5))))
"""


def passed(make: str, names: str = "smtps:http:gatepost.socket") -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose descriptors are free."""
    text = textwrap.dedent(PASSED.format(make=make, names=names))
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


def test_systemds_sockets_are_told_apart_by_their_names():
    done = passed("socket.create_server(('127.0.0.1', 0))")
    assert done.stdout.split() == ["[[5]]", "[[3]]", "[4]", "False"], done.stderr


def test_sockets_of_which_none_is_for_mail_are_said():
    done = passed("socket.create_server(('127.0.0.1', 0))", names="http:http:http")
    assert "none of the sockets that systemd passed is for mail" in done.stderr


@pytest.mark.parametrize(
    "make",
    ["socket.socket(socket.AF_UNIX)", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "socket.socket()"],
    ids=["unix", "datagrams", "not listening"],
)
def test_a_socket_at_which_no_mail_can_come_is_said(make):
    done = passed(make)
    assert "socket 1 of 3 that systemd passed does not listen for TCP" in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "x"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "0"},
    ],
    ids=["nothing", "for somebody else", "no number", "none"],
)
def test_what_is_not_for_us_is_left_alone(environment):
    assert passed_sockets(environment, 42) is None
