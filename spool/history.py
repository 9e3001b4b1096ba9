"""History: one row per SMTP transaction, refused ones too, and how find looks through them (semantics.md §8).

Text matches as case-insensitive substrings. A term of ASCII letters is compared with ASCII folding, which SQLite does by itself;
any other with Unicode's. `matches` is the meaning; the statement that `find` builds agrees with it (the contract suite compares).
"""

import sqlite3
from collections.abc import Iterable

from mail.errors import Malformed
from mail.outcome import Result
from mail.values import changed
from spool.ports import ERASED, HistoryQuery, HistoryRow, LedgerRow, MessageState
from spool.schema import INDEXED_STATES, micros, moment, storable

TRANSACTION_OUTCOMES = ("accepted", "refused", "deferred", "aborted")

STEP_OUTCOMES: dict[str, tuple[tuple[str, ...], tuple[Result, ...]]] = {
    "stored": (("disk", "s3"), (Result.DONE,)),
    "bounced": (("bounce",), (Result.DONE,)),
    "dropped": (("drop",), (Result.DONE,)),
    "failed": ((), (Result.FAILED, Result.DEAD)),
    "skipped": ((), (Result.SKIPPED,)),
    "unmapped": ((), (Result.UNMAPPED,)),
}
"""Words for a message by its ledger: (actions, or any; results) of which one row must be."""

UNSCANNED = "unscanned: "
"""A row's detail begins so where a message went on without a scan that was wanted; `unscanned` is the word that finds them."""

OUTCOMES = (*TRANSACTION_OUTCOMES, *(state.value for state in MessageState), *STEP_OUTCOMES, "unscanned")
"""Every word that `HistoryQuery.outcome` may be."""

