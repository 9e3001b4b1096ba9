"""The files that put Gatepost on a machine name what is there, and give it no more rights than it needs."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import gatepost
from gatepost.settings_file import load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGING = ROOT / "packaging"
CONTAINERFILE = (PACKAGING / "Containerfile").read_text().replace("\\\n", " ")
MOST_EXPOSED = 25  # of 100, as `systemd-analyze security` counts (it says 2.5)
analyze = shutil.which("systemd-analyze")


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit file, each key with all its values."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (PACKAGING / name).read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


SERVICE = unit("gatepost.service")["Service"]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they would stand on this machine, whose program is elsewhere."""
    for name in ("gatepost.service", "gatepost.socket"):
        text = (PACKAGING / name).read_text()
        text = text.replace("/opt/gatepost/bin/gatepost", sys.executable)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.skipif(analyze is None, reason="no systemd here")
@pytest.mark.parametrize("name", ["gatepost.service", "gatepost.socket"])
def test_systemd_understands_every_line(name: str, units: Path) -> None:
    command = [str(analyze), "verify", "--man=no", "--recursive-errors=no", str(units / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert done.returncode == 0


@pytest.mark.skipif(analyze is None, reason="no systemd here")
def test_the_service_is_as_shut_in_as_it_says(units: Path) -> None:
    command = [
        str(analyze),
        "security",
        "--offline=true",
        f"--threshold={MOST_EXPOSED}",
        str(units / "gatepost.service"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "offline" in done.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert done.returncode == 0, done.stdout[-2000:]
    print(done.stdout.strip().splitlines()[-1])


def test_the_service_may_only_open_its_port() -> None:
    assert SERVICE["CapabilityBoundingSet"] == SERVICE["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert SERVICE["User"] != ["root"]
    assert (SERVICE["NoNewPrivileges"], SERVICE["ProtectSystem"]) == (["yes"], ["strict"])


def test_the_service_reports_and_is_watched_and_is_given_time_to_end() -> None:
    assert SERVICE["Type"] == ["notify"]
    assert int(SERVICE["WatchdogSec"][0]) >= 30
    assert int(SERVICE["TimeoutStopSec"][0]) > 30 + 10  # sessions, then steps (docs/operations.md)


def test_the_commands_of_service_and_container_are_understood() -> None:
    _, *words = SERVICE["ExecStart"][0].split()
    listed = re.search(r"^CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    assert listed is not None
    for arguments in (words, re.findall(r'"([^"]+)"', listed.group(1))):
        done = CliRunner().invoke(gatepost, [*arguments, "--help"])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["gatepost.yaml", "container.yaml"])
def test_the_settings_load_and_agree_with_the_unit(name: str) -> None:
    loaded = load_settings(PACKAGING / name, {})
    assert loaded.findings == ()
    assert loaded.settings is not None
    assert str(loaded.settings.data) == "/var/lib/gatepost"
    assert SERVICE["WorkingDirectory"] == [str(loaded.settings.data)]
    sockets = [text.rpartition(":")[2] for text in loaded.settings.listen]
    assert set(sockets) == ({"25"} if name == "gatepost.yaml" else {"2525"})


def test_the_sockets_are_those_of_the_settings() -> None:
    loaded = load_settings(PACKAGING / "gatepost.yaml", {})
    assert loaded.settings is not None
    assert tuple(unit("gatepost.socket")["Socket"]["ListenStream"]) == loaded.settings.listen


def copied() -> list[str]:
    return re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)


def test_the_container_copies_every_package_and_only_what_is_there() -> None:
    sources = {name for line in copied() for name in line.split()}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ]
    assert set(packages) <= sources
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_context_of_the_build_is_what_is_copied() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {name for line in copied() for name in line.split()}


def test_the_container_runs_as_nobody_in_particular() -> None:
    final = CONTAINERFILE.split("\nFROM ")[-1]
    user = re.search(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert user is not None, "by number, so that a cluster can see that it is not root"
    assert "0" not in user.groups()
    assert not re.search(r"\b(sudo|curl|wget|ADD|apt-get)\b", CONTAINERFILE)
    assert ":latest" not in CONTAINERFILE
    assert CONTAINERFILE.count("FROM docker.io/library/python:3.11-slim") == 2


def test_the_container_is_asked_at_a_page_that_is_there() -> None:
    (port, page) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", CONTAINERFILE)[0]
    loaded = load_settings(PACKAGING / "container.yaml", {})
    assert loaded.settings is not None
    assert loaded.settings.metrics_listen == (f"0.0.0.0:{port}",)
    assert f"`{page}`" in (ROOT / "docs" / "metrics.md").read_text()


def test_the_units_are_plain_ini_files() -> None:
    for name in ("gatepost.service", "gatepost.socket"):
        configparser.ConfigParser(strict=False, interpolation=None).read_string((PACKAGING / name).read_text())
