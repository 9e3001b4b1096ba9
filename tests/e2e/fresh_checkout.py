"""A clone of this repository, set up by its own Makefile as a stranger would."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Nothing gets out: uv must not even try, and whoever tries meets a closed door.
NO_NETWORK = {
    "UV_OFFLINE": "1",
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
}


def clone(into: Path) -> Path:
    """A clone of HEAD: what is not committed is not in it."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(into)], check=True)
    return into


def make(where: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make there, to the end."""
    return subprocess.run(
        ["make", "--silent", *arguments],
        cwd=where,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def set_up(where: Path) -> None:
    """`make install`. Where pip has no way to uv, the tools are carried over, as the message of set-up tells."""
    done = make(where, "install", PIP_RETRIES="1")
    if done.returncode != 0 and "pip could not install uv" in done.stderr:
        shutil.copytree(ROOT / ".tools", where / ".tools")
        done = make(where, "install", UV_OFFLINE="1")
    assert done.returncode == 0, done.stderr
