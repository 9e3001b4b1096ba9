"""What goes out by DATA: dots doubled and the end added, wherever the message is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtp import outgoing
from smtp.content import DotContent
from smtp.outgoing import is_ascii, stuffed
from tests.elsewhere import Elsewhere


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "PIECE_OCTETS", 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b".", b"\r\n", b"\r\n.", b"..", b"x", b"\r\n.\r\n"]), max_size=12))
async def test_what_was_sent_is_what_is_received(parts: list[bytes]) -> None:
    raw = b"".join(parts)
    sent = b"".join([piece async for piece in stuffed(Elsewhere(raw))])
    assert sent == b"".join([piece async for piece in stuffed(raw)])
    received = DotContent(1000, 0, strict=True)
    assert received.feed(sent, 0) == len(sent)
    assert received.is_finished
    assert received.take() == (raw if raw.endswith(b"\r\n") or not raw else raw + b"\r\n")


async def test_one_octet_beyond_ascii_is_found_wherever_it_stands() -> None:
    for raw in (b"abc", b"\xe9abcdef", b"abcdef\xe9"):
        assert await is_ascii(Elsewhere(raw)) == raw.isascii() == await is_ascii(raw)
