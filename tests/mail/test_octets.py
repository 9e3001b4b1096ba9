"""Octets that stand elsewhere read as those in memory do, wherever a piece ends."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.message import Message, without_spans
from mail.mime import longest_line
from mail.octets import PIECE_OCTETS, Spliced, header_section, pieces, sha256, spliced, whole
from tests.elsewhere import Elsewhere


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 9), st.integers(0, 9)), max_size=5), st.data())
def test_what_is_spliced_reads_as_what_is_joined(parts: list[tuple[bytes, int, int]], data: st.DataObject) -> None:
    parts = [(octets, start, min(end, len(octets))) for octets, start, end in parts]
    joined = b"".join(octets[start:end] for octets, start, end in parts)
    made = Spliced([(Elsewhere(octets), start, end) for octets, start, end in parts])
    assert len(made) == len(joined)
    assert whole(made) == joined
    span = slice(data.draw(st.integers(0, 50)), data.draw(st.integers(0, 50)))
    assert made[span] == joined[span]
    assert b"".join(pieces(made, size=data.draw(st.integers(1, 50)))) == joined


@given(st.binary(max_size=30), st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_spans_are_cut_alike_in_memory_and_elsewhere(prefix: bytes, raw: bytes, edges: list[int]) -> None:
    edges = sorted(min(edge, len(raw)) for edge in edges[: len(edges) // 2 * 2])
    cut = tuple(zip(edges[::2], edges[1::2], strict=True))
    expected = prefix + without_spans(raw, cut)
    assert spliced(prefix, raw, cut) == expected
    assert whole(spliced(prefix, Elsewhere(raw), cut)) == expected


def test_nothing_is_read_but_in_order() -> None:
    with pytest.raises(ValueError, match="in order"):
        Spliced([(b"abc", 0, 3)])[::-1]


@pytest.mark.parametrize("head", [b"", b"\r\n", b"A: b\r\n", b"A: b\r\n\r\n", b"A: " + b"b" * (2 * PIECE_OCTETS - 7)])
@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"x" * 3 * PIECE_OCTETS + b"\r\n\r\n"])
def test_a_header_section_is_the_same_wherever_the_message_stands(head: bytes, body: bytes) -> None:
    raw = head + body
    assert Message.of(Elsewhere(raw)).header.body_start == Message.of(raw).header.body_start
    assert Message.of(Elsewhere(raw)).header.fields == Message.of(raw).header.fields


def test_no_more_is_read_for_a_header_section_than_was_asked_for() -> None:
    endless = Elsewhere(b"x" * 9 * PIECE_OCTETS)
    assert header_section(endless, 1000) == b"x" * 1000
    assert endless.most == 1000


@pytest.mark.parametrize("at", range(PIECE_OCTETS - 3, PIECE_OCTETS + 3))
def test_the_longest_line_is_found_across_the_border_of_two_pieces(at: int) -> None:
    for end in (b"\r\n", b"\r", b"\n", b"\r\r\n", b"\n\r\n"):
        raw = b"y" * at + end + b"z" * 100 + b"\r\n" + b"x" * (PIECE_OCTETS + 7) + end
        assert longest_line(raw) == max(map(len, raw.split(b"\r\n")))
    assert longest_line(b"") == 0


def test_a_digest_is_that_of_all_of_it_and_of_little_at_a_time() -> None:
    raw = bytes(range(256)) * 3000
    elsewhere = Elsewhere(raw)
    assert sha256(elsewhere) == hashlib.sha256(raw).hexdigest()
    assert elsewhere.most == PIECE_OCTETS
