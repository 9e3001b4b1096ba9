"""What the figures were made on, in one sentence."""

import os
import platform
import subprocess
from datetime import datetime
from pathlib import Path


def machine(now: datetime) -> str:
    """Processor, cores, memory, file system, kernel, Python and our own version."""
    parts = [_processor(), f"{len(os.sched_getaffinity(0))} cores", f"{_gibibytes():.0f} GiB", _file_system()]
    parts += [f"Linux {platform.release()}", f"Python {platform.python_version()}", f"Gatepost {_version()}"]
    return f"{now:%Y-%m-%d}: {', '.join(part for part in parts if part)}."


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _gibibytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system() -> str:
    return _said("findmnt", "--noheadings", "--output", "FSTYPE", "--target", os.environ.get("TMPDIR", "/tmp"))


def _version() -> str:
    return _said("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")


def _said(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip()
