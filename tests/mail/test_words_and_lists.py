"""Encoded-words and address lists as they are really written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.address_list import parse_address_list
from mail.words import decode_outside_quotes, decode_words

WORDS = [
    ("plain", "plain"),
    ("=?utf-8?Q?caf=C3=A9?=", "café"),
    ("=?UTF-8?B?Y2Fmw6k=?=", "café"),
    ("=?utf-8?B?Y2Fmw6k?=", "café"),
    ("=?iso-8859-1?Q?caf=E9_au_lait?=", "café au lait"),
    ("a =?utf-8?Q?b?= c", "a b c"),
    ("=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"),
    ("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café"),
    ("=?utf-8?Q?a?= =?iso-8859-1?Q?=E9?=", "aé"),
    ("=?utf-8*EN?Q?a?=", "a"),
    ("=?x-unknown?Q?a?=", "=?x-unknown?Q?a?="),
    ("=?utf-8?B?!?=", ""),
    ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
    ("=?utf-8?Q?a=0D=0ABcc:_x?=", "a  Bcc: x"),
    ("=?idna?Q?=FF?=", "ÿ"),
]


@pytest.mark.parametrize(("text", "decoded"), WORDS)
def test_encoded_words_read_as_readers_expect(text, decoded):
    assert decode_words(text) == decoded


def test_words_inside_quotes_stay():
    assert decode_outside_quotes('"=?utf-8?Q?a?=" =?utf-8?Q?b?=') == '"=?utf-8?Q?a?=" b'


LISTS = [
    ("a@b.example", [("", "a@b.example")]),
    ("A B <a@b.example>, c@d.example", [("A B", "a@b.example"), ("", "c@d.example")]),
    ('"Doe, John" <a@b.example>', [("Doe, John", "a@b.example")]),
    (r'"Doe \"X\" John" <a@b.example>', [('Doe "X" John', "a@b.example")]),
    ("=?utf-8?Q?J=C3=BCrgen?= <a@b.example>", [("Jürgen", "a@b.example")]),
    ("a@b.example (Comment (nested) here)", [("", "a@b.example")]),
    (
        "Group: a@b.example, C <c@d.example>;, e@f.example",
        [("", "a@b.example"), ("C", "c@d.example"), ("", "e@f.example")],
    ),
    ("undisclosed-recipients:;", []),
    ("<a@b.example>", [("", "a@b.example")]),
    ("A <a@b.example", [("A", "a@b.example")]),
    ('"a@b"@c.example', [("", '"a@b"@c.example')]),
    ("a @ b.example", [("", "a@b.example")]),
    ("A <a@b.example> <c@d.example>", [("A", "a@b.example"), ("", "c@d.example")]),
    ("<a@b.example> c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
    ("<a@b.example> (c@d.example) Jr.", [("Jr.", "a@b.example")]),
    ("bad, , <>", [("", "bad"), ("", "")]),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), LISTS)
def test_an_address_list_is_read_as_written(text, expected):
    assert [(named.display, named.address) for named in parse_address_list(text)] == expected


def test_a_display_name_is_quoted_only_if_it_must_be():
    (named,) = parse_address_list('"Doe, John" <a@b.example>')
    assert str(named) == '"Doe, John" <a@b.example>'
    (named,) = parse_address_list('"John Doe" <a@b.example>')
    assert str(named) == "John Doe <a@b.example>"


@given(st.text(alphabet='ab<>@,;:"\\() =?utf-8QB.[]\r\n\0é', max_size=200))
def test_no_text_makes_the_readers_raise(text):
    parse_address_list(text)
    decode_words(text)
    decode_outside_quotes(text)


@pytest.mark.parametrize("unit", ['"', "<", "(", "=?a?q?", "=?utf-8?q?a", '<"', "\\", ":", "[", '"\\'])
def test_a_megabyte_of_openings_is_read_in_linear_steps(unit):
    # Quadratic readers need hours for this; the suite's own timeout is what would notice.
    text = unit * (500_000 // len(unit))
    parse_address_list(text)
    decode_words(text)
