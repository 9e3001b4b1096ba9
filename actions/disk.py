"""disk: the message as files, in SES's object layout (SES: S3 action; `actions.object_key` has the keys).

What an object in S3 has as metadata is a JSON object of texts: of an encrypted object it is the file's first line, so that the two
are never apart and cost one file; of a plain one, where there is any, it is `KEY.metadata.json` beside it.

*Trust.* The key comes from the rules and strangers' values, what stands in the store from anybody who may write there: no component
may be `.` or `..`, and no symbolic link is followed below the store's root.
*Failure.* Any error of the file system is `Temporary`; a key that is no path is `Permanent`.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actions.envelope_encryption import Encryption
from actions.object_key import key_components, object_keys
from actions.object_store import ObjectStore
from actions.protocol import Context
from actions.stored_objects import as_file, counted, facts, stored_objects
from mail.outcome import Outcome, Result

_MOST_ROOTS = 1024


class Disk:
    """Writes below `base / path`. A repeated step overwrites the same keys; it is done when all of them are durable."""

    def __init__(self, store: ObjectStore, base: Path, encryption: Encryption | None = None) -> None:
        self._store = store
        self._base = base
        self._encryption = encryption
        self._roots: dict[str, Path] = {}

    def destination(self, parameters: Mapping[str, Any]) -> str:  # noqa: ARG002
        return ""

    async def run(self, context: Context) -> Outcome:
        root = self._root(str(context.parameters["path"]))
        layout = object_keys(context)
        places = {each.key: key_components(each.key) for each in layout}
        async for batch in stored_objects(context, layout, self._encryption):
            puts = [self._store.put(root, places[each.key], *as_file(each)) for each in batch]
            if len(puts) > 1:
                await asyncio.wait(puts)
            try:
                for put in puts:
                    await put
            except OSError as error:
                return Outcome(result=Result.FAILED, detail=f"{root}: {error.strerror or error}")
        path = str(root.joinpath(*places[layout[0].key]))
        detail = f"stored as {path}{counted(layout)}"
        return Outcome(result=Result.DONE, detail=detail, data={**facts(layout), "path": path})

    def _root(self, path: str) -> Path:
        """One object for each path: `Path` takes its time, with its hash too."""
        root = self._roots.get(path)
        if root is None:
            if len(self._roots) >= _MOST_ROOTS:  # `${NAME}` may have given each message one of its own
                self._roots.clear()
            root = self._roots[path] = self._base / path
        return root
