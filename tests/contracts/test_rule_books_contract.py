"""What every keeper of rule books does, whatever it is made of."""

from datetime import UTC, datetime, timedelta

import pytest

from mail.errors import Misuse
from spool.ports import BookVersion, NotFound
from spool.rule_sets import MemoryRuleBooks, open_rule_books

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite"])
def books(request, tmp_path):
    made = MemoryRuleBooks() if request.param == "memory" else open_rule_books(tmp_path / "var" / "rules.db")
    yield made
    made.close()


def put(books, *digests):
    for number, digest in enumerate(digests):
        books.put(digest, digest.encode() * 2, "rules.yaml", NOON + timedelta(seconds=number))


def version(digest, number=0, *, active=False, pinned=False):
    at = NOON + timedelta(seconds=number)
    return BookVersion(digest=digest, origin="rules.yaml", loaded_at=at, active=active, pinned=pinned)


def test_at_first_there_is_no_version_and_none_is_active(books):
    assert books.versions() == []
    assert books.active() is None
    books.unpin()


def test_a_version_that_was_put_is_kept_but_not_active(books):
    put(books, "a")
    assert books.content("a") == b"aa"
    assert books.versions() == [version("a")]
    assert books.active() is None


def test_the_same_content_again_changes_nothing(books):
    put(books, "a", "b")
    books.put("a", b"aa", "other.yaml", NOON + timedelta(days=1))
    assert books.versions() == [version("b", 1), version("a")]


def test_two_contents_cannot_bear_one_digest(books):
    put(books, "a")
    with pytest.raises(Misuse):
        books.put("a", b"other", "rules.yaml", NOON)
    assert books.content("a") == b"aa"


def test_one_version_is_active_at_a_time(books):
    put(books, "a", "b")
    books.activate("a", pinned=False)
    books.activate("b", pinned=False)
    assert books.active() == version("b", 1, active=True)
    assert books.versions() == [version("b", 1, active=True), version("a")]


def test_what_was_activated_by_command_is_pinned_until_it_is_unpinned(books):
    put(books, "a")
    books.activate("a", pinned=True)
    assert books.active() == version("a", active=True, pinned=True)
    books.unpin()
    assert books.active() == version("a", active=True)


def test_activating_without_a_pin_takes_an_earlier_pin_away(books):
    put(books, "a", "b")
    books.activate("a", pinned=True)
    books.activate("b", pinned=False)
    assert books.versions() == [version("b", 1, active=True), version("a")]


def test_an_unknown_digest_is_not_found_and_the_active_one_stays(books):
    put(books, "a")
    books.activate("a", pinned=True)
    with pytest.raises(NotFound):
        books.activate("b", pinned=False)
    with pytest.raises(NotFound):
        books.content("b")
    assert books.active() == version("a", active=True, pinned=True)


@pytest.mark.parametrize(
    ("keep", "left", "gone"),
    [((), ["c"], 3), (("a", "x"), ["c", "a"], 2), (("a", "b", "c", "d"), ["d", "c", "b", "a"], 0)],
)
def test_forgetting_keeps_what_is_named_and_what_is_active(books, keep, left, gone):
    put(books, "a", "b", "c", "d")
    books.activate("c", pinned=False)
    assert books.forget(frozenset(keep)) == gone
    assert [each.digest for each in books.versions()] == left


def test_a_second_process_sees_the_versions_and_the_pointer(tmp_path):
    first, second = (open_rule_books(tmp_path / "rules.db") for _ in range(2))
    put(first, "a")
    first.activate("a", pinned=True)
    assert second.active() == version("a", active=True, pinned=True)
    second.unpin()
    assert first.active() == version("a", active=True)
    first.close()
    second.close()


def test_only_the_owner_may_read_the_file(tmp_path):
    books = open_rule_books(tmp_path / "var" / "rules.db")
    put(books, "a")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "var").iterdir()} == {0o600}
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
    books.close()
