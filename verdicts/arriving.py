"""A large message while it is still coming: its digest and the body hashes that its signatures want, made piece by piece.

The header section is complete before the body, so what is wanted is known in time; whoever waits for the last octet has next to
nothing left to do, and the event loop is never held up for the whole of a body.

*Standards.* semantics.md §5.
*Trust.* The octets are hostile. At most 10 hashes are made, whatever the fields ask for; one that is missing afterwards is made
then, so nothing that is guessed here can change a verdict.
*Failure.* None.
"""

import hashlib

from mail.headers import HeaderView, parse_header
from mail.message import Message
from verdicts.canonical import BodyHasher, BodyHashes
from verdicts.dkim_signature import body_spec
from verdicts.inquiry import BodySpec

MOST_HASHES = 10
MOST_HEADER_OCTETS = 2**20
_FIELDS = (("dkim-signature", "simple"), ("arc-message-signature", "relaxed"))  # and their c= by default
_BLANK = b"\r\n\r\n"


class ArrivingMessage:
    """`add` takes the octets in order; `finish` what is still missing of the whole message.

    `is_verified`: somebody will look at its signatures; without that the digest alone is made.
    """

    def __init__(self, *, is_verified: bool = True) -> None:
        self._digest = hashlib.sha256()
        self._octets = 0
        self._head: bytearray | None = bytearray() if is_verified else None  # until its end is seen
        self._hashers: dict[BodySpec, BodyHasher] = {}

    def add(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._octets += len(piece)
        head = self._head
        if head is None:
            self._hash(piece)
            return
        known = len(head)
        head += piece
        end = head.find(_BLANK, max(0, known - len(_BLANK) + 1))
        if end >= 0:
            body_start = end + len(_BLANK)
            header = parse_header(bytes(head[:body_start]))
            self._hashers = {spec: BodyHasher(spec) for spec in wanted(header)}
            self._hash(bytes(head[header.body_start :]))
        if end >= 0 or len(head) > MOST_HEADER_OCTETS:
            self._head = None

    def _hash(self, piece: bytes) -> None:
        for hasher in self._hashers.values():
            hasher.update(piece)

    def finish(self, message: Message) -> tuple[str, BodyHashes]:
        """SHA-256 of the whole message in hex, and its body hashes."""
        if self._octets < len(message.raw):
            self.add(message.raw[self._octets :])
        known = {spec: hasher.finish() for spec, hasher in self._hashers.items()}
        return self._digest.hexdigest(), BodyHashes(message.raw, message.header.body_start, known)


def wanted(header: HeaderView) -> tuple[BodySpec, ...]:
    """The distinct body hashes that the signatures of this header section say they signed, top first."""
    specs: dict[BodySpec, None] = {}
    for name, default_form in _FIELDS:
        for field in header.all(name)[:MOST_HASHES]:
            spec = body_spec(field, default_form)
            if spec is not None and len(specs) < MOST_HASHES:
                specs[spec] = None
    return tuple(specs)