COLUMNS = "id, at, session, client_ip, helo, mail_from, rcpt_to, phase, outcome, reply, subject, header_from, size, by, detail"
INSERT = (
    f"INSERT INTO history ({COLUMNS}, state, evaluation, rule_book)"  # noqa: S608
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LOG = f"{INSERT} ON CONFLICT DO NOTHING"

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def check_outcome(word: str | None) -> None:
    if word is not None and word not in OUTCOMES:
        raise Malformed(f"no outcome is called {word}; there are {', '.join(OUTCOMES)}")


def cleaned(row: HistoryRow) -> HistoryRow:
    """The row as it can be stored."""
    texts = (row.helo, row.mail_from or "", *row.rcpt_to, row.reply, row.subject, row.header_from, row.by, row.detail)
    if "".join(texts).isascii():
        return row
    return changed(
        row,
        helo=storable(row.helo),
        mail_from=None if row.mail_from is None else storable(row.mail_from),
        rcpt_to=tuple(map(storable, row.rcpt_to)),
        reply=storable(row.reply),
        subject=storable(row.subject),
        header_from=storable(row.header_from),
        by=storable(row.by),
        detail=storable(row.detail),
    )


def emptied(row: HistoryRow) -> HistoryRow:
    """What stays of a row whose persons are forgotten: how many came, when and how large is nobody's personal data."""
    blank = changed(row, client_ip="", helo="", mail_from=None, rcpt_to=(), reply="")
    return changed(blank, subject="", header_from="", detail=ERASED)


def row_values(row: HistoryRow) -> tuple[str | int | None, ...]:
    """The row's columns up to `detail`. Addresses hold no line feed, so one parts them."""
    row = cleaned(row)
    who = (row.id, micros(row.at), row.session, row.client_ip, row.helo, row.mail_from, "\n".join(row.rcpt_to))
    return (*who, row.phase, row.outcome, row.reply, row.subject, row.header_from, row.size, row.by, row.detail)


def log(connection: sqlite3.Connection, row: HistoryRow) -> None:
    connection.execute(_LOG, (*row_values(row), None, 0, ""))


def find(connection: sqlite3.Connection, query: HistoryQuery) -> list[tuple[HistoryRow, MessageState | None]]:
    """Newest first. `connection` gets the function that folds beyond ASCII."""
    connection.create_function("fold", 1, lambda text: text.lower(), deterministic=True)
    terms = ["1"]
    values: list[str | int] = []
    for column, term in _texts(query):
        fold = "lower" if term.isascii() else "fold"
        terms.append(f"instr({fold}(ifnull({column}, '')), ?) > 0")
        values.append(_fold(term, term))
    if query.since is not None:
        terms.append("at >= ?")
        values.append(micros(query.since))
    if query.until is not None:
        terms.append("at < ?")
        values.append(micros(query.until))
    if query.outcome is not None:
        term, more = _outcome_term(query.outcome)
        terms.append(term)
        values.extend(more)
    rows = connection.execute(
        f"SELECT {COLUMNS}, state FROM history WHERE {' AND '.join(terms)} ORDER BY at DESC, seq DESC LIMIT ?",  # noqa: S608
        (*values, query.limit),
    )
    return [found_row(*row) for row in rows]


def _outcome_term(word: str) -> tuple[str, list[str]]:
    check_outcome(word)
    if word in TRANSACTION_OUTCOMES:
        # Written out, because a partial index is used only where the planner sees that its own term holds.
        return (f"outcome = '{word}'" if word == "accepted" else f"outcome = '{word}' AND outcome <> 'accepted'"), []
    if word == "unscanned":
        return "instr(detail, ?) = 1", [UNSCANNED]
    if word not in STEP_OUTCOMES:
        return f"state = '{word}'" + (f" AND state IN ({INDEXED_STATES})" if f"'{word}'" in INDEXED_STATES else ""), []
    actions, results = STEP_OUTCOMES[word]
    term = f"l.result IN ({', '.join('?' * len(results))})"
    if actions:
        term += f" AND l.action IN ({', '.join('?' * len(actions))})"
    return f"EXISTS (SELECT 1 FROM ledger l WHERE l.message_id = history.id AND {term})", [*results, *actions]  # noqa: S608


def matches(query: HistoryQuery, row: HistoryRow, state: MessageState | None, ledger: Iterable[LedgerRow]) -> bool:
    """What find means, for one row."""
    if query.since is not None and row.at < query.since:
        return False
    if query.until is not None and row.at >= query.until:
        return False
    held = {"mail_from": row.mail_from or "", "client_ip": row.client_ip, "subject": row.subject}
    held["rcpt_to"] = "\n".join(row.rcpt_to)
    if not all(_fold(term, term) in _fold(held[column], term) for column, term in _texts(query)):
        return False
    if query.outcome is None or query.outcome in TRANSACTION_OUTCOMES:
        return query.outcome in (None, row.outcome)
    if query.outcome == "unscanned":
        return row.detail.startswith(UNSCANNED)
    if query.outcome in STEP_OUTCOMES:
        actions, results = STEP_OUTCOMES[query.outcome]
        return any(step.result in results and (not actions or step.action in actions) for step in ledger)
    return state is not None and query.outcome == state.value


def _texts(query: HistoryQuery) -> list[tuple[str, str]]:
    terms = {"mail_from": query.mail_from, "rcpt_to": query.rcpt_to, "client_ip": query.ip, "subject": query.subject}
    return [(column, storable(term)) for column, term in terms.items() if term]


def _fold(text: str, term: str) -> str:
    return text.translate(_ASCII_LOWER) if term.isascii() else text.lower()


def found_row(*columns: str) -> tuple[HistoryRow, MessageState | None]:
    (
        number,
        at,
        session,
        client_ip,
        helo,
        mail_from,
        rcpt_to,
        phase,
        outcome,
        reply,
        subject,
        header_from,
        size,
        by,
        detail,
        state,
    ) = columns
    row = HistoryRow(
        id=number,
        session=session,
        at=moment(int(at)),
        client_ip=client_ip,
        helo=helo,
        mail_from=mail_from,
        rcpt_to=tuple(rcpt_to.split("\n")) if rcpt_to else (),
        phase=phase,
        outcome=outcome,
        reply=reply,
        subject=subject,
        header_from=header_from,
        size=int(size),
        by=by,
        detail=detail,
    )
    return row, None if state is None else MessageState(state)
