"""Promise 1: what got 250 survives kill -9 at any moment, and its actions run, none beyond its idempotency key."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start, until
from mail_load import Load, message
from sample_gateway import ZONE
from webhook_sink import Sink

RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
    - name: mark
      actions: [{add_header: {header_name: X-Mark, header_value: seen}}]
    - name: keep
      actions:
        - disk: {path: mail}
        - webhook: {url: SINK, secret: whsec_YSBwdWJsaXNoZWQgc2FtcGxlIHNlY3JldCE=, format: raw}
        - stop: {scope: Recipients}
    - name: never
      actions: [{disk: {path: never}}]
"""
CONNECTIONS = 20
STEPS = [("mark", "add_header"), ("keep", "disk"), ("keep", "webhook"), ("keep", "stop")]


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_what_got_250_is_there_after_kill_9_and_its_actions_ran_once_by_key(
    gateway: Start, sink: Sink, torture: int
) -> None:
    kills, messages = torture, 5000 if torture > 5 else 1200
    live = gateway(rules=RULES.replace("SINK", sink.url), dns=ZONE, workers=2, options=("--quiet",))
    load = Load(live.address, messages=messages, connections=CONNECTIONS, recipient="x@example.com")
    load.start()
    struck = torment(live, load, kills=kills, messages=messages)
    load.join()
    assert struck.total() == kills
    assert load.refusals == []
    assert set(load.taken.values()) == {f"token-{number:06d}" for number in range(messages)}
    # Once more while only actions are under way.
    live.kill()
    live.start()
    ids = sorted(load.taken)
    for start in range(0, len(ids), 2000):
        live.wait_done(*ids[start : start + 2000], seconds=300)

    found = {row["id"]: row for row in live.objects("find", "--limit", "100000", "--outcome", "accepted")}
    assert load.taken.keys() <= found.keys()
    for message_id, token in load.taken.items():
        assert (found[message_id]["subject"], found[message_id]["state"]) == (token, "done")
    # Those whose 250 died with the server are as whole as the others.
    live.wait_done(*(found.keys() - load.taken.keys() or ids[:1]), seconds=60)
    assert_each_is_stored_once(live, {message_id: row["subject"] for message_id, row in found.items()})
    assert_each_was_posted_under_one_key(sink, set(found))
    for told in live.stories(random.Random(1).sample(ids, 20)):
        assert [(step["rule"], step["action"]) for step in told["steps"]] == STEPS
        assert {step["outcome"] for step in told["steps"]} == {"done"}
    repeats = sum(count - 1 for count in sink.ids().values())
    victims = ", ".join(f"{count} of {whom}" for whom, count in sorted(struck.items()))
    print(
        f"{kills + 1} kills ({victims}), {len(found)} messages, {len(found) - len(ids)} unanswered, {repeats} webhooks repeated"
    )


def torment(live: GatewayProcess, load: Load, *, kills: int, messages: int) -> Counter[str]:
    """Kill and restart, at moments spread over the load, and sometimes before it is ready again; how often whom."""
    chance = random.Random()
    moment = threading.Event()
    struck: Counter[str] = Counter()
    for number in range(kills):
        # By progress, not by time: a slow machine has its kills under load too.
        goal = int(messages * (number + chance.random()) / (kills + 1))
        until(
            lambda goal=goal: len(load.taken) >= goal or load.is_over,
            f"{goal} messages taken",
            seconds=300,
            every=0.002,
        )
        moment.wait(chance.uniform(0, 0.05))
        whom = chance.choice(("a worker", "the parent", "all"))
        struck[whom] += 1
        if whom == "a worker":
            # The parent starts the next one by itself.
            for pid in chance.sample(live.children(), 1):
                strike(pid)
            continue
        for pid in live.children() if whom == "all" else ():
            strike(pid)
        live.kill()
        if chance.random() < 0.3:
            live.launch()
            moment.wait(chance.uniform(0, 1.0))
            live.kill()
        live.start()
    return struck


def strike(pid: int) -> None:
    """kill -9, of a worker that may have gone by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def assert_each_is_stored_once(live: GatewayProcess, subjects: dict[str, str]) -> None:
    paths: defaultdict[str, list[Path]] = defaultdict(list)
    for path in live.data.joinpath("mail").rglob("*"):
        # A temporary name begins with a dot; kill -9 may leave one behind, and no reader takes it for a message.
        if path.is_file() and not path.name.startswith("."):
            paths[path.name].append(path)
    assert paths.keys() == subjects.keys()
    for message_id, (path, *more) in paths.items():
        assert not more
        assert path.read_bytes().endswith(b"X-Mark: seen\r\n" + message(subjects[message_id]))
    assert not (live.data / "never").exists()


def assert_each_was_posted_under_one_key(sink: Sink, ids: set[str]) -> None:
    posted = sink.ids()
    assert set(posted) == {f"{message_id}/0/keep/1" for message_id in ids}
    bodies: defaultdict[str, Counter[bytes]] = defaultdict(Counter)
    for call in sink.calls:
        bodies[call.headers["webhook-id"]][call.body] += 1
    assert all(len(versions) == 1 for versions in bodies.values()), "a repeat says the same as the first"
