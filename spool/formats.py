"""What the SQLite files of the state directory look like, by number, and how one of an earlier release becomes one of this.

`PRAGMA user_version` holds the number of a file's format. A change of the tables adds one migration: its statements turn a file
of the format before into the next, in one transaction together with the new number, so that a crash leaves the one or the other.
A file of a later release is refused before anything is read from it: what it holds may not mean what this release takes it for.
"""

import sqlite3
from dataclasses import dataclass

from mail.errors import Permanent


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of file. `tables` make a new one; `migrations[n]` turns format n + 1 into n + 2, statements parted by semicolons."""

    name: str
    tables: str
    migrations: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        return 1 + len(self.migrations)

    def check(self, found: int) -> None:
        """`Permanent`: the file is of a later release."""
        if found > self.version:
            raise Permanent(
                f"the {self.name} has format {found}; this release reads format {self.version}: it is of a later release,"
                " run that one, or restore a backup of before"
            )

    def bring_up(self, connection: sqlite3.Connection) -> None:
        """Make the tables of a new file, or bring an old one up, one transaction a step. `Permanent`: it is of a later release."""
        found = version_of(connection)
        self.check(found)
        if found == 0:
            self._step(connection, self.tables, 0, self.version)
        for step in range(max(1, found), self.version if found else 0):
            self._step(connection, self.migrations[step - 1], step, step + 1)

    def _step(self, connection: sqlite3.Connection, statements: str, before: int, after: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process that opens the same file may have been quicker.
            if version_of(connection) == before:
                for statement in filter(str.strip, statements.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={after}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def version_of(connection: sqlite3.Connection) -> int:
    """The number of the file's format; 0: it is new."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)
