"""What the log looks like: text or JSON, with ids as fields, addresses made unrecognisable if the settings say so, and no secret.

*Trust.* A text may repeat what a stranger sent. In text form every line of an entry but the first is indented, in JSON an entry is
one line, so that nobody forges an entry. In neither a character stands that a terminal would act on.
*Failure.* None: a value that cannot be shown is shown as its escape.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import msgspec

from gatepost.cli.layout import visible, visible_json
from gatepost.kept_file import kept
from gatepost.settings import Settings, table

Redact = Callable[[str], str]

SECRET_SETTINGS = tuple(
    row.attribute for row in table() if row.name.rpartition(".")[2] in ("password", "secret", "token")
)
# Each part is bounded, so that a long text costs no more than its length: a local-part has 64 octets at most (RFC 5321 §4.5.3.1.1).
# White space beyond ASCII is a letter like others (RFC 6531 §3.3).
_ADDRESS = re.compile(
    r"""(?P<local>"(?:[^"\\\r\n]|\\.){1,64}"|[^\x00-\x20<>"(),:;\[\]@]{1,64})@(?P<domain>\[[^\]\s]{1,64}\]|[\w.-]{0,254}\w)"""
)
_MESSAGE_ID = re.compile(r"\b[0-9a-v]{39}1\b")
_SESSION = re.compile(r"\b(?:session|history row) ([0-9a-f]{16})\b")
_KEY_FILE = "log-key"
_HASH_DIGITS = 10


def redactor(settings: Settings) -> Redact:
    """Takes the settings' secrets out of a text, and the local-parts of addresses if `log.redact` says so.

    The same address becomes the same word for as long as the state directory lives, so that its lines can still be found; the word
    is made with a key that stays there, so that nobody can try names.
    """
    hidden = [value for name in SECRET_SETTINGS if (value := str(getattr(settings, name)))]
    words = re.compile("|".join(map(re.escape, sorted(hidden, key=len, reverse=True)))) if hidden else None
    key = _key(settings.data) if settings.log_redact == "addresses" else None

    def redact(text: str) -> str:
        text = words.sub("***", text) if words is not None else text
        return text if key is None or "@" not in text else _ADDRESS.sub(lambda found: _masked(found, key), text)

    return redact


def _key(data: Path) -> bytes:
    return kept(data / _KEY_FILE, lambda: secrets.token_bytes(32))


def _masked(found: re.Match[str], key: bytes) -> str:
    """An apostrophe before it is somebody's quotation mark; one within it is its own."""
    local = found["local"].lstrip("'")
    digest = hmac.digest(key, local.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()
    quotes = "'" * (len(found["local"]) - len(local))
    return f"{quotes}~{digest[:_HASH_DIGITS]}@{found['domain']}"


def redacted(value: object, redact: Redact) -> object:
    """Every text in it, before it is written as JSON: behind an escape an address is not known as one."""
    match value:
        case str():
            return redact(value)
        case list() | tuple():
            return [redacted(each, redact) for each in value]
        case dict():
            return {name: redacted(each, redact) for name, each in value.items()}
        case _:
            return value


class TextLines(logging.Formatter):
    """`2026-11-21 12:00:41,123 ERROR gatepost.smtp: text`, further lines indented."""

    def __init__(self, redact: Redact) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(map(visible, self._redact(super().format(record)).splitlines()))


class JsonLines(logging.Formatter):
    """One object a line: `at`, `level`, `logger`, `text`; `session` and `message` where the text names them; `trace`."""

    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        text = record.getMessage()
        entry = {
            "at": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": self._redact(text),
            **_ids((text, trace)),
        }
        if trace:
            entry["trace"] = self._redact(trace)
        return json_line(entry)


def json_line(entry: Mapping[str, object]) -> str:
    """One line, without its end, that no terminal acts on. What is no Unicode text is shown as its escape."""
    try:
        encoded = msgspec.json.encode(entry)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode({name: _plain(value) for name, value in entry.items()})
    return visible_json(encoded.decode())


def _plain(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _ids(texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        message, session = _MESSAGE_ID.search(text), _SESSION.search(text)
        if message is not None:
            found.setdefault("message", message[0])
        if session is not None:
            found.setdefault("session", session[1])
    return found


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """The root logger as the settings say; standard error by default. In place of what was configured before."""
    handler = logging.StreamHandler(stream)
    redact = redactor(settings)
    handler.setFormatter(JsonLines(redact) if settings.log_format == "json" else TextLines(redact))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # aiosmtpd logs each line of each message at DEBUG and each command at INFO.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
