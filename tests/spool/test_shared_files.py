"""The small files that all workers share: opened, made and changed by several processes at once."""

import json
import subprocess
import sys

PROCESSES, ROUNDS = 6, 15

SUBSCRIBERS = """\
import json, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from spool.subscriptions import open_subscriptions
path, rounds = Path(sys.argv[1]), int(sys.argv[2])
now, asked, arns = datetime(2026, 5, 4, tzinfo=UTC), 0, {}
sys.stdin.readline()
for number in range(rounds):
    subscriptions = open_subscriptions(path)
    found = subscriptions.of("arn:topic", f"http://x/{number}", now)
    asked += subscriptions.ask(found, now, at_least_apart=timedelta(hours=1)) is not None
    arns[number] = found.arn
    subscriptions.close()
print(json.dumps([asked, arns]))
"""
BOOKS = """\
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from spool.rule_sets import open_rule_books
path, rounds = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()
for number in range(rounds):
    books = open_rule_books(path)
    books.put(f"{number:064x}", b"{}", "x", datetime(2026, 5, 4, tzinfo=UTC))
    books.activate(f"{number:064x}", pinned=False)
    books.close()
print(json.dumps(len(books.__class__.__name__)))
"""


def together(program: str, path) -> list:
    """What each process prints, all begun at the same moment."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(ROUNDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for each in started:
        each.stdin.write("go\n")
        each.stdin.flush()
    told = [each.communicate(timeout=60) for each in started]
    assert [each.returncode for each in started] == [0] * PROCESSES, told
    return [json.loads(out) for out, _ in told]


def test_workers_agree_on_a_subscription_and_one_of_them_asks(tmp_path):
    told = together(SUBSCRIBERS, tmp_path / "topics.db")
    assert sum(asked for asked, _ in told) == ROUNDS
    assert all(arns == told[0][1] for _, arns in told)


def test_workers_open_the_versions_of_the_rules_while_others_change_them(tmp_path):
    together(BOOKS, tmp_path / "rules.db")
