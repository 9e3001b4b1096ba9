"""Data keys under the newest version of their key: metadata is written anew, no body is read or moved (`gatepost keys rotate`)."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from actions.envelope_encryption import is_sealed, read_envelope, rewrapped
from actions.key_files import KeyVersion
from actions.keys import LocalKeys, is_local
from gatepost.aws import AwsBuckets
from gatepost.stored_files import objects_below, read_metadata, write_sidecar
from mail.errors import GatepostError, Malformed


@dataclass(slots=True)
class Rewrapped:
    """What became of the objects of one place. `failures` are sentences."""

    changed: int = 0
    current: int = 0
    failures: list[str] | None = None

    def fail(self, what: str) -> None:
        self.failures = [*(self.failures or []), what]


async def rewrap_directory(directory: Path, newest: KeyVersion, keys: LocalKeys) -> Rewrapped:
    """Every object below `directory` whose data key an older version of this key wraps."""
    done = Rewrapped()
    for path in objects_below(directory):
        try:
            metadata = await asyncio.to_thread(read_metadata, path)
            changed = await _changed(metadata, newest, keys)
            if changed is not None:
                await asyncio.to_thread(write_sidecar, path, changed)
            _count(done, changed, metadata)
        except (GatepostError, OSError) as error:
            done.fail(f"{path}: {error}")
    return done


async def rewrap_bucket(
    buckets: AwsBuckets, bucket: str, prefix: str, newest: KeyVersion, keys: LocalKeys
) -> Rewrapped:
    """Every object under the prefix; the store copies each changed one onto itself."""
    done = Rewrapped()
    for key in await buckets.keys(bucket, prefix):
        try:
            metadata, tag = await buckets.head(bucket, key)
            changed = await _changed(metadata, newest, keys)
            if changed is not None:
                await buckets.replace_metadata(bucket, key, changed, tag)
            _count(done, changed, metadata)
        except GatepostError as error:
            done.fail(f"s3://{bucket}/{key}: {error}")
    return done


def bucket_and_key(place: str) -> tuple[str, str] | None:
    """`s3://BUCKET/KEY` in its parts; None for what is a path. Raises `Malformed` for a bucket without a name."""
    if not place.startswith("s3://"):
        return None
    bucket, _, key = place.removeprefix("s3://").partition("/")
    if not bucket:
        raise Malformed(f"{place} names no bucket; expected s3://BUCKET/KEY")
    return bucket, key


async def _changed(metadata: dict[str, str], newest: KeyVersion, keys: LocalKeys) -> dict[str, str] | None:
    """The new metadata; None for an object that this key does not concern or that has its newest version."""
    if not is_sealed(metadata):
        return None
    envelope = read_envelope(metadata)
    if not is_local(envelope.wrapped):
        return None
    wrapping = keys.wrapping_version(envelope.wrapped)
    if wrapping.id != newest.id or wrapping.version == newest.version:
        return None
    plain = await keys.unwrap(envelope.wrapped, envelope.description)
    return rewrapped(metadata, keys.wrap(newest, plain, envelope.description))


def _count(done: Rewrapped, changed: dict[str, str] | None, metadata: dict[str, str]) -> None:
    if changed is not None:
        done.changed += 1
    elif is_sealed(metadata):
        done.current += 1
