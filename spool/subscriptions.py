"""Subscriptions of local topics: who was asked, confirmed or left, in one small SQLite file for all workers (SES: SNS action).

A subscriber that the rule book names begins as pending with a secret token; whoever shows the token confirms it, whoever knows its
ARN ends it. Both are unguessable. Each call is one short transaction that blocks for one small commit.

*Failure.* `Broken` when the file fails; `Full` when there is no room.
"""

import contextlib
import secrets
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from spool.formats import Format
from spool.ports import Broken, Full
from spool.schema import create_private, is_full, micros, moment

_TABLES = """
CREATE TABLE subscription (
    topic_arn TEXT NOT NULL, url TEXT NOT NULL, arn TEXT NOT NULL UNIQUE, state TEXT NOT NULL, token TEXT NOT NULL UNIQUE,
    token_at INTEGER NOT NULL, asked_at INTEGER, guarded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (topic_arn, url));
"""
_FROM_1 = "ALTER TABLE subscription ADD COLUMN guarded INTEGER NOT NULL DEFAULT 0"
SUBSCRIPTIONS = Format(name="file of subscriptions", tables=_TABLES, migrations=(_FROM_1,))
_COLUMNS = "topic_arn, url, arn, state, token, token_at, asked_at, guarded"
TOKEN_LIFE = timedelta(days=3)  # SNS: a confirmation token is good for three days

_Row = tuple[str, str, str, str, str, int, int | None, int]


class SubscriptionState(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """`url` is the endpoint, a queue's too. `asked_at` is when its subscriber was last asked to confirm it; None: never.

    `guarded`: whoever knows its ARN may not end it (SNS: AuthenticateOnUnsubscribe).
    """

    topic_arn: str
    url: str
    arn: str
    state: SubscriptionState
    token: str
    token_at: datetime
    asked_at: datetime | None
    guarded: bool = False


class Subscriptions:
    """`open_subscriptions` makes it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def of(self, topic_arn: str, url: str, now: datetime) -> Subscription:
        """The subscription of this URL, made pending if there is none."""
        found = self._find("topic_arn = ? AND url = ?", topic_arn, url)
        if found is not None:
            return found
        with self._changing() as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO subscription ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, 0)",  # noqa: S608
                (topic_arn, url, f"{topic_arn}:{uuid.uuid4()}", "pending", secrets.token_hex(64), micros(now)),
            )
        found = self._find("topic_arn = ? AND url = ?", topic_arn, url)
        if found is None:
            raise Broken("a subscription is gone that was just made")
        return found

    def ask(self, subscription: Subscription, now: datetime, *, at_least_apart: timedelta) -> Subscription | None:
        """Take it on oneself to ask its subscriber now, with a fresh token if the old one is too old.

        None: it was asked too short a time ago, or is not pending. The time is kept before anybody is asked.
        """
        token, token_at = subscription.token, subscription.token_at
        if now - token_at >= TOKEN_LIFE:
            token, token_at = secrets.token_hex(64), now
        with self._changing() as connection:
            changed = connection.execute(
                "UPDATE subscription SET asked_at = ?, token = ?, token_at = ? WHERE arn = ? AND state = 'pending'"
                " AND (asked_at IS NULL OR asked_at <= ?)",
                (micros(now), token, micros(token_at), subscription.arn, micros(now - at_least_apart)),
            ).rowcount
        return self._find("arn = ?", subscription.arn) if changed else None

    def confirm(self, topic_arn: str, token: str, now: datetime, *, guarded: bool = False) -> Subscription | None:
        """The subscription that this token confirms, now or again; None for a token that is unknown or too old.

        What is guarded stays so: the same token, shown again by another, takes nothing back.
        """
        found = self._find("topic_arn = ? AND token = ?", topic_arn, token)
        if found is None or now - found.token_at >= TOKEN_LIFE:
            return None
        with self._changing() as connection:
            connection.execute(
                "UPDATE subscription SET state = 'confirmed', guarded = max(guarded, ?) WHERE arn = ?",
                (int(guarded), found.arn),
            )
        return self._find("arn = ?", found.arn)

    def end(self, arn: str, now: datetime) -> Subscription | None:
        """End it; its new token would take that back. None: there is none such. One that is guarded stays as it is."""
        with self._changing() as connection:
            connection.execute(
                "UPDATE subscription SET state = 'ended', token = ?, token_at = ? WHERE arn = ?"
                " AND state <> 'ended' AND guarded = 0",
                (secrets.token_hex(64), micros(now), arn),
            )
        return self._find("arn = ?", arn)

    def renew(self, topic_arn: str, url: str, now: datetime) -> Subscription:
        """Begin again with one that had ended; any other stays as it is."""
        subscription = self.of(topic_arn, url, now)
        if subscription.state is not SubscriptionState.ENDED:
            return subscription
        with self._changing() as connection:
            connection.execute(
                "UPDATE subscription SET state = 'pending', asked_at = NULL WHERE arn = ?", (subscription.arn,)
            )
        return self.of(topic_arn, url, now)

    def close(self) -> None:
        self._connection.close()

    def _find(self, where: str, *values: str) -> Subscription | None:
        try:
            row: _Row | None = self._connection.execute(
                f"SELECT {_COLUMNS} FROM subscription WHERE {where}",  # noqa: S608
                values,
            ).fetchone()
        except sqlite3.Error as error:
            raise Broken(f"the subscriptions failed: {error}") from error
        return None if row is None else _subscription(row)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise (Full if is_full(error) else Broken)(f"the subscriptions failed: {error}") from error


def _subscription(row: _Row) -> Subscription:
    topic_arn, url, arn, state, token, token_at, asked_at, guarded = row
    return Subscription(
        topic_arn=topic_arn,
        url=url,
        arn=arn,
        state=SubscriptionState(state),
        token=token,
        token_at=moment(token_at),
        asked_at=None if asked_at is None else moment(asked_at),
        guarded=bool(guarded),
    )


def open_subscriptions(path: Path | None) -> Subscriptions:
    """The file's, made 0600 if it is not there; None: in memory. `Permanent`: the file is of a later release."""
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path)
    try:
        connection = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=10.0, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        try:
            SUBSCRIPTIONS.bring_up(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise Broken(f"the subscriptions cannot be opened: {error}") from error
    return Subscriptions(connection)
