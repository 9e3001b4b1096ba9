"""Line ends, and the facts of MIME structure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.crlf import has_bare_newline, normalise, wire_bytes
from mail.mime import DEPTH, Part, attachments, longest_line, parts


@pytest.mark.parametrize("raw", [b"a\n", b"a\r", b"\r\r\n", b"a\r\n\n", b"\n\r"])
def test_a_bare_newline_is_seen(raw):
    assert has_bare_newline(raw)


@given(st.binary(max_size=100))
def test_normalised_bytes_have_no_bare_newline_and_stay_so(raw):
    once = normalise(raw)
    assert not has_bare_newline(once)
    assert normalise(once) == once


FILES = [
    (b"A: b\n\nx\n", b"A: b\r\n\r\nx\r\n", True),
    (b"A: b\r\n\r\nx\r\n", b"A: b\r\n\r\nx\r\n", False),
    (b"A: b\r\n\r\nx\ny\r\n", b"A: b\r\n\r\nx\ny\r\n", False),
    (b"\xef\xbb\xbfA: b\r\n\r\n", b"A: b\r\n\r\n", False),
    (b"From x Mon Jan 1\nA: b\n\nx", b"A: b\r\n\r\nx\r\n", True),
    (b"", b"\r\n", False),
]


@pytest.mark.parametrize(("file", "wire", "changed"), FILES)
def test_a_file_becomes_wire_bytes(file, wire, changed):
    assert wire_bytes(file) == (wire, changed)


MIXED = (
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\npreamble\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\n'
    b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
    b"Content-Disposition: attachment; filename*=utf-8''%C3%A9.pdf\r\n\r\naGVs\r\nbG8=\r\n--x--\r\nepilogue\r\n"
)


def test_an_attachment_has_name_type_and_decoded_size():
    (found,) = attachments(MIXED)
    assert (found.name, found.type, found.octets) == ("é.pdf", "application/pdf", 5)


def test_a_missing_close_delimiter_ends_with_the_message():
    assert len(attachments(MIXED.replace(b"--x--\r\nepilogue\r\n", b""))) == 1


def test_parts_inside_an_attached_message_count():
    inner = (
        b'Content-Type: multipart/mixed; boundary="y"\r\n\r\n--y\r\nContent-Type: message/rfc822\r\n\r\n'
        + MIXED
        + b"\r\n--y--\r\n"
    )
    assert [found.name for found in attachments(inner)] == ["é.pdf"]


def test_nesting_beyond_the_cap_is_not_followed():
    message = MIXED
    for depth in range(DEPTH + 5):
        mark = f"n{depth}".encode()
        message = (
            b"Content-Type: multipart/mixed; boundary="
            + mark
            + b"\r\n\r\n--"
            + mark
            + b"\r\n"
            + message
            + b"\r\n--"
            + mark
            + b"--\r\n"
        )
    assert attachments(message) == ()


def test_more_parts_than_the_cap_are_not_followed():
    part = b"--x\r\nContent-Disposition: attachment\r\n\r\n\r\n"
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + part * 5000 + b"--x--\r\n"
    assert len(attachments(message)) == 999


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"--x\r\n", b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"])
)
def test_no_bytes_make_the_walk_raise(raw, prefix):
    attachments(prefix + raw)
    longest_line(prefix + raw)


def test_a_continuation_of_thousands_of_digits_is_survived():
    header = b"Content-Type: text/plain; name*" + b"9" * 5000 + b"=x\r\nContent-Disposition: attachment\r\n\r\n"
    assert len(attachments(header)) == 1


def test_the_longest_line_is_counted_without_its_end():
    assert longest_line(b"a\r\nbbb\r\n") == 3


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "x-uuencode", "8bit", ""]))
def test_the_octets_of_a_part_are_those_of_its_content(body, encoding):
    part = Part(name="", type="text/plain", charset="", disposition="", encoding=encoding, body=body)
    assert part.octets == len(part.content)


def test_parts_are_the_leaves_in_order_with_their_content():
    raw = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
        b"--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n"
        b'--x\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Disposition: attachment\r\n\r\n%PDF\r\n--x--\r\n'
    )
    first, second = parts(raw)
    assert (first.type, first.charset, first.content) == ("text/plain", "utf-8", b"hello")
    assert (second.type, second.name, second.content) == ("application/pdf", "a.pdf", b"%PDF")
