"""Files of every format that a release wrote open under this one with all that is in them, and those of later releases do not.

`formats/NAME-N.sql` is a file of format N, written out by the release that had that format.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from spool_units import NOON, accepted_of

from mail.errors import Permanent
from spool.database import open_spool
from spool.formats import Format, version_of
from spool.ports import HistoryQuery, JobQuery, MessageState
from spool.reader import open_reader
from spool.rule_sets import BOOKS, open_rule_books
from spool.schema import SHARD
from spool.subscriptions import SUBSCRIPTIONS, SubscriptionState, open_subscriptions

FORMATS = Path(__file__).parent / "formats"
KINDS = {"spool": SHARD, "rules": BOOKS, "topics": SUBSCRIPTIONS}
KEPT = sorted(path.stem for path in FORMATS.glob("*.sql"))
OLD = Format(name="shelf", tables="CREATE TABLE book (title TEXT);")
NEW = Format(
    name="shelf",
    tables="CREATE TABLE book (title TEXT, year INTEGER NOT NULL DEFAULT 0); CREATE INDEX book_year ON book(year);",
    migrations=(
        "ALTER TABLE book ADD COLUMN year INTEGER NOT NULL DEFAULT 0;",
        "CREATE INDEX book_year ON book(year); UPDATE book SET year = 1 WHERE title = 'first';",
    ),
)


def written(path: Path, name: str) -> Path:
    """The file of that fixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript((FORMATS / f"{name}.sql").read_text())
    connection.close()
    return path


def tables_of(connection: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    """The columns of every table, in any order: a column that was added stands last; and the indexes with their texts."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
        if kind == "table":
            found[name] = {tuple(column[1:]) for column in connection.execute(f"PRAGMA table_info({name})")}
        else:
            found[name] = {(" ".join((sql or "").split()),)}
    return found


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def test_a_file_of_every_format_up_to_this_one_is_kept() -> None:
    wanted = {f"{name}-{number}" for name, kind in KINDS.items() for number in range(1, kind.version + 1)}
    assert set(KEPT) == wanted, "a new format needs a file that this release wrote; no old one may be changed"


@pytest.mark.parametrize("name", KEPT)
def test_an_old_file_comes_to_the_tables_of_a_new_one(name: str, tmp_path: Path, connection) -> None:
    kind = KINDS[name.rpartition("-")[0]]
    old = sqlite3.connect(written(tmp_path / "old.db", name), isolation_level=None)
    kind.bring_up(old)
    kind.bring_up(connection)
    assert version_of(old) == kind.version
    assert tables_of(old) == tables_of(connection)
    old.close()


@pytest.mark.parametrize("name", [name for name in KEPT if name.startswith("spool-")])
async def test_an_old_shard_keeps_its_messages_and_goes_on_with_its_jobs(name: str, tmp_path: Path) -> None:
    written(tmp_path / "shards" / "00" / "spool.db", name)
    spool = open_spool(tmp_path, 0)
    done, later = accepted_of(1, 600), accepted_of(2, 600)
    assert await spool.body(done.message_id) == done.raw
    assert (await spool.message(done.message_id)).answers == {"d1": ("v=spf1 -all",)}
    (step,) = await spool.ledger(done.message_id)
    assert (step.action, step.result, step.data) == ("disk", "done", {"path": "/mail/1"})
    (job,) = await spool.claim(NOON, 5)
    assert (job.message_id, job.key, job.attempts) == (later.message_id, f"{later.message_id}/0/keep/1", 3)
    assert job.expires_at == NOON + timedelta(hours=4)
    rows = {row.id: (row.outcome, state) for row, state in await spool.find(HistoryQuery())}
    assert rows == {
        done.message_id: ("accepted", MessageState.DONE),
        later.message_id: ("accepted", MessageState.RETRYING),
        "s9.1": ("refused", None),
    }
    new = await spool.accept(accepted_of(3))
    assert new.id > job.id
    assert len(await spool.jobs(JobQuery())) == 2
    await spool.close()


def test_old_rule_books_and_subscriptions_are_what_they_were(tmp_path: Path) -> None:
    books = open_rule_books(written(tmp_path / "rules.db", "rules-1"))
    active = books.active()
    assert active is not None
    assert (active.digest, active.pinned, books.content("d" * 64)) == ("d" * 64, True, b"{}")
    books.close()
    for name in (name for name in KEPT if name.startswith("topics-")):
        topics = open_subscriptions(written(tmp_path / f"{name}.db", name))
        assert topics.of("arn:t", "https://a.example/", NOON).state is SubscriptionState.CONFIRMED
        topics.close()


@pytest.mark.parametrize("path", ["shards/00/spool.db", "rules.db", "topics.db"])
def test_a_file_of_a_later_release_is_refused_untouched(path: str, tmp_path: Path) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    later = sqlite3.connect(file)
    later.executescript("CREATE TABLE strange (x); PRAGMA user_version=99;")
    later.close()
    with pytest.raises(Permanent, match="format 99") if "shards" in path else nullcontext():
        asyncio.run(open_reader(tmp_path).find(HistoryQuery()))
    opening = {
        "shards/00/spool.db": lambda: open_spool(tmp_path, 0),
        "rules.db": lambda: open_rule_books(file),
        "topics.db": lambda: open_subscriptions(file),
    }
    with pytest.raises(Permanent, match=r"has format 99; this release reads format .* later release"):
        opening[path]()
    later = sqlite3.connect(file)
    assert tables_of(later).keys() == {"strange"}
    later.close()


def test_each_migration_runs_once_and_in_order(connection) -> None:
    OLD.bring_up(connection)
    connection.execute("INSERT INTO book VALUES ('first')")
    NEW.bring_up(connection)
    NEW.bring_up(connection)
    assert connection.execute("SELECT title, year FROM book").fetchall() == [("first", 1)]
    assert version_of(connection) == NEW.version == 3


def test_a_new_file_needs_no_migration(connection) -> None:
    NEW.bring_up(connection)
    assert version_of(connection) == 3
    assert len(tables_of(connection)) == 2


def test_a_migration_that_fails_leaves_the_format_before_it_whole(connection) -> None:
    OLD.bring_up(connection)
    connection.execute("INSERT INTO book VALUES ('first')")
    broken = Format(name="shelf", tables="", migrations=("ALTER TABLE book ADD COLUMN year; UPDATE shelf SET x = 1;",))
    with pytest.raises(sqlite3.OperationalError):
        broken.bring_up(connection)
    assert version_of(connection) == 1
    assert tables_of(connection) == {"book": {("title", "TEXT", 0, None, 0)}}
    NEW.bring_up(connection)
    assert connection.execute("SELECT title, year FROM book").fetchall() == [("first", 1)]
