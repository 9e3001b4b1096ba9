"""Text for people: nothing hidden, nothing acted upon, everything aligned."""

import json
import unicodedata
from datetime import UTC, datetime

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.cli import layout
from gatepost.cli.layout import (
    columns_of,
    shortened,
    size_text,
    span_text,
    table,
    time_text,
    visible,
    visible_json,
    visible_lines,
    word,
    wrapped,
)


@pytest.fixture(autouse=True)
def unicode_output(monkeypatch):
    monkeypatch.setattr(layout, "speaks_unicode", lambda: True)


@given(st.text())
def test_visible_text_is_one_line_without_anything_that_hides(text):
    shown = visible(text)
    hidden = {character for character in shown if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert hidden <= {"\u200c", "\u200d"}
    assert "\n" not in shown


@pytest.mark.parametrize(
    "text", ["plain", "Grüße aus Köln", "日本語の件名", "🎉 50 % off", "می\u200cخواهم", "👨\u200d👩\u200d👧"]
)
def test_honest_text_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pay\u200dpal", "pay\\u200dpal"),
        ("\u200d", "\\u200d"),
        ("soft\xadhyphen", "soft\\xadhyphen"),
        ("a\U000e0041", "a\\U000e0041"),
        ("tab\there", "tab\\there"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 3 + "\\u0301\\u0301"),
    ],
)
def test_what_hides_or_defaces_is_shown_as_its_escape(text, shown):
    assert visible(text) == shown


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_for_programs_keeps_its_value_and_holds_nothing_that_a_terminal_acts_on(value):
    encoded = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(encoded) == value
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in encoded)
    assert not set(encoded) & set("\u202a\u202e\u2066\u2069\u200f\u061c\ufeff\u2028")


@given(st.text())
def test_json_is_ascii_where_the_output_is_not_unicode(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "speaks_unicode", lambda: False)
        encoded = visible_json(json.dumps(text, ensure_ascii=False))
    assert encoded.isascii()
    assert json.loads(encoded) == text


def test_columns_are_aligned_whatever_is_in_them():
    rows = [("a", click.style("done", fg="green"), "x"), ("日本", "retrying", "y"), ("abc", "", "z")]
    assert click.unstyle(table(rows, head=("k", "state", ""))).split("\n") == [
        "k     state",
        "a     done      x",
        "日本  retrying  y",
        "abc             z",
    ]
    assert table([]) == ""


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf"])), st.integers(5, 30))
def test_shortened_text_fits(text, columns):
    assert columns_of(shortened(text, columns)) <= columns
    if columns_of(text) <= columns:
        assert shortened(text, columns) == text


def test_long_lines_are_broken_between_words_and_indented():
    assert wrapped("one two three four", indent="  ", first="> ", columns=11) == "> one two\n  three\n  four"


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (999_400, "999 kB"), (999_900, "1.0 MB"),
     (40 * 10**6, "40 MB"), (5 * 10**12, "5000 GB")],
)  # fmt: skip
def test_sizes_are_in_powers_of_ten(octets, shown):
    assert size_text(octets) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (90, "90 s"), (720, "12 min"), (4 * 3600, "4 h"), (5 * 86400, "5 d")]
)
def test_spans_are_in_the_unit_that_is_read_best(seconds, shown):
    assert span_text(seconds) == shown


def test_times_are_utc_and_say_so():
    assert time_text(datetime(2026, 1, 13, 21, 2, 45, tzinfo=UTC)) == "2026-01-13 21:02:45Z"


def test_only_our_own_words_are_coloured():
    assert word("dead") == click.style("dead", fg="red")
    assert word("\x1b[31mdead") == "\\x1b[31mdead"


@pytest.mark.parametrize("charset", ["", "utf-8", "no-such-charset", "hex", "idna", "undefined", "a\0b"])
def test_content_for_a_terminal_keeps_its_lines_and_shows_its_controls(charset):
    assert visible_lines(b"one\ttwo\r\nthree \x1b[2J\rfour\n", charset) == "one\ttwo\nthree \\x1b[2J\\rfour"
