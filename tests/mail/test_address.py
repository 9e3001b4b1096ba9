"""Mailboxes and paths by RFC 5321's grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.address import Mailbox, NeedsSmtputf8, parse_mailbox, parse_path
from mail.errors import Malformed

VALID = [
    ("a@b", "a", "b"),
    ("John.Doe@Example.COM", "John.Doe", "example.com"),
    ('"a@b"@example.com', "a@b", "example.com"),
    ('"plain"@example.com', "plain", "example.com"),
    (r'"a\"b"@example.com', 'a"b', "example.com"),
    ("user+tag+more@example.com", "user+tag+more", "example.com"),
    ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
    ("a@[IPv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]"),
    ("jürgen@bücher.example", "jürgen", "xn--bcher-kva.example"),
    ("x" * 64 + "@example.com", "x" * 64, "example.com"),
]

INVALID = [
    "",
    "@",
    "a",
    "a@",
    "@b",
    "dot..dot@example.com",
    ".a@example.com",
    "a.@example.com",
    "a b@example.com",
    "a(c)@example.com",
    "a\0b@example.com",
    "a\r\n@example.com",
    "a@example.com.",
    "a@-b.example",
    "a@b-.example",
    "a@b..example",
    "a@b_c.example",
    "a@[300.1.1.1]",
    "a@[192.0.2.1",
    "a@[IPv6:fe80::1%eth0]",
    "a@[x-tag:data]",
    '"a@example.com',
    '"a"b@example.com',
    '"\x07"@example.com',
    "x" * 65 + "@example.com",
    "a@" + "b" * 64 + ".example",
    "a@" + ".".join(["b" * 60] * 5),
    "\udcff@example.com",
    "a@\u202e.example",
    "\x80@example.com",
]


@pytest.mark.parametrize(("text", "local_part", "domain"), VALID)
def test_a_valid_mailbox_is_read(text, local_part, domain):
    assert parse_mailbox(text) == Mailbox(local_part=local_part, domain=domain)


@pytest.mark.parametrize("text", INVALID)
def test_what_the_grammar_does_not_allow_is_malformed(text):
    with pytest.raises(Malformed):
        parse_mailbox(text)


def test_an_error_never_repeats_the_input():
    with pytest.raises(Malformed) as error:
        parse_mailbox("secret\r\nsecret@x")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("text", ["jürgen@example.com", "a@bücher.example"])
def test_an_internationalised_address_without_smtputf8_says_so(text):
    with pytest.raises(NeedsSmtputf8):
        parse_mailbox(text, smtputf8=False)


def test_the_null_path_is_none():
    assert parse_path("<>") is None


def test_a_source_route_is_accepted_and_ignored():
    assert parse_path("<@one.example,@two.example:joe@three.example>") == parse_mailbox("joe@three.example")


@pytest.mark.parametrize("text", ["<a@b", "a@b>", "a@b", "<a@b>>", "<<a@b>>", "< a@b>", "<@x:>", "<a@b> ", "<", ""])
def test_a_path_keeps_its_brackets(text):
    with pytest.raises(Malformed):
        parse_path(text)


def test_labels_are_what_stands_behind_the_first_plus():
    mailbox = parse_mailbox("user+a+b@example.com")
    assert (mailbox.base, mailbox.label) == ("user", "a+b")
    assert parse_mailbox("user@example.com").label is None


@given(
    st.text(min_size=1, max_size=64),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5})?", fullmatch=True),
)
def test_whatever_is_read_is_written_so_that_it_reads_the_same(local, domain):
    mailbox = Mailbox(local_part=local, domain=domain)
    try:
        read = parse_mailbox(str(mailbox))
    except Malformed:
        return
    assert read == mailbox


@given(st.text(max_size=300))
def test_any_text_is_a_mailbox_or_malformed(text):
    try:
        mailbox = parse_mailbox(text)
    except Malformed:
        return
    assert parse_mailbox(str(mailbox)) == mailbox
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in str(mailbox))
