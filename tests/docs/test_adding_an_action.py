"""docs/adding-an-action.md is done, word for word, in a copy of the program and as a plug-in, and the new action runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from console import ROOT, blocks

PAGE = ROOT / "docs" / "adding-an-action.md"
PACKAGES = ("mail", "rules", "verdicts", "smtp", "spool", "actions", "inbound", "outbound", "gatepost", "samples")


def follow(page: Path, copy: Path) -> None:
    """Write the page's files, and put its rows and imports where it says."""
    for block in blocks(page, "python"):
        kind, _, name = block.info.partition(" ")[2].partition("=")
        path = copy / name
        match kind:
            case "file":
                path.write_text(block.text)
            case "row":
                path.write_text(
                    re.sub(r"^(ACTIONS\b.*\{\n)", rf"\1{_literal(block.text)}", path.read_text(), count=1, flags=re.M)
                )
            case "import":
                path.write_text(
                    re.sub(r"^(?=from actions)", _literal(block.text), path.read_text(), count=1, flags=re.M)
                )
            case "plugin":
                pass  # another way, below
            case _:
                raise AssertionError(block.info)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\")


def test_the_action_of_the_page_runs(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    follow(PAGE, tmp_path)
    (rules,) = blocks(PAGE, "yaml added")
    (tmp_path / "rules.yaml").write_text(rules.text)
    replayed(tmp_path, tmp_path)


def test_the_plug_in_of_the_page_runs_without_a_change_of_the_program(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(PAGE, site)
    (rules,) = blocks(PAGE, "yaml added")
    (settings,) = blocks(PAGE, "yaml settings")
    (tmp_path / "rules.yaml").write_text(rules.text)
    (tmp_path / "gatepost.yaml").write_text(settings.text)
    replayed(tmp_path, ROOT, site, "--config", "gatepost.yaml")

    broken = rules.text.replace("{path: envelopes}", "{path: 7, paht: x}")
    (tmp_path / "rules.yaml").write_text(broken)
    checked = gatepost(tmp_path, (ROOT, site), "check", "--config", "gatepost.yaml")
    assert checked.returncode == 1
    assert 'rules.yaml:7:36: error: unknown key "paht" in envelope_file; expected' in checked.stderr
    (tmp_path / "gatepost.yaml").write_text("plugins: []\n")
    assert 'unknown action "envelope_file"' in gatepost(tmp_path, (ROOT, site), "check").stderr


def install(page: Path, site: Path) -> None:
    """As an installer does: the modules, and beside them what the distribution is and offers."""
    for block in blocks(page, "python") + blocks(page, "toml"):
        kind, _, name = block.info.partition(" ")[2].partition("=")
        if kind == "plugin":
            (site / name).write_text(block.text)
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    about = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    offers = [
        f"[{group}]\n" + "".join(f"{word} = {place}\n" for word, place in each.items())
        for group, each in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("".join(offers))


def gatepost(directory: Path, path: tuple[Path, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gatepost", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )


def replayed(directory: Path, program: Path, *site: Path | str) -> None:
    """The action has run for the sample of the page."""
    samples = ROOT / "samples"
    paths = (program, *(each for each in site if isinstance(each, Path)))
    more = [each for each in site if isinstance(each, str)]
    done = gatepost(
        directory,
        paths,
        *("replay", str(samples / "messages" / "invoice.eml"), "--run", "--json"),
        *("--rules", "rules.yaml", "--dns", str(samples / "dns" / "zone.yaml"), *more),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (step,) = told["steps"]
    assert (step["action"], step["outcome"]) == ("envelope_file", "done"), step
    written = json.loads((directory / "var" / "envelopes" / f"{told['message_id']}.json").read_text())
    assert written == {"from": "billing@acme.example", "to": ["invoices@example.com"]}
