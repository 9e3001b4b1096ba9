"""multipart/form-data as browsers and the services that we stand in for write it.

*Standards.* RFC 7578; names and file names are escaped as the HTML standard's form submission does it.
*Trust.* File names come from strangers: no quote, CR, LF or control character of theirs reaches a part's header. Types are checked
where they are read (`actions.mime_content`).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """One file: `field` is its name in the form, `name` what it was called, `type` a well-formed media type."""

    field: str
    name: str
    type: str
    content: bytes


def form_data(key: str, fields: Iterable[tuple[str, str]], files: Iterable[FormFile]) -> tuple[str, bytes]:
    """Content type and body. The boundary comes from `key`, so that a repeated attempt sends the same bytes."""
    parts = [(_disposition(name), text.encode("utf-8", "replace")) for name, text in fields]
    parts += [
        (_disposition(file.field, file.name) + b"\r\nContent-Type: " + file.type.encode("ascii"), file.content)
        for file in files
    ]
    boundary = _boundary(key, [content for _, content in parts])
    delimiter = b"--" + boundary
    written = b"".join(delimiter + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return f"multipart/form-data; boundary={boundary.decode('ascii')}", written + delimiter + b"--\r\n"


def _boundary(key: str, contents: list[bytes]) -> bytes:
    """One that stands in no part: whoever could guess it could write parts of his own."""
    attempt = 0
    while True:
        boundary = b"gatepost-" + hashlib.sha256(f"{key} {attempt}".encode()).hexdigest()[:40].encode("ascii")
        if not any(boundary in content for content in contents):
            return boundary
        attempt += 1


def _disposition(name: str, file_name: str | None = None) -> bytes:
    text = f'Content-Disposition: form-data; name="{_escaped(name)}"'
    if file_name is not None:
        text += f'; filename="{_escaped(file_name)}"'
    return text.encode("utf-8", "replace")


def _escaped(name: str) -> str:
    return _CONTROL.sub(lambda found: f"%{ord(found.group()):02X}", name).replace('"', "%22")
