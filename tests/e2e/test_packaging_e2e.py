"""The program under what the container and the unit leave it: a read-only root, no capability, its state directory alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from gateway_process import ROOT, GatewayProcess, Start

RULES = "version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{disk: {path: mail}}]}]}\n"
RAW = b"From: a@b.example\r\nSubject: contained\r\n\r\nhello\r\n"
# Everything read-only but this directory, in a mount namespace of its own; then no capability, for good.
SHUT_IN = (
    'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / && cd "$1" && shift'
    ' && exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"'
)


class ShutIn(GatewayProcess):
    @property
    def command(self) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", SHUT_IN, "sh", str(self.directory), *super().command]


@pytest.fixture
def live(gateway: Start, tmp_path: Path) -> GatewayProcess:
    probe = ["unshare", "--mount", "sh", "-c", "mount --make-rprivate /"]
    if (
        not all(map(shutil.which, ("unshare", "setpriv")))
        or subprocess.run(probe, capture_output=True, check=False).returncode
    ):
        pytest.skip("mount namespaces need root")
    config = ROOT / "packaging" / "container.yaml"
    made = gateway(start=False, rules=RULES, config=config, variables={"GATEPOST_HTTP__LISTEN": "['127.0.0.1:0']"})
    made.__class__ = ShutIn
    return made.start()


def test_mail_is_taken_and_stored_on_a_read_only_root_without_any_right(live: GatewayProcess) -> None:
    status = Path(f"/proc/{live.running.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    mounts = Path(f"/proc/{live.running.pid}/mountinfo").read_text().splitlines()
    (root,) = [line.split() for line in mounts if line.split()[4] == "/"]
    assert "ro" in root[5].split(",")
    message_id = live.deliver(RAW, rcpt_to=["x@example.com"])
    live.wait_done(message_id)
    assert (live.data / "mail" / message_id).read_bytes().endswith(RAW)
