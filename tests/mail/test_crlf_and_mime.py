"""Line ends, and the facts of MIME structure."""

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.crlf import has_bare_newline, normalise, wire_bytes
from mail.headers import parse_header
from mail.mime import DEPTH, HEADER_OCTETS, Part, attachments, longest_line, parts


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


@pytest.mark.parametrize("junk", ["; a*0=x; a*=y", "; a*" + "9" * 5000 + "=x", "; charset*=a\0b''x"])
@pytest.mark.parametrize("boundary", ["; boundary=x", '; Boundary = "x"'])
def test_a_parameter_that_nobody_can_read_hides_no_attachment(junk, boundary):
    for parameters in (junk + boundary, boundary + junk):
        raw = MIXED.replace(b'; boundary="x"', parameters.encode(), 1)
        assert [found.name for found in attachments(raw)][-1] == "é.pdf"


@pytest.mark.parametrize(
    "name", ["filename*=utf-7''%2B2AA-", "filename*=raw_unicode_escape''%5cud800", 'filename="=?utf-7?q?+2AA-?="']
)
def test_a_name_of_half_a_character_can_be_kept(name):
    (found,) = attachments(f"Content-Disposition: attachment; {name}\r\n\r\nx".encode())
    assert found.name.encode()


@given(
    st.sampled_from(["Content-Type: multipart/mixed", "Content-Disposition: attachment", "Content-Type: text/plain"]),
    st.lists(
        st.sampled_from(
            ["; a", "*", "0", "1", "=", "utf-8'", "'", "x", '"', "; name", "; filename", "; boundary", "; charset"]
        )
    ),
)
def test_no_parameters_make_the_walk_raise(start, pieces):
    attachments((start + "".join(pieces) + "\r\n\r\n").encode())


def test_header_sections_beyond_the_cap_are_not_read():
    part = b"--x\r\nContent-Disposition: attachment\r\n%s\r\n"
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + part % b""
    assert len(attachments(message + part % (b"a:\r\n" * (HEADER_OCTETS // 5)) + part % b"")) == 3
    assert len(attachments(message + part % (b"a:\r\n" * (HEADER_OCTETS // 4)) + part % b"")) == 1


def peak_octets(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filler", [b"a:\r\n", b"\r\n", b"\r\n--", b"\r\n--b4"])
def test_a_large_message_50_deep_is_no_hundred_times_its_size_in_objects(filler):
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(DEPTH))
    raw = nested + filler * (2 * HEADER_OCTETS // len(filler))
    assert peak_octets(lambda: attachments(raw)) < 6 * len(raw)


def test_a_message_of_nothing_but_line_ends_costs_no_object_for_each():
    raw = b"\r\n" * 2**18
    assert peak_octets(lambda: longest_line(raw)) < 1000


@given(st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b" ", b"x", b"b", b"\r", b"\t"]), max_size=30).map(b"".join))
def test_parts_are_divided_as_the_grammar_has_it(body):
    """RFC 2046 §5.1.1 as a regular expression, which holds the interpreter for as long as a large body takes."""
    delimiter = re.compile(rb"(?:\A|\r\n)--b(--)?[ \t]*(?=\r\n|\Z)")
    wanted, start = [], None
    for match in delimiter.finditer(body):
        if start is not None:
            wanted.append(body[start : match.start()])
        start = match.end() + 2
        if match.group(1):
            start = len(body)
            break
    if start is not None and start < len(body):
        wanted.append(body[start:])
    message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    assert [part.body for part in parts(message)] == [each[parse_header(each).body_start :] for each in wanted]


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"abc"]), max_size=20).map(b"".join))
def test_the_longest_line_is_that_between_two_line_ends(raw):
    assert longest_line(raw) == max(map(len, raw.split(b"\r\n")))


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
