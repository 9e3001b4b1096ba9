"""Encoded-words and address lists as they are really written."""

import base64
import encodings.aliases

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.address_list import _read, parse_address_list
from mail.charset import charset, decoded
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
    ("=?idna?Q?=FF?=", "=?idna?Q?=FF?="),
    ("=?windows-1252?Q?=80?= =?cp1252?Q?=80?=", "€€"),
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


@pytest.mark.parametrize(
    "name", ["punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "zlib", "a\0b", "x" * 100, ""]
)
def test_what_is_no_charset_of_mail_is_never_decoded_with(name):
    """Of those that Python has, the first takes quadratic time: a megabyte of it hours."""
    assert charset(name) is None


@pytest.mark.parametrize(
    ("name", "codec"),
    [("UTF-8", "utf-8"), ("us-ascii", "ascii"), ("ISO-8859-15", "iso8859-15"), ("Windows-1252", "cp1252"), ("KOI8-R", "koi8-r"),
     ("iso-2022-jp", "iso2022_jp"), ("Shift_JIS", "shift_jis"), ("EUC-KR", "euc_kr"), ("ks_c_5601-1987", "euc_kr"),
     ("GB18030", "gb18030"),
     ("Big5", "big5"), ("macintosh", "mac-roman"), ("TIS-620", "tis-620"), ("utf-16le", "utf-16-le"), ("utf-7", "utf-7")],
)  # fmt: skip
def test_charsets_go_by_the_names_that_mail_gives_them(name, codec):
    assert charset(name) == codec


CODECS = sorted({found for name in encodings.aliases.aliases.values() if (found := charset(name)) is not None})


@given(st.sampled_from(CODECS), st.binary(max_size=60))
@example("utf-7", b"+2AA-")
@example("utf-16-le", b"\x00\xd8")
def test_whatever_a_charset_reads_is_text_that_can_be_written(codec, octets):
    for errors in ("replace", "backslashreplace"):
        decoded(octets, codec, errors).encode()
    decode_words(f"=?{codec}?b?{base64.b64encode(octets).decode()}?=").encode()


PIECES = [
    '"',
    "<",
    ">",
    "a",
    "B c",
    "@",
    "b.example",
    " ",
    "\t",
    ",",
    ";",
    ":",
    "(",
    ")",
    "\\",
    "[",
    "]",
    "=?utf-8?Q?a_b?=",
    "é",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.sampled_from(["", "A ", '"A, B" ', '" x"']))
def test_a_plain_field_reads_as_the_tolerant_reader_has_it(text, name):
    for written in (text, f"{name}<{text}>", f"{text}<a@b.example>"):
        assert parse_address_list(written) == _read(written)
