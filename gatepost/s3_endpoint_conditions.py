"""The conditions and the range of a request for an object, as S3 judges them. Pure.

*Standards.* RFC 9110 §13.2.2 (which condition counts), §14.1.2 (byte ranges); S3 answers one range at most.
"""

import re
from collections.abc import Mapping

from actions.http_port import http_date
from gatepost.s3_endpoint_answers import Found, Refused

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z")


def check_conditions(found: Found, headers: Mapping[str, str]) -> int | None:
    """304 where the object is the one that the asker has; None to go on. Raises `Refused` (412)."""
    modified = found.modified.replace(microsecond=0)
    if "if-match" in headers:
        if not _names(headers["if-match"], found.etag):
            raise precondition_failed()
    elif (since := http_date(headers.get("if-unmodified-since", ""))) is not None and modified > since:
        raise precondition_failed()
    if "if-none-match" in headers:
        return 304 if _names(headers["if-none-match"], found.etag) else None
    since = http_date(headers.get("if-modified-since", ""))
    return 304 if since is not None and modified <= since else None


def _names(field: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in field.split(",")]
    return "*" in tags or etag.strip('"') in tags


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """The first and last octet; None for the whole, also where several ranges or none are named. Raises `Refused` (416)."""
    found = _RANGE.match(text)
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1][:18], found[2][:18]
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or (not first and int(last) == 0):
        raise Refused("InvalidRange", "The requested range is not satisfiable")
    return start, end


def precondition_failed() -> Refused:
    return Refused("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
