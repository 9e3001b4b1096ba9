"""Set-up gives uv what pip is told, in uv's words, and says one clear thing when it cannot go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house_tree import ROOT

from tools import pip_settings, prepare

LISTING = """\
:env:.cert='/srv/ca.pem'
:env:.disable-pip-version-check='1'
global.cert='/etc/other.pem'
global.extra-index-url='file:///one/list\\nfile:///two/list'
global.index-url='https://mirror.example/list'
install.find-links='/wheels /more'
WARNING: something that is no setting
"""


def told(settings: dict[str, str], environment: dict[str, str] | None = None) -> dict[str, str]:
    return pip_settings.uv_environment(settings, environment or {"SSL_CERT_FILE": "/system.pem"})


def test_the_environment_wins_over_the_files_of_pip() -> None:
    settings = pip_settings.read_settings(LISTING)
    assert settings["cert"] == "/srv/ca.pem"
    assert settings["index-url"] == "https://mirror.example/list"


def test_an_option_for_install_wins_over_the_global_one() -> None:
    listing = "install.timeout='60'\nglobal.timeout='15'\ndownload.timeout='5'\n"
    assert pip_settings.read_settings(listing) == {"timeout": "60"}


def test_underscores_in_an_option_mean_dashes() -> None:
    assert pip_settings.read_settings("global.index_url='x'\n") == {"index-url": "x"}


@pytest.mark.parametrize(
    ("option", "value", "variable", "expected"),
    [
        ("index-url", "https://mirror.example/list", "UV_DEFAULT_INDEX", "https://mirror.example/list"),
        ("extra-index-url", "file:///one\nfile:///two", "UV_INDEX", "file:///one file:///two"),
        ("find-links", "/wheels\n/more", "UV_FIND_LINKS", "/wheels,/more"),
        ("trusted-host", "a.example b.example", "UV_INSECURE_HOST", "a.example b.example"),
        ("proxy", "http://proxy.example:3128", "HTTPS_PROXY", "http://proxy.example:3128"),
        ("proxy", "http://proxy.example:3128", "HTTP_PROXY", "http://proxy.example:3128"),
        ("client-cert", "/me.pem", "SSL_CLIENT_CERT", "/me.pem"),
        ("cert", "/srv/ca.pem", "SSL_CERT_FILE", "/srv/ca.pem"),
        ("timeout", "180", "UV_HTTP_TIMEOUT", "180"),
    ],
)
def test_a_setting_of_pip_reaches_uv(option: str, value: str, variable: str, expected: str) -> None:
    assert told({option: value})[variable] == expected


def test_what_the_caller_told_uv_is_kept() -> None:
    added = told({"index-url": "https://pip.example/list"}, {"UV_INDEX_URL": "https://uv.example/list"})
    assert "UV_DEFAULT_INDEX" not in added


def test_a_version_is_taken_from_whichever_index_has_it() -> None:
    assert told({})["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_the_authorities_of_the_system_are_trusted_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(pip_settings, "has_system_certificates", lambda there=there: there)
        assert ("UV_SYSTEM_CERTS" in pip_settings.uv_environment({}, {})) is there


def test_locking_ignores_extra_indexes_and_local_wheels() -> None:
    settings = {"extra-index-url": "file:///one", "find-links": "/wheels", "index-url": "https://mirror.example/list"}
    added = pip_settings.uv_environment(settings, {}, only_main_index=True)
    assert not {"UV_INDEX", "UV_FIND_LINKS"} & set(added)
    assert added["UV_DEFAULT_INDEX"] == "https://mirror.example/list"


@pytest.mark.parametrize(("value", "flags"), [("1", ["--no-index"]), ("true", ["--no-index"]), ("0", []), ("", [])])
def test_no_index_is_passed_on(value: str, flags: list[str]) -> None:
    assert pip_settings.uv_flags({"no-index": value}) == flags


def test_the_pin_of_uv_is_one_requirement_with_its_hashes() -> None:
    pin = prepare.uv_pin().splitlines()
    assert pin[0].startswith("uv==")
    assert len(pin) > 2
    assert all("--hash=sha256:" in line or line.lstrip().startswith("#") for line in pin[1:])


def test_of_many_retries_only_the_last_is_told() -> None:
    shown = prepare.tail("WARNING: Retrying (a)\nWARNING: Retrying (b)\nERROR: none found\n")
    assert shown == "    WARNING: Retrying (b)\n    ERROR: none found\n"


def checkout(into: Path) -> Path:
    """What set-up reads, without anything that it has made."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock", "requirements-tools.lock"):
        shutil.copy(ROOT / name, into / name)
    (into / "tools").mkdir()
    for name in ("prepare.py", "pip_settings.py"):
        shutil.copy(ROOT / "tools" / name, into / "tools" / name)
    return into


def make_install(where: Path, python: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--silent", "install", f"PYTHON={python}"],
        cwd=where,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_a_missing_python_is_named(tmp_path: Path) -> None:
    done = make_install(checkout(tmp_path), "python3.99")
    assert done.returncode != 0
    assert "set-up failed: there is no python3.99." in done.stderr


def test_an_old_python_is_told_from_a_failure(tmp_path: Path) -> None:
    old = script(tmp_path / "old", f'exec {sys.executable} -c "import sys; sys.version_info = (3, 9, 2); $2"\n')
    done = make_install(checkout(tmp_path), old)
    assert done.returncode != 0
    assert "Gatepost needs Python 3.11 or later" in done.stderr
    assert "is 3.9. Name another: make PYTHON=python3.12" in done.stderr


def test_without_pip_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "No module named pip")
    monkeypatch.setattr(prepare, "run", lambda command, environment: failed)
    with pytest.raises(prepare.Failed, match=r"has no pip\. On Debian: apt-get install python3-pip"):
        prepare.pip()


@pytest.fixture
def empty_handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout where nothing is set up, and a pip that knows its settings and finds no package."""
    for name in ("TOOLS", "VENV", "SCRATCH"):
        monkeypatch.setattr(prepare, name, tmp_path / name.lower())
    monkeypatch.setattr(prepare, "STAMP", tmp_path / "venv" / ".stamp")
    pip = script(tmp_path / "pip", '[ "$1" = install ] && { echo "ERROR: no uv anywhere" >&2; exit 1; }\nexit 0\n')
    monkeypatch.setattr(prepare, "pip", lambda: [pip])
    return tmp_path


def test_without_a_way_to_the_packages_one_message_says_what_to_do(
    empty_handed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare.main(["runtime"]) == 3
    told = capsys.readouterr().err
    assert told.count("set-up failed") == 1
    assert "    ERROR: no uv anywhere\n" in told
    assert "PIP_INDEX_URL" in told
    assert not (empty_handed / "tools").exists()
    assert not (empty_handed / "venv").exists()


def test_set_up_knows_its_own_acts_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["everything"]) == 2
    assert "usage:" in capsys.readouterr().err
