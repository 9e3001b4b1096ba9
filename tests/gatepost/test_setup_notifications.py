"""The setup notification follows the active rules, whatever made them active."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatepost.setup_notifications import keep_announcing
from mail.errors import Temporary
from rules.load import load_text

NOW = datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)


def book(*prefixes):
    actions = "".join(f"\n        - s3: {{bucket_name: mail, object_key_prefix: '{each}'}}" for each in prefixes)
    loaded = load_text(f"rule_sets:\n  a:\n    - name: x\n      actions:{actions}\n".encode(), "r.yaml", Path())
    assert loaded.book is not None, loaded.findings
    return loaded.book


class Kept:
    """Buckets that keep what they are given, and refuse the prefix `locked`."""

    def __init__(self):
        self.keys = []
        self.new = asyncio.Event()

    async def put(self, bucket, key, body, metadata, *, role=""):
        self.new.set()
        if key.startswith("locked"):
            raise Temporary("AccessDenied")
        self.keys.append(key)


async def test_each_version_is_announced_once_and_one_refusal_stops_no_other():
    kept = Kept()
    active = [book("locked", "in", "in/", "${WHERE}/x", "by/{rule}/{date}")]
    task = asyncio.create_task(keep_announcing(lambda: active[0], kept, lambda: NOW, look_seconds=0))
    await asyncio.sleep(0.02)
    first = ["in/AMAZON_SES_SETUP_NOTIFICATION", "AMAZON_SES_SETUP_NOTIFICATION", "by/AMAZON_SES_SETUP_NOTIFICATION"]
    assert kept.keys == first
    active[0] = book("later")
    kept.new.clear()
    await kept.new.wait()
    await asyncio.sleep(0.02)
    assert kept.keys == [*first, "later/AMAZON_SES_SETUP_NOTIFICATION"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
