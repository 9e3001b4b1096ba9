"""With one worker on a system that is not Linux: everything is there, and what only Linux has is done another way."""

from __future__ import annotations

from pathlib import Path

from gateway_process import ROOT, Start
from sample_gateway import ZONE, sample_bytes

ELSEWHERE = Path(__file__).parent / "elsewhere"
RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: keep
      actions:
        - disk: {path: mail}
        - lambda: {function_arn: "python:seen:handler", invocation_type: RequestResponse}
        - deliver: {maildir: box}
"""
FUNCTION = 'def handler(event, context):\n    print("seen")\n    return {"disposition": "CONTINUE"}\n'


def test_a_message_goes_through_the_whole_house(gateway: Start, tmp_path: Path) -> None:
    functions, config, syncs = tmp_path / "functions", tmp_path / "gatepost.yaml", tmp_path / "full-syncs"
    functions.mkdir()
    (functions / "seen.py").write_text(FUNCTION)
    config.write_text(f"version: 1\nfunctions: {{path: ['{functions}']}}\ndisk: {{sync: each}}\n")
    variables = {"PYTHONPATH": f"{ELSEWHERE}:{ROOT}", "FULL_SYNCS": str(syncs)}
    running = gateway(rules=RULES, config=config, dns=ZONE, variables=variables)
    ids = [running.deliver(sample_bytes(name), rcpt_to=["x@example.com"]) for name in ("personal.eml", "invoice.eml")]
    for message_id in ids:
        running.wait_done(message_id)
        (story,) = running.stories([message_id])
        assert [(step["action"], step["outcome"]) for step in story["steps"]] == [
            ("disk", "done"),
            ("lambda", "done"),
            ("deliver", "done"),
        ]
    assert sorted(path.name for path in (running.data / "mail").iterdir()) == sorted(ids)
    print(f"{len(syncs.read_bytes())} times F_FULLFSYNC")
    assert len(syncs.read_bytes()) >= 2 * len(ids)  # an object and a mailbox file of each
    assert running.stop() == 0
