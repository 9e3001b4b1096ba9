"""Which recipients of a storing action are one step together (semantics.md §4: its idempotency key ends in /recipient).

A key that names the recipient gives one object for each value that the template tells apart, and each object is a step of its
own: stored, recorded and retried by itself. All others are one step for all recipients.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from mail.address import Mailbox
from mail.errors import Malformed
from rules.model import ActionSpec
from rules.object_keys import MATCH, RECIPIENT, names_in, parse_template

STORING = frozenset({"disk", "s3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """`part` is the first recipient; "" where there is one unit for all. `captured` is what `{match.NAME}` stands for in it."""

    recipients: tuple[Mailbox, ...]
    part: str = ""
    captured: tuple[tuple[str, str], ...] = ()


def units_of(
    spec: ActionSpec, recipients: tuple[Mailbox, ...], captured: Callable[[Mailbox], Mapping[str, str]] | None
) -> tuple[Unit, ...]:
    """At least one, in the order of their first recipients. `captured` None: the rule captures nothing."""
    if spec.type not in STORING:
        return (Unit(recipients=recipients),)
    prefix = str(spec.parameters.get("object_key_prefix") or "")
    telling = _telling(prefix)
    if captured is None and not any(name.startswith(RECIPIENT) for name in telling):
        return (Unit(recipients=recipients),)
    found: dict[tuple[str, ...], list[Mailbox]] = {}
    held: dict[tuple[str, ...], Mapping[str, str]] = {}
    for mailbox in recipients:
        groups = {} if captured is None else captured(mailbox)
        key = tuple(_value(name, mailbox, groups) for name in telling)
        found.setdefault(key, []).append(mailbox)
        held.setdefault(key, groups)
    is_one = len(found) == 1 and not any(name.startswith(RECIPIENT) for name in telling)
    return tuple(
        Unit(
            recipients=tuple(mailboxes),
            part="" if is_one else str(mailboxes[0]),
            captured=tuple(sorted(held[key].items())),
        )
        for key, mailboxes in found.items()
    )


def recipient_value(name: str, mailbox: Mailbox) -> str:
    """What `{recipient.…}` stands for; "" for a label that is not there."""
    part = name.removeprefix(RECIPIENT)
    return str(mailbox) if part == "address" else str(getattr(mailbox, part) or "")


@lru_cache(maxsize=1024)
def _telling(prefix: str) -> tuple[str, ...]:
    """The placeholders whose values may differ between recipients."""
    if "{" not in prefix:
        return ()
    try:
        names = names_in(parse_template(prefix))
    except Malformed:
        return ()  # it becomes a template when the environment has filled it in; until then it tells nobody apart
    return tuple(sorted(name for name in names if name.startswith((RECIPIENT, MATCH))))


def _value(name: str, mailbox: Mailbox, groups: Mapping[str, str]) -> str:
    return recipient_value(name, mailbox) if name.startswith(RECIPIENT) else groups.get(name.removeprefix(MATCH), "")
