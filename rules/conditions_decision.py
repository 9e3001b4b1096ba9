"""One rule asked about one message: for which recipients it holds, for which it cannot tell, and what it saw.

Conditions about the message are asked once; those about the recipient once for each. Every condition is asked, whatever the
others said, so that the trace is complete.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from mail.address import Mailbox
from mail.values import Value
from rules.conditions import Predicate, all_of, any_of
from rules.facts import Facts, Seen, shown
from rules.step import ConditionTrace

_SHOWN = 120


class Decision(Value, frozen=True, kw_only=True):
    """`taken` and `unknown` are among the recipients asked for, in order. `why` says what decided where not all were taken.

    `is_temporary`: what is unknown may be known later.
    """

    taken: tuple[Mailbox, ...]
    unknown: tuple[Mailbox, ...] = ()
    why: str = ""
    is_temporary: bool = False
    conditions: tuple[ConditionTrace, ...] = ()


def decide(
    when: Sequence[Predicate], unless: Sequence[Predicate], facts: Facts, recipients: tuple[Mailbox, ...]
) -> Decision:
    """Ask `when` (all must hold) and `unless` (any one prevents; unknown is unknown, not no)."""
    if not when and not unless:
        return Decision(taken=recipients)
    predicates = [*when, *unless]
    shared = [None if predicate.is_about_recipient else predicate.test(facts, None) for predicate in predicates]
    if None not in shared:
        rows = [[seen for seen in shared if seen is not None]]
        result = _result(rows[0], len(when))
        taken, unknown = (recipients if result else ()), (recipients if result is None else ())
    else:
        rows = [
            [seen or predicate.test(facts, mailbox) for seen, predicate in zip(shared, predicates, strict=True)]
            for mailbox in recipients
        ]
        results = [_result(row, len(when)) for row in rows]
        taken = tuple(mailbox for mailbox, result in zip(recipients, results, strict=True) if result)
        unknown = tuple(mailbox for mailbox, result in zip(recipients, results, strict=True) if result is None)
    return Decision(
        taken=taken,
        unknown=unknown,
        why="" if len(taken) == len(recipients) else _why(predicates, len(when), rows),
        is_temporary=bool(unknown) and any(seen.is_temporary for row in rows for seen in row),
        conditions=tuple(_traces(predicates, len(when), rows)),
    )


def _result(row: Sequence[Seen], when_count: int) -> bool | None:
    held = all_of(seen.result for seen in row[:when_count])
    prevented = any_of(seen.result for seen in row[when_count:])
    return all_of((held, None if prevented is None else not prevented))


def _text(predicates: Sequence[Predicate], number: int, when_count: int) -> str:
    return predicates[number].text if number < when_count else f"unless {predicates[number].text}"


def _why(predicates: Sequence[Predicate], when_count: int, rows: Sequence[Sequence[Seen]]) -> str:
    """The first condition that kept a recipient out; where none did for sure, the first that nobody can tell."""
    for sought in (True, False):
        for row in rows:
            if sought and _result(row, when_count) is not False:
                continue
            for number, seen in enumerate(row):
                decided = seen.result is (number >= when_count)
                if decided if sought else seen.result is None:
                    verb = ("holds" if number >= when_count else "does not hold") if decided else "cannot be told"
                    return f"{_text(predicates, number, when_count)} {verb} ({_brief(seen.saw)})"
    return ""


def _brief(saw: Any) -> str:
    if saw in (None, "", []):
        return "saw nothing"
    text = saw if isinstance(saw, str) else json.dumps(saw, ensure_ascii=False)
    return "saw " + (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _traces(
    predicates: Sequence[Predicate], when_count: int, rows: Sequence[Sequence[Seen]]
) -> Iterable[ConditionTrace]:
    """One trace for each condition; for one about recipients, one for each answer, with all that it saw there."""
    for number, predicate in enumerate(predicates):
        text = _text(predicates, number, when_count)
        if not predicate.is_about_recipient:
            yield ConditionTrace(condition=text, saw=rows[0][number].saw, result=rows[0][number].result)
            continue
        seen_by_result: dict[bool | None, list[Any]] = {}
        for row in rows:
            seen_by_result.setdefault(row[number].result, []).append(row[number].saw)
        for result, saw in seen_by_result.items():
            yield ConditionTrace(condition=text, saw=shown(saw), result=result)
