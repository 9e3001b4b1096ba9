"""docs/adding-an-action.md is done, word for word, in a copy of the program, and the new action runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
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
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gatepost", "replay", "samples/messages/invoice.eml", "--run", "--json"),
            *("--rules", "rules.yaml", "--dns", "samples/dns/zone.yaml"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (step,) = told["steps"]
    assert (step["action"], step["outcome"]) == ("envelope_file", "done")
    written = json.loads((tmp_path / "var" / "envelopes" / f"{told['message_id']}.json").read_text())
    assert written == {"from": "billing@acme.example", "to": ["invoices@example.com"]}
