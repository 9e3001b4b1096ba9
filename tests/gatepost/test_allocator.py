"""What a worker's threads had at once and freed goes back to the system; its owner's own wishes for the C library stand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gatepost.allocator import thrifty

# Like a worker that passes large messages on: a very large buffer early, then every thread holds some at once, and something small
# that stays is made behind them. Prints the octets that the C library holds though nobody uses them.
_THREADS = """
import ctypes, threading
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
bytes(8 * 2**20)
held, kept = threading.Barrier(12), []
def work():
    for octets in (600_000, 800_000, 1_700_000):
        parts = [bytearray(octets) for _ in range(4)]
        held.wait()
        kept.append(bytearray(1000))
        del parts
        held.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(libc.mallinfo2().fordblks)
"""
MIB = 2**20


def kept_octets(environment: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _THREADS], env=environment, capture_output=True, check=True, timeout=60
    )
    return int(done.stdout)


def is_glibc() -> bool:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") is not None
    except ValueError:
        return False


@pytest.mark.skipif(not is_glibc(), reason="another C library, which does not read these variables")
def test_what_threads_held_at_once_is_not_kept() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    assert kept_octets(plain) > 8 * MIB, "left alone, it would be: or this test shows nothing"
    assert kept_octets(thrifty(plain)) < 2 * MIB


def test_what_the_owner_set_stays() -> None:
    given = {"MALLOC_ARENA_MAX": "4", "PATH": "/bin"}
    assert thrifty(given).items() >= given.items()
    assert thrifty(given).keys() > given.keys()
    assert given == {"MALLOC_ARENA_MAX": "4", "PATH": "/bin"}
