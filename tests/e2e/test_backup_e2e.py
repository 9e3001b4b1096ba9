"""A backup that is made under load, restored elsewhere: what got 250 before it is there, and what was left to do is done there."""

from __future__ import annotations

import json

import pytest
from gateway_process import Start, run_program, until
from mail_load import Load, message
from sample_gateway import ZONE
from webhook_sink import Sink

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: keep
      actions:
        - disk: {path: mail}
        - webhook: {url: SINK, format: raw}
"""
LARGE = b"From: a@b.example\r\nSubject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * 4000


@pytest.mark.timeout(300)
def test_a_backup_under_load_restored_elsewhere_loses_nothing(gateway: Start, sink: Sink, torture: int) -> None:
    sink.status = 503
    messages = 60 * torture
    live = gateway(rules=RULES.replace("SINK", sink.url), dns=ZONE, options=("--quiet",))
    large = live.deliver(LARGE, rcpt_to=["x@example.com"])
    load = Load(live.address, messages=messages, connections=8, recipient="x@example.com")
    load.start()
    until(lambda: len(load.taken) >= messages // 3, "a third is taken", seconds=120)
    before = dict(load.taken)
    backup = live.directory / "backup"
    done = live.cli("backup", backup, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    load.join()
    assert load.refusals == []
    assert live.stop() == 0
    posted = len(sink.calls)

    new = gateway(start=False, rules=live.rules, dns=ZONE, options=("--quiet",))
    restored = run_program("restore", backup, "--data", new.data, cwd=new.directory)
    assert restored.returncode == 0, restored.stderr
    sink.status = 200
    new.start()
    new.cli("queue", "retry", "--all", "--yes")
    ids = [large, *before]
    new.wait_done(*ids, seconds=120)
    found = {row["id"]: row["subject"] for row in new.objects("find", "--limit", "100000", "--outcome", "accepted")}
    assert before.items() <= found.items()
    assert len(found) == told["messages"]
    assert new.cli("show", large, "--raw").stdout == LARGE
    for message_id, token in list(before.items())[:: max(1, len(before) // 4)]:
        assert new.cli("show", message_id, "--raw").stdout == message(token)
    # Under the same keys as before, so that whoever got one twice knows it.
    keys = {call.headers["webhook-id"] for call in sink.calls[posted:]}
    assert {f"{message_id}/0/keep/1" for message_id in ids} <= keys
    assert keys <= {f"{message_id}/0/keep/1" for message_id in found}
    after = len(found) - len(ids)
    print(f"{messages} messages under load, {len(ids)} before the backup, {after} while it ran, none of them lost")
