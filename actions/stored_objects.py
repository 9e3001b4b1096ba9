"""What disk and s3 write for one step: the same keys, bytes and metadata, encrypted where the rule names a key."""

import json
from collections.abc import AsyncIterator

from actions.envelope_encryption import Encryption, is_sealed
from actions.object_key import ObjectKey
from actions.protocol import Context, Parked
from actions.ses_payload import compact_json
from mail.octets import Octets, spliced
from mail.values import Value

_BATCH = 32
_BATCH_OCTETS = 32 << 20  # a thousand recipients of a large message are not encrypted in memory side by side


class StoredObject(Value, frozen=True, kw_only=True):
    """`body` and `metadata` as they are stored."""

    key: str
    body: Octets
    metadata: dict[str, str]


async def stored_objects(
    context: Context, layout: list[ObjectKey], encryption: Encryption | None
) -> AsyncIterator[list[StoredObject]]:
    """The objects of `layout` in batches to be written together.

    Raises `Parked` where they are to be encrypted and nothing can: none is ever stored in the clear then.
    """
    if context.parameters.get("kms_key_arn") and encryption is None:
        raise Parked("kms_key_arn is set and no key provider is configured")
    batch: list[StoredObject] = []
    for place in layout:
        batch.append(await _stored(context, place, encryption))
        if len(batch) == _BATCH or len(batch) * len(batch[0].body) > _BATCH_OCTETS:
            yield batch
            batch = []
    if batch:
        yield batch


def as_file(stored: StoredObject) -> tuple[Octets, bytes | None]:
    """The file's content, and that of the file beside it, if there is to be one.

    The message as it stands never begins with `{`: the first field is ours. So a first line of JSON says that the rest is sealed,
    whatever a stranger sends.
    """
    if not stored.metadata:
        return stored.body, None
    metadata = compact_json(stored.metadata)
    if is_sealed(stored.metadata):
        return spliced(metadata + b"\n", stored.body, ()), None
    return stored.body, metadata


def facts(layout: list[ObjectKey]) -> dict[str, str]:
    """What the ledger keeps: the first object's key and prefix, and every key as JSON where there are several."""
    kept = {"object_key": layout[0].key, "object_key_prefix": layout[0].prefix}
    if len(layout) > 1:
        kept["object_keys"] = json.dumps([each.key for each in layout])
    return kept


def counted(layout: list[ObjectKey]) -> str:
    return f" and {len(layout) - 1} more" if len(layout) > 1 else ""


async def _stored(context: Context, place: ObjectKey, encryption: Encryption | None) -> StoredObject:
    key = context.parameters.get("kms_key_arn")
    if not key or encryption is None:
        return StoredObject(key=place.key, body=context.content, metadata=place.metadata)
    # Each object has a data key of its own: one nonce under one key, whatever is repeated.
    sealed = await encryption.seal(
        context.content, key=str(key), message_id=context.receipt.message_id, rule=context.step.rule
    )
    return StoredObject(key=place.key, body=sealed.body, metadata={**place.metadata, **sealed.metadata})
