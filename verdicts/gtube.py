"""GTUBE, the Generic Test for Unsolicited Bulk Email: a text that is spam to every engine, so that a set-up can be tried out.

It is looked for before any engine is asked: the answer says that the message went all the way to the engine's place, not that the
engine is well.
"""

from mail.octets import Octets, pieces
from mail.verdict import ScanResult, Status

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
SCORE = 1000.0  # what it scores in SpamAssassin, where it comes from


def is_gtube(raw: Octets) -> bool:
    last = b""  # it may stand across the border of two pieces
    for piece in pieces(raw):
        if GTUBE in piece or (last and GTUBE in last + piece[: len(GTUBE)]):
            return True
        last = piece[-len(GTUBE) :]
    return False


def gtube_result(engine: str) -> ScanResult:
    return ScanResult(
        status=Status.FAIL, engine=engine, reason="the GTUBE test message", score=SCORE, symbols=("GTUBE",)
    )
