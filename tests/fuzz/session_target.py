"""The SMTP session for fuzzers: octets say which server it is, what happens, and what is sent."""

from __future__ import annotations

from tests.smtp.session_model import Watched, configs, steps

CONFIGS = configs()
STEPS = steps()
SEND, SEND_IN_TWO = 0xF0, 0xF8
MOST_STEPS = 400


def session(data: bytes) -> None:
    """The first octet chooses the server; then each is a step, or the length of octets to send as they are, whole or in two."""
    watched = Watched(*CONFIGS[data[0] % len(CONFIGS)] if data else CONFIGS[0])
    at = 1
    for _ in range(MOST_STEPS):
        if at >= len(data) or watched.is_closed:
            break
        step, at = data[at], at + 1
        if step < SEND:
            STEPS[step % len(STEPS)](watched)
            continue
        length = data[at] if at < len(data) else 0
        octets, at = data[at + 1 : at + 1 + length], at + 1 + length
        half = len(octets) // 2 if step >= SEND_IN_TWO else 0
        watched.receive(octets[:half])
        watched.receive(octets[half:])
    watched.lose()
    while watched.owed is not None:
        watched.answer(None)
    assert watched.is_closed
