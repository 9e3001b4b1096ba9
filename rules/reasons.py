"""Why a rule ran or did not, as a sentence for its owner."""

from collections.abc import Mapping, Sequence

from mail.address import Mailbox
from rules.conditions_decision import Decision
from rules.facts import shown
from rules.model import Rule

ENDED_FOR_ALL = "not asked: the evaluation had ended for every recipient that it wants"
NO_TLS = "it requires TLS and the message came without"
_SHOWN = 3


def decided(rule: Rule, decision: Decision, taken: tuple[Mailbox, ...]) -> str:
    """The reason of a rule that was asked."""
    if not decision.unknown:
        return _took(taken, decision.why) if taken else decision.why
    fate = {
        "match": "on_unknown: match, so it runs",
        "skip": "on_unknown: skip, so it does not run",
    }.get(rule.on_unknown or "", "it does not run for them once the message is accepted")
    unknown = f"cannot tell for {_names(decision.unknown)}: {decision.why}; {fate}"
    return f"{_took(decision.taken, '')}; {unknown}" if decision.taken else unknown


def captures(found: Sequence[Mapping[str, str]]) -> str:
    """What templates of the rule get, by recipient, behind its reason; "" where nothing is captured."""
    by_name: dict[str, dict[str, None]] = {}
    for groups in found:
        for name, text in sorted(groups.items()):
            by_name.setdefault(name, {})[text] = None
    told = (f"match.{name} is {_names([shown([text]) for text in texts])}" for name, texts in by_name.items())
    return "".join(f"; {each}" for each in told)


def _took(taken: tuple[Mailbox, ...], why: str) -> str:
    return f"takes {_names(taken)}; for others {why}" if why else f"takes {_names(taken)}"


def never_reached(rule: Rule, ended_by: str) -> str:
    """The reason of a rule that the walk did not come to; `ended_by` names the rule that ended it, if this one was a candidate."""
    if not rule.enabled:
        return "the rule is disabled"
    if ended_by:
        return f"not reached: rule {ended_by} ended the evaluation"
    return f"no recipient matches: it wants {_names(rule.recipients)}" if rule.recipients else "no recipient is ours"


def _names(named: Sequence[Mailbox | str]) -> str:
    shown = ", ".join(str(one) for one in named[:_SHOWN])
    return shown if len(named) <= _SHOWN else f"{shown} and {len(named) - _SHOWN} more"
