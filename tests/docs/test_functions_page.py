"""The function of docs/functions.md runs as the page says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from console import ROOT, blocks

PAGE = ROOT / "docs" / "functions.md"


@pytest.mark.parametrize(
    ("message", "answer"), [("invoice.eml", "CONTINUE"), ("phish-dmarc-fail.eml", "STOP_RULE_SET")]
)
def test_the_function_of_the_page_decides(message: str, answer: str, tmp_path: Path) -> None:
    (function,) = blocks(PAGE, "python file=spam.py")
    action = blocks(PAGE, "yaml actions")[0]
    (tmp_path / "spam.py").write_text(function.text)
    (tmp_path / "rules.yaml").write_text(
        "domains: [example.com]\nrule_sets:\n  default:\n"
        f"    - name: ask\n      actions:\n        {action.text}    - name: then\n      actions: [drop: {{}}]\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gatepost", "replay", str(ROOT / "samples/messages" / message), "--run", "--json"),
            *("--rules", "rules.yaml", "--dns", str(ROOT / "samples/dns/zone.yaml")),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [(step["action"], step["outcome"], step["detail"]) for step in json.loads(done.stdout)["steps"]]
    assert steps[0] == ("lambda", "done", f"python:spam:handler answered {answer}")
    assert len(steps) == (2 if answer == "CONTINUE" else 1)
