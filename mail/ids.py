"""The message id: SES's form, with our order inside (semantics.md §6, SES: message id).

40 characters of lower-case base32hex: 25 bytes, of which 6 are UTC milliseconds, 1 the shard, 17 random, and the last 0x01.
Ids sort by time of receipt, and an id alone says which shard to open.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

from mail.errors import Malformed

_SHAPE = re.compile(r"[0-9a-v]{39}1\Z")
_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # base32hex
_PAIRS = tuple(
    high + low for high in _DIGITS for low in _DIGITS
)  # 10 bits each, for the standard library takes them one by one
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def message_id(received_at: datetime, shard: int, entropy: bytes) -> str:
    """An id from its parts; `entropy` is 17 bytes from `secrets.token_bytes`."""
    milliseconds = (received_at - _EPOCH) // _MILLISECOND
    return _encode(milliseconds.to_bytes(6, "big") + bytes((shard,)) + entropy)


def first_id_at(moment: datetime) -> str:
    """No message that was received before this time has a later id, none received then or after it an earlier one."""
    return message_id(moment, 0, bytes(17))


def message_id_of_file(raw: bytes, envelope: str) -> str:
    """The id of a replayed file, from bytes and envelope by SHA-256, so that two runs agree (semantics.md §8).

    Its shard is 255, which no spool has; its time means nothing.
    """
    digest = hashlib.sha256(len(raw).to_bytes(8, "big") + raw + envelope.encode()).digest()
    return _encode(digest[:6] + b"\xff" + digest[6:23])


def _encode(packed: bytes) -> str:
    number = int.from_bytes(packed + b"\x01", "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(190, -1, -10)])


def is_message_id(text: str) -> bool:
    return _SHAPE.match(text) is not None


def _unpack(text: str) -> bytes:
    if not is_message_id(text):
        raise Malformed("not a message id")
    return base64.b32hexdecode(text.upper())


def shard_of(text: str) -> int:
    """The shard that holds this message; 255 is a replayed file."""
    return _unpack(text)[6]


def received_at_of(text: str) -> datetime:
    return _EPOCH + timedelta(milliseconds=int.from_bytes(_unpack(text)[:6], "big"))
