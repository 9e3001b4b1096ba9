"""Mail files and the envelopes they came in (semantics.md §8)."""

from datetime import UTC, datetime

import pytest

from gatepost.sample import read_sample
from mail.errors import Malformed

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MAIL = b"From: A <a@sender.example>\r\nTo: x@elsewhere.example, b@ours.example\r\nCc: c@ours.example\r\n\r\nhi\r\n"


def read(tmp_path, content=MAIL, side=None, given=None, first="ours.example"):
    path = tmp_path / "mail.eml"
    path.write_bytes(content)
    if side is not None:
        (tmp_path / "mail.eml.yaml").write_text(side, encoding="utf-8")
    return read_sample(path, given or {}, lambda domain: domain == "ours.example", first, lambda: NOW)


def envelope(sample):
    return str(sample.envelope.reverse_path or ""), [str(mailbox) for mailbox in sample.envelope.mailboxes]


def test_what_nobody_gave_is_guessed_and_said_so(tmp_path):
    sample = read(tmp_path)
    assert envelope(sample) == ("a@sender.example", ["b@ours.example", "c@ours.example"])
    assert sample.guessed == ("mail_from", "rcpt_to")
    assert (sample.client.ip, sample.now) == (None, NOW)


def test_return_path_and_delivered_to_are_better_guesses(tmp_path):
    sample = read(tmp_path, b"Return-Path: <r@bounce.example>\r\nDelivered-To: d@ours.example\r\n" + MAIL)
    assert envelope(sample) == ("r@bounce.example", ["d@ours.example"])


def test_an_empty_return_path_is_the_null_sender(tmp_path):
    assert read(tmp_path, b"Return-Path: <>\r\n" + MAIL).envelope.reverse_path is None


def test_without_any_recipient_of_ours_it_is_for_the_postmaster(tmp_path):
    assert envelope(read(tmp_path, b"Subject: x\r\n\r\n"))[1] == ["postmaster@ours.example"]
    assert envelope(read(tmp_path, b"Subject: x\r\n\r\n", first=None))[1] == ["postmaster@localhost"]


def test_the_file_beside_it_is_believed(tmp_path):
    side = "mail_from: null\nrcpt_to: [x@ours.example]\nclient_ip: 192.0.2.1\nhelo: mx\nnow: 2026-01-02T03:04:05Z\n"
    sample = read(tmp_path, side=side)
    assert envelope(sample) == ("", ["x@ours.example"])
    assert sample.guessed == ()
    assert (sample.client.ip, sample.client.helo) == ("192.0.2.1", "mx")
    assert sample.now == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_what_the_command_line_says_wins(tmp_path):
    sample = read(
        tmp_path, side="mail_from: side@x.example\n", given={"mail_from": "<>", "rcpt_to": ["b@ours.example"]}
    )
    assert envelope(sample) == ("", ["b@ours.example"])


def test_lf_files_are_read_as_crlf_and_say_so_once(tmp_path):
    sample = read(tmp_path, MAIL.replace(b"\r\n", b"\n"))
    assert sample.message.raw == MAIL
    assert len(sample.notes) == 1


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"mail_from": "foo@bar..example"}, 501),
        ({"mail_from": "@x_y.example"}, 501),
        ({"rcpt_to": ["a b@ours.example"]}, 501),
        ({"mail_from": "ok@sender.example"}, None),
    ],
)
def test_an_address_that_the_server_would_refuse_is_judged_all_the_same(tmp_path, given, code):
    sample = read(tmp_path, given=given)
    assert (sample.refused_as.code if sample.refused_as else None) == code


@pytest.mark.parametrize("address", ["a@b\r\nX: y", "a@b\0", "a@b\x1b"])
def test_an_address_with_controls_is_no_address_at_all(tmp_path, address):
    with pytest.raises(Malformed, match="mail_from"):
        read(tmp_path, given={"mail_from": address})


@pytest.mark.parametrize(
    "given",
    [
        {"mail_from": "not an address"},
        {"rcpt_to": ["<>"]},
        {"client_ip": "1.2.3"},
        {"now": "yesterday"},
        {"rcpt_to": [5]},
    ],
)
def test_a_value_that_cannot_be_used_is_named(tmp_path, given):
    with pytest.raises(Malformed, match=next(iter(given))):
        read(tmp_path, given=given)


def test_an_unknown_key_beside_the_file_is_an_error(tmp_path):
    with pytest.raises(Malformed, match="unknown key"):
        read(tmp_path, side="mailfrom: x\n")
