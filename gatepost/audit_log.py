"""The audit log: who started, stopped, changed and released what.

Lines are only added, in `audit.log` of the state directory (0600). Mail itself is not here but in the history. A line is one JSON
object: `at`, `event`, `uid` and `user` of who did it, and what it was about. The file is opened for each line: whoever renames it
gets a new one at the next event, and nobody need be told.

*Trust.* `uid` is what the kernel says of the other end of the control socket, not what that end says.
*Failure.* A line that cannot be written is logged as an error, with its content, and what it tells of goes on: an operator must be
able to act on a full disk.
"""

import logging
import os
import pwd
from collections.abc import Callable, Container, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gatepost.log_lines import json_line

log = logging.getLogger("gatepost.audit")
FILE = "audit.log"

Event = Literal[
    "started",
    "stopped",
    "rules_activated",
    "rules_unpinned",
    "rules_loaded",
    "rules_refused",
    "settings_reloaded",
    "key_created",
    "key_rotated",
    "key_exported",
    "key_shredded",
    "jobs_changed",
    "messages_walked_again",
    "quarantine_released",
    "quarantine_deleted",
    "erased",
    "trace_started",
    "backup_made",
]


class AuditLog:
    """`clock` gives aware UTC."""

    def __init__(self, data: Path, clock: Callable[[], datetime]) -> None:
        self._path = data / FILE
        self._clock = clock

    def note(self, event: Event, *, uid: int | None = None, **about: Any) -> None:
        """One line. `uid` None: it was this process's own doing, under the user it runs as."""
        who = os.geteuid() if uid is None else uid
        line = json_line(
            {"at": f"{self._clock():%Y-%m-%dT%H:%M:%SZ}", "event": event, "uid": who, "user": _name_of(who), **about}
        )
        try:
            # One write of one line to a file opened for appending: lines of several processes never mix.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._hand_over(descriptor)
                os.write(descriptor, line.encode() + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("the audit log lacks this line (%s): %s", error.strerror, line)

    def _hand_over(self, descriptor: int) -> None:
        """A file that root's command made belongs to the server's user, who must be able to add to it."""
        if os.geteuid() == 0 and os.fstat(descriptor).st_size == 0:
            owner = self._path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


_CHANGES: Mapping[str, Event] = {
    "retry": "jobs_changed",
    "release": "jobs_changed",
    "park": "jobs_changed",
    "cancel": "jobs_changed",
    "re_evaluate": "messages_walked_again",
    "release_held": "quarantine_released",
    "delete_held": "quarantine_deleted",
    "erase": "erased",
}
_MOST_NAMED = 50


def note_change(
    audit: AuditLog, request: Mapping[str, Any], changed: int, *, skipped: Container[Any] = (), uid: int | None = None
) -> None:
    """An operator's change of jobs or messages (`gatepost.control.Request`), if it changed any; `skipped` stayed as they were."""
    operation = str(request.get("operation"))
    if not changed or operation not in _CHANGES:
        return
    changed_ones = {
        name: [each for each in request.get(name, ()) if each not in skipped] for name in ("jobs", "messages")
    }
    named = {name: ids[:_MOST_NAMED] for name, ids in changed_ones.items() if ids}
    audit.note(_CHANGES[operation], uid=uid, operation=operation, changed=changed, **named)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
