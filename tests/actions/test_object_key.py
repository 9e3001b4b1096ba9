"""Object keys: SES's rule, templates, and values from strangers that stay one piece of one component."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from acting import ID, RAW, context_of, receipt_of, verdicts
from hypothesis import given
from hypothesis import strategies as st

from actions.object_key import key_components, object_keys, safe
from actions.protocol import Context
from mail.address import Mailbox, parse_mailbox
from mail.errors import Malformed, Permanent
from rules.object_keys import PLACEHOLDERS, Placeholder, literal_template, parse_template

PATH_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+=-%~")


def context(template: str, *recipients: str, **rest: Any) -> Context:
    boxes = [parse_mailbox(text) for text in recipients or ("support+jan@example.com",)]
    parameters = {"object_key_prefix": template, **rest}
    return context_of("s3", parameters, receipt=receipt_of(recipients=boxes))


def keys(template: str, *recipients: str, **rest: Any) -> list[str]:
    return [each.key for each in object_keys(context(template, *recipients, **rest))]


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("", ID),
        ("emails", f"emails/{ID}"),
        ("/emails", f"/emails/{ID}"),
        ("in/{date:%Y/%m/%d}", f"in/2026/01/13/{ID}"),
        ("{date}/", f"2026-01-13/{ID}"),
        ("{date:%H%M%S}/{message_id}.eml", f"210245/{ID}.eml"),
        ("{message_id}", ID),
        ("{message_id}/{message_id}", f"{ID}/{ID}"),
        ("{rule}/{size}/{spam}", f"support/{len(RAW)}/DISABLED/{ID}"),
        ("{from.domain}", f"sender.example/{ID}"),
        ("{recipient.domain}/{recipient.base}/{recipient.label}", f"example.com/support/jan/{ID}"),
        ("{recipient.address}", f"support+jan@example.com/{ID}"),
        ("{recipient.local_part}/{message_id}", f"support+jan/{ID}"),
        ("{{literal}}", f"{{literal}}/{ID}"),
    ],
)
def test_a_template_becomes_this_key(template: str, key: str) -> None:
    assert keys(template) == [key]


def test_prefix_is_what_stands_before_the_message_id() -> None:
    assert [each.prefix for each in object_keys(context("in/{rule}/"))] == ["in/support/"]
    assert [each.prefix for each in object_keys(context("in/{rule}/{message_id}.eml"))] == ["in/support/"]
    assert [each.prefix for each in object_keys(context("emails"))] == ["emails"]


def test_one_object_for_each_recipient_that_the_template_tells_apart() -> None:
    recipients = ("a@example.com", "b@example.com", "c@example.org")
    assert keys("{recipient.domain}", *recipients) == [f"example.com/{ID}", f"example.org/{ID}"]
    assert keys("{recipient.local_part}", *recipients) == [f"a/{ID}", f"b/{ID}", f"c/{ID}"]
    assert keys("all", *recipients) == [f"all/{ID}"]


def test_what_is_missing_is_one_underscore() -> None:
    assert keys("{recipient.label}", "plain@example.com") == [f"_/{ID}"]
    receipt = receipt_of(judged=verdicts(from_domain=None))
    made = object_keys(context_of("s3", {"object_key_prefix": "{from.domain}"}, receipt=receipt))
    assert [each.key for each in made] == [f"_/{ID}"]


def test_metadata_is_filled_like_a_key() -> None:
    (made,) = object_keys(context("", metadata={"to": "{recipient.address}", "spam": "{spam}"}))
    assert made.metadata == {"to": "support+jan@example.com", "spam": "DISABLED"}


@pytest.mark.parametrize(
    ("local_part", "shown"),
    [
        ("..", "%2E."),
        (".", "%2E"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("a/b", "a%2Fb"),
        ("a\\b", "a%5Cb"),
        ("a b", "a%20b"),
        ("a%2Fb", "a%252Fb"),
        ("{rule}", "%7Brule%7D"),
        ("é", "%C3%A9"),
    ],
)
def test_a_hostile_recipient_stays_in_its_component(local_part: str, shown: str) -> None:
    receipt = receipt_of(recipients=[Mailbox(local_part=local_part, domain="example.com")])
    made = object_keys(context_of("disk", {"object_key_prefix": "{recipient.local_part}"}, receipt=receipt))
    assert [each.key for each in made] == [f"{shown}/{ID}"]


@given(st.text(max_size=300))
def test_a_value_is_one_piece_of_one_component(value: str) -> None:
    text = safe(value)
    assert set(text) <= PATH_SAFE
    assert 0 < len(text) <= 160
    assert not text.startswith(".")
    assert key_components(f"{text}/x") == (text, "x")


@given(st.text(max_size=250), st.text(max_size=250))
def test_two_values_share_a_place_only_if_they_are_one(one: str, two: str) -> None:
    # Nothing is written as "_", so "_" itself is where the two meet.
    assert (safe(one) == safe(two)) == ((one or "_") == (two or "_"))


@pytest.mark.parametrize(
    "template",
    ["{message_id}.metadata.json", "{message_id}/", "{message_id}/..", "a/../b", "./{rule}", "{message_id}/."],
)
def test_what_is_no_file_name_is_refused(template: str) -> None:
    with pytest.raises(Permanent):
        key_components(keys(template)[0])


def test_what_s3_cannot_hold_is_refused() -> None:
    with pytest.raises(Permanent, match="1024"):
        keys("x" * 1024)
    with pytest.raises(Permanent, match="2048"):
        keys("", metadata={"a": "x" * 2048})
    with pytest.raises(Permanent, match="placeholder"):
        keys("{nothing}")


def test_every_placeholder_has_a_value() -> None:
    for name in PLACEHOLDERS:
        assert "{" not in keys(f"{{{name}}}")[0]


@given(st.text(alphabet="{}$abc:%./", max_size=20))
def test_every_text_is_a_template_or_refused_and_can_be_meant_literally(text: str) -> None:
    if "${" not in text:
        assert "".join(str(piece) for piece in parse_template(literal_template(text))) == text
    with contextlib.suppress(Malformed):
        parse_template(text)


def test_a_variable_of_the_environment_is_left_alone() -> None:
    assert parse_template("${BUCKET_DIR}/{rule}") == ("${BUCKET_DIR}", "/", Placeholder("rule"))


@pytest.mark.parametrize("form", ["%Q", "%Y/../%m", "%%", "é", "%Y//.."])
def test_a_date_has_known_parts_only(form: str) -> None:
    with pytest.raises(Malformed):
        parse_template(f"{{date:{form}}}")


def test_the_date_is_of_receipt_whatever_the_attempt() -> None:
    received = context("{date:%Y/%m/%d/%H}")
    assert received.receipt.received_at == datetime(2026, 1, 13, 21, 2, 45, 441000, tzinfo=UTC)
    assert object_keys(received)[0].key == f"2026/01/13/21/{ID}"
