"""What somebody wrote himself in a reply, without what he quotes and his signature: a guess, as every such service makes it."""

import re

_QUOTE_BEGINS = re.compile(
    r"(?:On .{1,200} wrote:|Am .{1,200} schrieb .{0,100}:|Le .{1,200} a écrit ?:"
    r"|-{2,} ?(?:Original Message|Forwarded message|Ursprüngliche Nachricht) ?-{2,}|_{20,})\s*\Z"
)
_LONGEST_LINE = 400


def reply_text(text: str) -> tuple[str, str]:
    """The reply and the signature; a signature stands behind a line `-- ` (RFC 3676 §4.3)."""
    written: list[str] = []
    signature: list[str] | None = None
    for line in text.split("\n"):
        if line in ("-- ", "--"):
            signature = []
        elif len(line) <= _LONGEST_LINE and _QUOTE_BEGINS.match(line):
            break
        elif not line.startswith(">"):
            (written if signature is None else signature).append(line)
    return "\n".join(written).strip(), "\n".join(signature or ()).strip()
