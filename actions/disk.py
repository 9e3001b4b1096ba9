"""disk: the message as a file, in SES's object layout (SES: S3 action, object key).

*Standards.* SES: the key is the prefix, with a slash added if it lacks one, and the message id.
*Trust.* The prefix comes from the rules, what stands in the store from anybody who may write there: no component may be `.` or
`..`, and no symbolic link is followed below the store's root.
*Failure.* Any error of the file system is `Temporary`; a prefix that is no path is `Permanent`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actions.object_store import ObjectStore
from actions.protocol import Context
from mail.errors import Permanent
from mail.outcome import Outcome, Result


def object_key(prefix: str, message_id: str) -> str:
    """SES's key: `emails` and `emails/` both give `emails/ID`, an empty prefix gives `ID`."""
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return prefix + message_id


def key_components(key: str) -> tuple[str, ...]:
    """The path below the root for a key. Raises `Permanent` for what would leave the store or is no file name."""
    parts = tuple(part for part in key.split("/") if part)
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise Permanent("object_key_prefix leaves the store")
    return parts


class Disk:
    """Writes below `base / path`. A repeated step overwrites the same key."""

    def __init__(self, store: ObjectStore, base: Path) -> None:
        self._store = store
        self._base = base

    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:
        root = self._base / str(context.parameters["path"])
        key = object_key(str(context.parameters.get("object_key_prefix") or ""), context.receipt.message_id)
        components = key_components(key)
        try:
            await self._store.put(root, components, context.content)
        except OSError as error:
            return Outcome(result=Result.FAILED, detail=f"{root}: {error.strerror or error}")
        path = root.joinpath(*components)
        return Outcome(result=Result.DONE, detail=f"stored as {path}", data={"object_key": key, "path": str(path)})
