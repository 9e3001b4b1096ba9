"""The functions of docs/functions.md run as the page says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from console import ROOT, blocks

PAGE = ROOT / "docs" / "functions.md"
ACTIONS = {action.text.partition("python:")[2].partition(":")[0]: action for action in blocks(PAGE, "yaml actions")}


def steps(directory: Path, module: str, message: str) -> list[dict[str, Any]]:
    """What a replay of the message says of the steps of the page's rule for this function."""
    (function,) = blocks(PAGE, f"python file={module}.py")
    (directory / f"{module}.py").write_text(function.text)
    actions = ACTIONS[module].text.replace("\n", "\n        ").rstrip() + "\n"
    (directory / "rules.yaml").write_text(
        "domains: [example.com]\nrule_sets:\n  default:\n"
        f"    - name: ask\n      actions:\n        {actions}    - name: then\n      actions: [drop: {{}}]\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gatepost", "replay", str(ROOT / "samples/messages" / message), "--run", "--json"),
            *("--rules", "rules.yaml", "--dns", str(ROOT / "samples/dns/zone.yaml")),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["steps"]
    return found


@pytest.mark.parametrize(
    ("message", "answer"), [("invoice.eml", "CONTINUE"), ("phish-dmarc-fail.eml", "STOP_RULE_SET")]
)
def test_the_function_of_the_page_decides(message: str, answer: str, tmp_path: Path) -> None:
    first, *rest = steps(tmp_path, "spam", message)
    assert (first["action"], first["outcome"], first["detail"]) == (
        "lambda",
        "done",
        f"python:spam:handler answered {answer}",
    )
    assert len(rest) == (1 if answer == "CONTINUE" else 0)


def test_the_function_of_the_page_fetches_the_body(tmp_path: Path) -> None:
    stored, called, _ = steps(tmp_path, "bodies", "invoice.eml")
    assert stored["outcome"] == "done"
    assert (called["outcome"], called["detail"]) == ("done", "python:bodies:handler answered CONTINUE")
