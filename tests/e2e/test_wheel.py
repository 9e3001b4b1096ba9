"""The wheel holds the program and nothing else, and runs in an environment that has never seen the checkout."""

from __future__ import annotations

import os
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from fresh_checkout import NO_NETWORK, ROOT, clone, make, set_up

from tools.pip_settings import read_settings, uv_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = clone(tmp_path_factory.mktemp("wheel") / "gatepost")
    set_up(where)
    done = make(where, "dist", **NO_NETWORK)
    assert done.returncode == 0, done.stderr
    return where


@pytest.fixture(scope="module")
def environment(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment into which the pinned dependencies, and then the wheel, were installed."""
    where = tmp_path_factory.mktemp("empty") / "env"
    python = os.environ.get("PYTHON", "python3")
    listing = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    variables = {**os.environ, **uv_environment(read_settings(listing), os.environ)}
    variables.pop("VIRTUAL_ENV", None)

    def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(checkout / ".tools" / "bin" / "uv"), *arguments]
        return subprocess.run(command, cwd=where.parent, env=variables, capture_output=True, text=True, check=False)

    assert uv("venv", "--python", str(checkout / ".venv" / "bin" / "python"), str(where)).returncode == 0
    into = ["--python", str(where / "bin" / "python"), "--build-constraints", str(checkout / "requirements-tools.lock")]
    locked = ["pip", "install", *into, "--require-hashes", "-r", str(checkout / "requirements.lock")]
    if uv(*locked, "--offline").returncode != 0:
        fetched = uv(*locked)
        if fetched.returncode != 0:
            pytest.skip(f"the wheel's dependencies are neither in uv's cache nor to be had: {fetched.stderr[-300:]}")
    wheel = next((checkout / "dist").glob("*.whl"))
    installed = uv("pip", "install", *into, "--offline", "--no-deps", str(wheel))
    assert installed.returncode == 0, installed.stderr
    checked = uv("pip", "check", "--python", str(where / "bin" / "python"))
    assert checked.returncode == 0, checked.stderr
    return where


def run(environment: Path, where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed program, started elsewhere than in the checkout."""
    command = [str(environment / "bin" / "gatepost"), *arguments]
    return subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=60, check=False)


def test_dist_makes_one_wheel_and_one_source_distribution(checkout: Path) -> None:
    names = sorted(path.name for path in (checkout / "dist").glob("gatepost-*"))
    assert names == [f"gatepost-{VERSION}-py3-none-any.whl", f"gatepost-{VERSION}.tar.gz"]


def test_the_wheel_holds_our_packages_and_its_own_description_only(checkout: Path) -> None:
    with zipfile.ZipFile(next((checkout / "dist").glob("*.whl"))) as wheel:
        names = wheel.namelist()
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {name.split("/")[0] for name in names} == {*packages, f"gatepost-{VERSION}.dist-info"}
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert f"gatepost-{VERSION}.dist-info/licenses/LICENSE" in names


def test_the_program_of_the_wheel_tells_its_version(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "--version")
    assert done.returncode == 0, done.stderr
    assert VERSION in done.stdout


def test_the_program_of_the_wheel_prints_the_built_in_rules(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "check", "--show-default")
    assert done.returncode == 0, done.stderr
    assert "rule_sets:" in done.stdout
