"""s3 in the runner: an outage, a denied key and a crash lose no object, and other destinations do not wait."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from acting import ID, RAW, House, Make, Told, context_of, receipt_of, reopen, rule, webhook

from actions.envelope_encryption import Encryption, unseal_object
from actions.key_files import KeyFiles
from actions.keys import LocalKeys
from actions.protocol import Parked
from actions.s3 import S3
from mail.address import parse_mailbox
from mail.errors import Permanent, Temporary
from mail.outcome import Result
from rules.model import ActionSpec
from spool.ports import JobState, MessageState


class Store:
    """Buckets in memory, which fail as told."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.error: Exception | None = None
        self.puts: list[str] = []

    async def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str], *, role: str = "") -> None:
        self.puts.append(key)
        if self.error is not None:
            raise self.error
        self.objects[f"{bucket}/{key}"] = body, dict(metadata)

    async def get(self, bucket: str, key: str, *, role: str = "") -> tuple[bytes, dict[str, str]]:
        return self.objects[f"{bucket}/{key}"]


def s3(**rest: Any) -> ActionSpec:
    return ActionSpec(type="s3", parameters={"bucket_name": "mail", **rest})


@pytest.fixture
def store() -> Store:
    return Store()


async def test_an_hour_without_the_store_delays_the_object_and_nothing_else(make: Make, store: Store) -> None:
    store.error = Temporary("put_object: ServiceUnavailable")
    hook = Told(destination="hooks.example:443")
    house: House = make(rule("a", s3(), webhook()), s3=S3(store), webhook=hook)
    await house.deliver()
    assert len(hook.seen) == 1
    assert await house.results() == ["retrying", "done"]
    for _ in range(60):
        await house.pass_time(60)
    assert len(store.puts) > 5
    store.error = None
    await house.pass_time(900)
    assert store.objects == {f"mail/{ID}": (RAW, {})}
    assert await house.results() == ["done", "done"]
    assert await house.state() is MessageState.DONE


async def test_a_dead_webhook_before_it_does_not_delay_the_object(make: Make, store: Store) -> None:
    hook = Told(Temporary("connection refused"), destination="hooks.example:443")
    house = make(rule("a", webhook(), s3()), s3=S3(store), webhook=hook)
    await house.deliver()
    assert list(store.objects) == [f"mail/{ID}"]


async def test_an_outage_beyond_four_hours_is_dead_and_comes_back(make: Make, store: Store) -> None:
    store.error = Temporary("put_object: AccessDenied: no")
    house = make(rule("a", s3()), s3=S3(store))
    await house.deliver()
    for _ in range(20):
        await house.pass_time(900)
    assert await house.results() == ["dead"]
    (row,) = await house.ledger()
    assert "AccessDenied" in row.detail
    store.error = None
    (job,) = await house.jobs()
    await house.spool.change_jobs([job.id], JobState.READY, house.clock.now)
    house.runner.wake()
    await house.runner.idle()
    assert await house.results() == ["done"]
    assert list(store.objects) == [f"mail/{ID}"]


async def test_what_no_attempt_can_change_is_dead_at_once(make: Make, store: Store) -> None:
    store.error = Permanent("put_object: KeyTooLongError")
    house = make(rule("a", s3()), s3=S3(store))
    await house.deliver()
    assert await house.results() == ["dead"]
    assert len(store.puts) == 1


async def test_a_crash_between_store_and_record_writes_the_same_key_again(make: Make, store: Store) -> None:
    house = make(rule("a", s3()), s3=S3(store))
    await house.accept()
    await S3(store).run(context_of("s3", {"bucket_name": "mail"}, prepended=b""))  # what was done before the crash
    await house.stop(0)
    await reopen(house)
    house.start()
    await house.runner.idle()
    assert store.puts == [ID, ID]
    assert store.objects == {f"mail/{ID}": (RAW, {})}


async def test_a_key_that_is_not_there_yet_is_waited_for_and_nothing_is_stored_meanwhile(
    make: Make, store: Store, tmp_path: Path
) -> None:
    files = KeyFiles(tmp_path / "keys")
    keys = LocalKeys(files)
    house = make(rule("a", s3(kms_key_arn="alias/mail")), s3=S3(store, Encryption(keys=keys)))
    await house.deliver()
    assert await house.results() == ["retrying"]
    assert store.puts == []
    files.create("mail", datetime(2026, 1, 13, tzinfo=UTC))
    await house.pass_time(60)
    body, metadata = store.objects[f"mail/{ID}"]
    assert RAW[:10] not in body
    assert await unseal_object(body, metadata, keys) == RAW


async def test_recipients_are_written_one_by_one_until_all_are_there(store: Store) -> None:
    recipients = [parse_mailbox(f"u{number}@example.com") for number in range(70)]
    context = context_of(
        "s3",
        {"bucket_name": "mail", "object_key_prefix": "{recipient.local_part}"},
        receipt=receipt_of(recipients=recipients),
    )
    outcome = await S3(store).run(context)
    assert outcome.result is Result.DONE
    assert sorted(store.objects) == sorted(f"mail/u{number}/{ID}" for number in range(70))
    assert len(json.loads(outcome.data["object_keys"])) == 70
    store.error = Temporary("SlowDown")
    with pytest.raises(Temporary):
        await S3(store).run(context)


async def test_without_a_client_it_parks() -> None:
    with pytest.raises(Parked):
        await S3(None).run(context_of("s3", {"bucket_name": "mail"}))


def test_destination_is_the_bucket() -> None:
    assert S3(None).destination({"bucket_name": "mail"}) == "s3://mail"
    assert S3(None).destination({}) == ""
