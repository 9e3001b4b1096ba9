"""The header view: positions, folding, and the one place that writes a field."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import Misuse
from mail.headers import header_field, parse_header
from mail.message import Message, without_spans


def test_fields_know_where_they_stand():
    raw = b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\n\r\nbody\r\n"
    view = parse_header(raw)
    assert [field.name for field in view.fields] == ["A", "B", "A"]
    assert [raw[field.start : field.end] for field in view.fields] == [field.raw for field in view.fields]
    assert view.text("b") == "2 folded"
    assert [field.text for field in view.all("a")] == ["1", "3"]
    assert raw[view.body_start :] == b"body\r\n"


def test_folding_turns_into_one_space_and_keeps_the_one_before_it():
    assert parse_header(b"DKIM-Signature: a=b; \r\n\t c=d\r\n\r\n").text("dkim-signature") == "a=b;  c=d"


def test_a_line_that_is_no_field_has_no_name_and_loses_nothing():
    raw = b"Subject: x\r\nnot a field\r\nFoo bar: y\r\n\xff\xfe: z\r\n\r\n"
    view = parse_header(raw)
    assert [field.name for field in view.fields] == ["Subject", "", "", ""]
    assert b"".join(field.raw for field in view.fields) == raw[:-2]


def test_a_name_may_be_followed_by_white_space():
    assert parse_header(b"Subject : x\r\n\r\n").text("subject") == "x"


def test_a_message_without_blank_line_is_all_header():
    assert parse_header(b"A: 1\r\n").body_start == 6


def test_a_message_that_starts_with_a_blank_line_has_no_header():
    view = parse_header(b"\r\nA: 1\r\n")
    assert (view.fields, view.body_start) == ((), 2)


def test_text_is_utf8_and_else_latin_1():
    assert parse_header("Subject: é\r\n\r\n".encode()).text("subject") == "é"
    assert parse_header("Subject: é\r\n\r\n".encode("latin-1")).text("subject") == "é"


PIECES = [b"A", b"bc", b":", b" ", b"\t", b"\r\n", b"\r\n", b"\r", b"\n", b"\0", b"\xff"]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_a_field_ends_where_the_next_line_does_not_begin_with_white_space(raw):
    if raw.startswith(b"\r\n"):
        return
    head = raw[: raw.find(b"\r\n\r\n") + 2] if b"\r\n\r\n" in raw else raw
    expected = re.findall(rb".+?(?:\r\n(?![ \t])|\Z)", head, re.DOTALL)
    names = [re.match(rb"([!-9;-~]+)[ \t]*:", field) for field in expected]
    found = parse_header(raw).fields
    assert [field.raw for field in found] == expected
    assert [field.name.encode() for field in found] == [name[1] if name else b"" for name in names]


@given(st.lists(st.sampled_from([b"A: b", b" c", b"\t", b"", b"x", b":", b"\r", b"\n", b"\0", b"A:\r\n"]), max_size=30))
def test_the_fields_are_the_header_section_byte_for_byte(lines):
    raw = b"\r\n".join(lines)
    view = parse_header(raw)
    joined = b"".join(field.raw for field in view.fields)
    assert raw.startswith(joined)
    assert raw[len(joined) : view.body_start] in (b"", b"\r\n")


@given(st.binary(max_size=200), st.data())
def test_cutting_spans_leaves_every_other_byte(raw, data):
    marks = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    spans = tuple(zip(marks[::2], marks[1::2], strict=False))
    kept = without_spans(raw, spans)
    gone = {octet for start, end in spans for octet in range(start, end)}
    assert kept == bytes(octet for position, octet in enumerate(raw) if position not in gone)


def test_a_message_is_its_bytes():
    raw = b"A: 1\r\n\r\nbody\r\n"
    message = Message.of(raw)
    assert message.raw is raw
    assert without_spans(raw, ((0, 6),)) == b"\r\nbody\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nY: b"), ("X", "a\nb"), ("X", "a\0"), ("X:", "a"), ("", "a"), ("X Y", "a"), ("Ü", "a")],
)
def test_a_field_can_smuggle_nothing(name, value):
    with pytest.raises(Misuse):
        header_field(name, value)
