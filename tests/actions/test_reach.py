"""What one call of a function may read, judged from the rules alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from acting import ID, disk

from actions.reach import Reach, bucket_of
from rules.model import ActionSpec

BASE = Path("/var/gatepost")
OTHER = ID[:-2] + "91"


def s3(bucket: str, prefix: str = "") -> ActionSpec:
    return ActionSpec(type="s3", parameters={"bucket_name": bucket, "object_key_prefix": prefix})


def reach(*actions: tuple[str, ActionSpec], rule: str = "own") -> Reach:
    return Reach(message_id=ID, rule=rule, actions=lambda: actions, base=BASE)


MIXED = reach(
    ("own", disk("mail", object_key_prefix="support")),
    ("other", disk("mail", object_key_prefix="hr/")),
    ("own", s3("archive")),
    ("other", s3("archive", "hr/{date:%Y}/")),
    ("other", s3("private", "x/")),
)


@pytest.mark.parametrize(
    ("bucket", "key", "is_within"),
    [
        ("mail", f"support/{ID}", True),
        ("mail", f"support/{OTHER}", True),
        ("mail", f"/support//{OTHER}", True),
        ("mail", f"supports/{OTHER}", False),
        ("mail", f"hr/{OTHER}", False),
        ("mail", f"hr/{ID}", True),  # its own message, whoever stored it
        ("mail", OTHER, False),
        ("archive", OTHER, True),
        ("archive", f"anything/{OTHER}", True),
        ("archive", f"hr/2026/{OTHER}", False),
        ("archive", f"hr/2026/{ID}", True),
        ("private", f"x/{OTHER}", False),
        ("private", f"x/{ID}", True),
        ("nowhere", ID, False),
        ("mail", f"support/../hr/{ID}", False),
        ("mail", f"./{ID}", False),
        ("archive", f"../{ID}", False),
        ("mail", f"support/\0{ID}", False),
        ("archive", f"a/..\0/{ID}", False),
    ],
)
def test_key_belongs_to_the_rule_with_the_longest_prefix_and_to_its_message(
    bucket: str, key: str, is_within: bool
) -> None:
    assert (MIXED.store(bucket, key) is not None) is is_within


@pytest.mark.parametrize(
    ("bucket", "prefix", "is_within"),
    [
        ("mail", "support/", True),
        ("mail", "support/2026", True),
        ("mail", "support", False),
        ("mail", "", False),
        ("mail", "hr/", False),
        ("mail", f"hr/{ID}", True),
        ("archive", "", True),
        ("archive", "../", False),
        ("private", "", False),
    ],
)
def test_listing_begins_where_the_rule_stores(bucket: str, prefix: str, is_within: bool) -> None:
    assert (MIXED.lists(bucket, prefix) is not None) is is_within


def test_two_rules_that_store_at_one_place_share_it() -> None:
    shared = [("own", disk("mail")), ("other", disk("mail"))]
    assert reach(*shared).store("mail", OTHER) is not None
    assert reach(*shared, rule="other").store("mail", OTHER) is not None
    assert reach(*shared, rule="third").store("mail", OTHER) is None


def test_key_goes_to_the_place_of_its_own_rule_where_names_clash() -> None:
    found = reach(("other", disk("/a/mail")), ("own", disk("/b/mail")), ("own", s3("mail"))).store("mail", ID)
    assert found is not None
    assert found.root == Path("/b/mail")


@pytest.mark.parametrize(
    ("parameters", "bucket"),
    [
        ({"path": "mail"}, "mail"),
        ({"path": "/srv/mail store/in box"}, "in-box"),
        ({"path": "/"}, "mail"),
        ({"path": "mail", "bucket_name": "example-com-inbound"}, "example-com-inbound"),
        ({"bucket_name": "archive"}, "archive"),
    ],
)
def test_bucket_of_a_directory_is_its_name(parameters: dict[str, str], bucket: str) -> None:
    assert bucket_of(parameters) == bucket


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("{recipient.domain}/", f"any/{OTHER}", None),
        ("u-{recipient.label}", f"u-x/{OTHER}", f"v-x/{OTHER}"),
        ("{{braces}}", f"{{braces}}/{OTHER}", OTHER),
        ("/lead", f"/lead/{OTHER}", f"/leader/{OTHER}"),
    ],
)
def test_template_reaches_as_far_as_it_is_fixed(prefix: str, inside: str, outside: str | None) -> None:
    found = reach(("own", disk("mail", object_key_prefix=prefix)), ("own", s3("archive", prefix)))
    for bucket in ("mail", "archive"):
        assert found.store(bucket, inside) is not None
        assert outside is None or found.store(bucket, outside) is None


def test_template_that_the_environment_broke_stores_nothing() -> None:
    assert reach(("own", s3("archive", "{oops"))).store("archive", ID) is None
