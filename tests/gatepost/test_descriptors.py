"""The soft limit of open files is no reason to turn connections away."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.descriptors import attainable

ROOT = Path(__file__).parents[2]
_CHILD = """
import json, resource, sys
from gatepost.descriptors import attainable, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
foreseen = attainable()
raise_limit()
print(json.dumps([foreseen, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


def raised(soft: int, hard: int) -> list[int]:
    command = [sys.executable, "-c", _CHILD, str(soft), str(hard)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("soft", [256, 512])
def test_the_soft_limit_goes_as_far_as_the_hard_one(soft: int) -> None:
    assert raised(soft, 512) == [512, 512, 512]


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1024, 4096, 4096),
        (1024, 524_288, 65_536),
        (1024, resource.RLIM_INFINITY, 65_536),
        (100_000, 524_288, 100_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, sys.maxsize),
    ],
)
def test_it_asks_for_enough_and_never_for_less_than_there_is(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    assert attainable() == expected
