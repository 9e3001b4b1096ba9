"""Line ends. On the wire a line ends with CRLF and with nothing else (RFC 5321 §2.3.8)."""

import re

_ANY_NEWLINE = re.compile(rb"\r\n|\r|\n")


def has_bare_newline(raw: bytes) -> bool:
    """Whether a CR or LF stands alone anywhere in these bytes."""
    pairs = raw.count(b"\r\n")
    return raw.count(b"\n") != pairs or raw.count(b"\r") != pairs


def normalise(raw: bytes) -> bytes:
    """Every line end, bare ones too, as CRLF."""
    return _ANY_NEWLINE.sub(b"\r\n", raw)


def wire_bytes(file: bytes) -> tuple[bytes, bool]:
    """The message in a file, and whether its line ends were changed.

    A BOM and a leading mbox `From ` line are dropped; a file without any CRLF has its LF read as CRLF, any other is taken
    as wire bytes (semantics.md §8). A missing final CRLF is added, since DATA could not have carried the message without it.
    """
    file = file.removeprefix(b"\xef\xbb\xbf")
    changed = b"\r\n" not in file and b"\n" in file
    if changed:
        file = file.replace(b"\n", b"\r\n")
    if file.startswith(b"From "):
        file = file.partition(b"\r\n")[2]
    return (file if file.endswith(b"\r\n") else file + b"\r\n"), changed
