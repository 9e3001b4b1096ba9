"""Which memory is gathered on huge pages, and that nothing in it changes."""

import re
import subprocess
import sys

import pytest

from gatepost.huge_pages import HUGE_OCTETS, gather, of_heap

MAPS = """\
00400000-00aab000 r-xp 00000000 fe:00 1234                               /usr/bin/python3.11
00c00000-01c00000 rw-p 00800000 fe:00 1234                               /usr/bin/python3.11
01e80000-02e8b000 rw-p 00000000 00:00 0                                  [heap]
7f0000100000-7f0000500000 rw-p 00000000 00:00 0
7f0001000000-7f0001100000 rw-p 00000000 00:00 0
7f0002000000-7f0003000000 rw-s 00000000 00:05 99                         /dev/shm/x (deleted)
7f0004000000-7f0005000000 ---p 00000000 00:00 0
7ffc00000000-7ffc00600000 rw-p 00000000 00:00 0                          [stack]
"""

_ANY = """
from pathlib import Path
from gatepost.huge_pages import gather
kept = [str(number) * 8 for number in range(200_000)]
gathered = gather()
assert kept == [str(number) * 8 for number in range(200_000)]
print(gathered)
print(Path("/proc/self/smaps").read_text())
"""


def test_only_whole_huge_pages_of_the_heap_are_gathered() -> None:
    assert list(of_heap(MAPS.splitlines())) == [(0x2000000, 0x2E00000), (0x7F0000200000, 0x7F0000400000)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is gathered")
def test_what_stands_in_memory_stays_as_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", _ANY], capture_output=True, text=True, check=True)
    gathered = int(done.stdout.split()[0])
    huge = sum(int(octets) * 1024 for octets in re.findall(r"AnonHugePages: +(\d+) kB", done.stdout))
    assert gathered % HUGE_OCTETS == 0
    assert huge >= gathered  # the kernel's own policy may have put more there


def test_elsewhere_nothing_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert gather() == 0
