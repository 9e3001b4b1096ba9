"""Canonical forms: equal to stock dkimpy's on any body, whatever the pieces, and linear."""

import hashlib
import time

import dkim.canonicalization as stock
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from verdicts.canonical import BodyHasher, BodyHashes, relaxed_value
from verdicts.inquiry import BodySpec, Need

PIECES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"  \r\n", b"xy z", b"\r\n\r\n", b"\xff"]), max_size=40)
ODD_PIECES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\r", b"\n", b" \r", b"\r\r\n"]), max_size=30)


def stock_digest(body: bytes, spec: BodySpec) -> bytes:
    canonical = (stock.Relaxed if spec.canonicalization == "relaxed" else stock.Simple).canonicalize_body(body)
    return hashlib.sha256(canonical if spec.limit is None else canonical[: spec.limit]).digest()


def digest(pieces: list[bytes], spec: BodySpec) -> bytes:
    hasher = BodyHasher(spec)
    for piece in pieces:
        hasher.update(piece)
    return hasher.finish().digest


@settings(max_examples=600)
@given(PIECES | ODD_PIECES, st.sampled_from(["relaxed", "simple"]), st.none() | st.integers(0, 30), st.data())
@example([b" \r\n"], "relaxed", None, None)
@example([b"\r\n"], "simple", None, None)
@example([], "simple", None, None)
@example([b"a \r", b"\nb"], "relaxed", None, None)
@example([b"a ", b" b"], "relaxed", None, None)
def test_body_hash_equals_stock_in_pieces_of_any_size(pieces, form, limit, data) -> None:
    spec = BodySpec(form, limit)
    body = b"".join(pieces)
    expected = stock_digest(body, spec)
    assert digest([body], spec) == expected
    assert digest(pieces, spec) == expected
    if data is not None:
        size = data.draw(st.integers(1, 5))
        assert digest([body[start : start + size] for start in range(0, len(body), size)], spec) == expected


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b"B=c"]), max_size=20))
def test_relaxed_header_value_equals_stock(parts: list[bytes]) -> None:
    value = b"".join(parts)
    assert relaxed_value(value) == stock.Relaxed.canonicalize_headers([(b"x", value)])[0][1].removesuffix(b"\r\n")


@pytest.mark.parametrize("value", [b" a\vb ", b" a\x0c", b"a\rb", b"a\nb"])
def test_only_space_and_tab_are_white_space(value: bytes) -> None:
    """RFC 6376 §2.8; stock strips \\v and \\f too, and drops a bare LF (RFC 6376 §3.4.2 unfolds CRLF only)."""
    assert relaxed_value(value) == value.strip(b" ")


@pytest.mark.parametrize("unit", [b"x y ", b"  ", b"\t ", b"\r\n", b" \r\n", b"\r", b"a\r\n\r\n"])
@pytest.mark.parametrize("form", ["relaxed", "simple"])
def test_cost_does_not_depend_on_the_content(unit: bytes, form: str) -> None:
    """4 MiB of anything take well under a second. Stock's time is quadratic in a run of white space: minutes for this one."""
    body = unit * (4 * 1024 * 1024 // len(unit))
    hashes = BodyHashes(body, 0)
    started = time.process_time()
    hashes.compute([BodySpec(form)])
    assert time.process_time() - started < 1.0


def test_a_large_body_is_left_to_a_thread() -> None:
    hashes = BodyHashes(b"x" * 300_000, 0)
    with pytest.raises(Need) as raised:
        hashes.require([BodySpec("simple"), BodySpec("simple")])
    assert raised.value.work == [BodySpec("simple")]
    hashes.compute(raised.value.work)
    hashes.require([BodySpec("simple")])
    assert hashes[BodySpec("simple")].octets == 300_002
