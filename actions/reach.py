"""What a function may read while it runs: the objects of its own rule, and of its own message.

A disk action's bucket is the `bucket_name` that `arns` mapped to it, else the last component of its path. A key belongs to the
rule whose prefix is the longest that it begins with, so a rule without a prefix does not own what other rules keep beside it.

*Trust.* Keys are the function's own words. Those that a path could read otherwise (`.`, `..`, NUL) belong to nobody.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mail.errors import Malformed
from rules.model import ActionSpec
from rules.object_keys import parse_template

STORING = frozenset({"disk", "s3"})
_NO_BUCKET_NAME = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where one action writes. `root` is a disk action's directory, None is S3; `own`: it is of the function's rule."""

    bucket: str
    prefix: str
    own: bool
    root: Path | None = None
    role: str = ""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What one call of a function of `rule` may read.

    `actions` gives the rule set's disk and s3 actions, each with its rule's name and with `${NAME}` resolved. They are looked at
    when something is read: most functions read nothing, and a rule set may be large.
    """

    message_id: str
    rule: str
    actions: Callable[[], Iterable[tuple[str, ActionSpec]]]
    base: Path

    @cached_property
    def stores(self) -> tuple[Store, ...]:
        stores = (_store(spec, self.base, own=name == self.rule) for name, spec in self.actions())
        return tuple(store for store in stores if store is not None)

    def store(self, bucket: str, key: str) -> Store | None:
        """The store in which the key is to be looked for; None if it is out of reach."""
        here = self.of_bucket(bucket)
        if not here or not is_plain(key):
            return None
        key = normal(key) if here[0].root is not None else key
        if self.message_id in key:
            return here[0]
        return _owner(here, key)

    def of_bucket(self, bucket: str) -> list[Store]:
        """The bucket's stores. Where several places have its name, that of the function's own rule has it, else the first."""
        here = sorted((store for store in self.stores if store.bucket == bucket), key=lambda store: not store.own)
        return [store for store in here if store.root == here[0].root]

    def lists(self, bucket: str, prefix: str) -> Store | None:
        """The store of which keys with this prefix may be listed, one by one judged by `store`."""
        here = self.of_bucket(bucket)
        if not here or not is_plain(prefix):
            return None
        prefix = normal(prefix) if here[0].root is not None else prefix
        if self.message_id in prefix:
            return here[0]
        return _owner(here, prefix)


def _owner(stores: list[Store], key: str) -> Store | None:
    """The function's own store, if no other rule's prefix of the key is longer."""
    found = [store for store in stores if key.startswith(store.prefix)]
    longest = max((len(store.prefix) for store in found), default=0)
    return next((store for store in found if store.own and len(store.prefix) == longest), None)


def bucket_of(parameters: Mapping[str, Any]) -> str:
    """The name of the bucket that a disk or s3 action writes to, as functions and subscribers see it."""
    named = parameters.get("bucket_name")
    return str(named) if named else _NO_BUCKET_NAME.sub("-", Path(str(parameters.get("path", ""))).name) or "mail"


def is_plain(key: str) -> bool:
    return "\0" not in key and not any(part in (".", "..") for part in key.split("/"))


def normal(key: str) -> str:
    """The key as a path below the root: disk drops a slash at the beginning, and all but one of several."""
    return re.sub("/{2,}", "/", key).removeprefix("/")


def _store(spec: ActionSpec, base: Path, *, own: bool) -> Store | None:
    parameters = spec.parameters
    try:
        prefix = _fixed(str(parameters.get("object_key_prefix") or ""))
    except Malformed:
        return None  # nothing can be stored there either
    if spec.type == "disk":
        root = base / str(parameters["path"])
        return Store(bucket=bucket_of(parameters), prefix=normal(prefix), own=own, root=root)
    return Store(bucket=bucket_of(parameters), prefix=prefix, own=own, role=str(parameters.get("iam_role_arn") or ""))


def _fixed(text: str) -> str:
    """What every key of this template begins with."""
    template = parse_template(text)
    if not template or not isinstance(template[0], str):
        return ""
    fixed = template[0]
    return fixed if len(template) > 1 or fixed.endswith("/") else fixed + "/"
