"""Stored objects as functions read them: files of the disk action and objects of S3, in the clear where they were encrypted.

*Trust.* Whoever may write to the store may have changed it: no link is followed below a store's root, what is encrypted must be
authentic and of the message whose id its key holds.
*Failure.* `Malformed` for what is no object of ours, the key provider's and AWS's own errors, OSError's as `Temporary`.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from actions.envelope_encryption import LENGTH, is_sealed, read_envelope, unseal_object
from actions.keys import KeyProvider
from actions.object_key import SIDECAR
from actions.reach import Store, normal
from gatepost.aws import AwsClients
from gatepost.s3_endpoint_answers import Found, Listed
from gatepost.s3_endpoint_listing import ListRequest, Page
from gatepost.stored_files import NOT_THERE, Identity, identity_of, open_below, read_file_object, read_metadata
from gatepost.stored_listing import Entry, Walk
from mail.errors import Malformed, Temporary

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class StoredObjects:
    """`gatepost.s3_endpoint.Objects` over disk and S3."""

    def __init__(self, clients: AwsClients, keys: KeyProvider) -> None:
        self._clients, self._keys = clients, keys

    async def head(self, store: Store, key: str) -> Found | None:
        if store.root is None:
            found = await self._clients.run("s3", partial(_head, store.bucket, key), role=store.role)
        else:
            found, _ = await _on_disk(store.root, key, whole=False)
        return None if found is None else _shown(found)

    async def get(self, store: Store, key: str) -> tuple[Found, bytes] | None:
        if store.root is None:
            found, body = await self._clients.run("s3", partial(_get, store.bucket, key), role=store.role)
        else:
            found, body = await _on_disk(store.root, key, whole=True)
        if found is None:
            return None
        if is_sealed(found.metadata):
            _check_message(found.metadata, key)
            body = await unseal_object(body, found.metadata, self._keys)
        return replace(_shown(found), size=len(body)), body

    async def page(self, store: Store, request: ListRequest) -> Page:
        if store.root is None:
            return await self._clients.run("s3", partial(_page, store.bucket, request), role=store.role)
        return await _in_thread(_disk_page, store.root, request)


def _check_message(metadata: Mapping[str, str], key: str) -> None:
    """A sealed object opens anywhere: one that was put in another's place is told by the message that it is of."""
    message_id = read_envelope(metadata).description.get("aws:ses:message-id", "")
    if not message_id or message_id not in key:
        raise Malformed("the object is of another message than its key says")


def _shown(found: Found) -> Found:
    """Without what only whoever decrypts needs."""
    size = found.metadata.get(LENGTH, "") if is_sealed(found.metadata) else ""
    metadata = {name: text for name, text in found.metadata.items() if not name.startswith("x-amz-")}
    return replace(found, metadata=metadata, size=int(size) if size.isascii() and size.isdigit() else found.size)


async def _on_disk(root: Path, key: str, *, whole: bool) -> tuple[Found | None, bytes]:
    return await _in_thread(_read_file, root, key, whole)


async def _in_thread(
    function: Callable[Arguments, Value], *arguments: Arguments.args, **rest: Arguments.kwargs
) -> Value:
    try:
        return await asyncio.to_thread(function, *arguments, **rest)
    except OSError as error:
        raise Temporary(f"the store cannot be read: {error.strerror or error}") from None


def _read_file(root: Path, key: str, whole: bool) -> tuple[Found | None, bytes]:
    *below, name = normal(key).split("/")
    if not name or name.startswith(".") or name.endswith(SIDECAR):
        return None, b""
    with ExitStack() as stack:
        directory = open_below(root, below, stack)
        if directory is None:
            return None, b""
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno in NOT_THERE:
                return None, b""
            raise
        if not stat.S_ISREG(status.st_mode):
            return None, b""
        if whole:
            body, metadata = read_file_object(Path(name), directory)
        else:
            body, metadata = b"", read_metadata(Path(name), directory)
        return _found(identity_of(status), metadata), body


def _found(facts: Identity, metadata: dict[str, str]) -> Found:
    return Found(size=facts.size, etag=facts.etag, modified=facts.modified, metadata=metadata)


def _disk_page(root: Path, request: ListRequest) -> Page:
    """One page in the order of the keys. `lead`: a key may begin with a slash, which disk drops."""
    lead = "/" if request.prefix.startswith("/") else ""
    prefix, after = normal(request.prefix), request.after.removeprefix(lead)
    walk = Walk(root, prefix, after, after if request.past_prefix else "")
    keys: list[Listed] = []
    prefixes: list[str] = []
    last = ""
    for entry in walk:
        if len(keys) + len(prefixes) == request.most:
            return Page(keys=tuple(keys), prefixes=tuple(prefixes), more=last)
        at = entry.key.find(request.delimiter, len(prefix)) if request.delimiter else -1
        if at >= 0:
            walk.passed = entry.key[: at + len(request.delimiter)]
            prefixes.append(lead + walk.passed)
            last = f"p{lead}{walk.passed}"
            continue
        keys.append(
            Listed(key=lead + entry.key, size=_size(entry), etag=entry.facts.etag, modified=entry.facts.modified)
        )
        last = f"k{lead}{entry.key}"
    more = f"k{lead}{walk.cut}" if walk.cut else ""
    return Page(keys=tuple(keys), prefixes=tuple(prefixes), more=more)


def _size(entry: Entry) -> int:
    try:
        return _shown(_found(entry.facts, entry.metadata())).size
    except Malformed:
        return entry.facts.size  # whoever reads it is told; the others can be listed


def _head(bucket: str, key: str, client: Any) -> Found | None:
    answer = _asked(client, client.head_object, bucket, key)
    return None if answer is None else _described(answer)


def _get(bucket: str, key: str, client: Any) -> tuple[Found | None, bytes]:
    answer = _asked(client, client.get_object, bucket, key)
    if answer is None:
        return None, b""
    with answer["Body"] as body:
        return _described(answer), body.read()


def _asked(client: Any, operation: Any, bucket: str, key: str) -> Any:
    try:
        return operation(Bucket=bucket, Key=key)
    except client.exceptions.ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
            return None
        raise


def _described(answer: Mapping[str, Any]) -> Found:
    return Found(
        size=answer["ContentLength"],
        etag=answer["ETag"],
        modified=answer["LastModified"].astimezone(UTC),
        metadata={name.lower(): text for name, text in answer["Metadata"].items()},
        content_type=answer.get("ContentType", "binary/octet-stream"),
    )


def _page(bucket: str, request: ListRequest, client: Any) -> Page:
    """S3's own page; a token of ours is the key or prefix that it ended with."""
    # No key that begins with the prefix comes after it and U+10FFFF.
    after = request.after + "\U0010ffff" if request.past_prefix else request.after
    answer = client.list_objects_v2(
        Bucket=bucket, Prefix=request.prefix, Delimiter=request.delimiter, MaxKeys=request.most, StartAfter=after
    )
    keys = tuple(
        Listed(key=each["Key"], size=each["Size"], etag=each["ETag"], modified=each["LastModified"].astimezone(UTC))
        for each in answer.get("Contents", ())
    )
    prefixes = tuple(each["Prefix"] for each in answer.get("CommonPrefixes", ()))
    ends = [(listed.key, "k") for listed in keys[-1:]] + [(prefix, "p") for prefix in prefixes[-1:]]
    more = "".join(reversed(max(ends))) if answer.get("IsTruncated") and ends else ""
    return Page(keys=keys, prefixes=prefixes, more=more)
