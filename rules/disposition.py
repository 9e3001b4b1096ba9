"""What to answer before the promise: at RCPT for one recipient, at the end of DATA for the message (semantics.md §2 and §3).

Both walk the machine ahead of time and answer only what no outcome can change, so an early refusal is never contradicted. The walk
is sure up to the first thing that may change its course: a function that may answer STOP, a step whose death would end it
(`on_failure: stop`), or a rule that nobody can tell and whose actions would change what follows.
"""

from dataclasses import dataclass

from mail.address import Mailbox
from mail.client import Client
from mail.outcome import Outcome, Result
from mail.reply import UNHANDLED_REJECTED, VERDICT_UNAVAILABLE, Reply, reply_from
from rules.compiled import CompiledBook, CompiledRule
from rules.conditions_decision import Decision
from rules.facts import Facts
from rules.machine import EFFECTLESS, Evaluation, walk
from rules.model import ActionSpec
from rules.step import Disposition, Step, is_answering

_ASSUMED = Outcome(result=Result.WOULD_RUN)
_LAST = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounced:
    reply: Reply
    rule: str


def disposition(start: Evaluation) -> Disposition:
    """What to answer to DATA; `start` is where the message's walk begins.

    Defer where a reached rule is unknown and its `on_unknown` says so, or where a 4xx Bounce decides for some recipient: a
    temporary refusal is never made a permanent one by another recipient's. Reject where every recipient is sure to be bounced.
    """
    *_, end = walk(start, _ASSUMED)
    deferring = _first_deferring(end)
    if deferring:
        return Disposition(kind="defer", reply=VERDICT_UNAVAILABLE, rule=deferring, runs_on=False)
    bounced = _surely_bounced(end)
    if bounced and len(bounced) == len(start.receipt.envelope.recipients):
        transient = next((one for one in bounced.values() if one.reply.is_transient), None)
        if transient:
            return Disposition(kind="defer", reply=transient.reply, rule=transient.rule, runs_on=False)
        first = next(iter(bounced.values()))
        return Disposition(kind="reject", reply=first.reply, rule=first.rule, runs_on=_runs_on(end))
    if start.compiled.book.on_unhandled == "reject" and _is_surely_unhandled(end):
        return Disposition(kind="unhandled-reject", reply=UNHANDLED_REJECTED, runs_on=_runs_on(end))
    return Disposition(kind="accept")


def _decisions(end: Evaluation) -> list[tuple[CompiledRule, Decision]]:
    """The rules that were asked, by candidate; those that were not asked decided nothing."""
    return [
        (end.compiled.rules[position], one.decision)
        for position, one in zip(end.candidates, end.decided, strict=False)
        if one.decision is not None
    ]


def _first_deferring(end: Evaluation) -> str:
    for rule, decision in _decisions(end):
        policy = rule.rule.on_unknown
        if decision.unknown and (policy == "defer" or (policy is None and decision.is_temporary)):
            return rule.rule.name
    return ""


def _surely_bounced(end: Evaluation) -> dict[Mailbox, _Bounced]:
    """The first Bounce of each recipient that is bounced on every path, in the order of the walk."""
    if not any(trace.step.spec.type == "bounce" for trace in end.steps):
        return {}
    positions = {rule.rule.name: rule.position for rule, _ in _decisions(end)}
    sure_until = min(
        ((rule.position, _LAST) for rule, decision in _decisions(end) if decision.unknown and rule.can_change_course),
        default=(_LAST, _LAST),
    )
    bounced: dict[Mailbox, _Bounced] = {}
    for trace in end.steps:
        step = trace.step
        place = (positions[step.rule], step.index)
        if place > sure_until:
            break
        if step.spec.type == "bounce":
            for mailbox in step.recipients:
                bounced.setdefault(mailbox, _Bounced(reply=bounce_reply(step.spec), rule=step.rule))
        if _may_end_walk(step):
            break
    return bounced


def _may_end_walk(step: Step) -> bool:
    return step.on_failure == "stop" or is_answering(step.spec)


def bounce_reply(spec: ActionSpec) -> Reply:
    """A Bounce action's codes and text as a reply."""
    parameters = spec.parameters
    return reply_from(parameters["smtp_reply_code"], parameters.get("status_code"), parameters["message"])


def _is_surely_unhandled(end: Evaluation) -> bool:
    """Nothing that was reached acts on the message, and no rule that might have was left out for want of knowledge."""
    return all(trace.step.spec.type in EFFECTLESS for trace in end.steps) and not any(
        decision.unknown for _, decision in _decisions(end)
    )


def _runs_on(end: Evaluation) -> bool:
    """Whether anything is left to do after the refusal: the reply replaces the bounce message and nothing else."""
    return any(
        trace.step.spec.type not in (*EFFECTLESS, "bounce") or trace.step.spec.parameters.get("topic_arn")
        for trace in end.steps
    )


def at_rcpt(
    compiled: CompiledBook, client: Client, reverse_path: Mailbox | None, declared_size: int | None, mailbox: Mailbox
) -> Disposition | None:
    """The Bounce that decides for this recipient alone, from what is known at RCPT; kind reject (5xx) or defer (4xx).

    None as soon as a rule before it might take the recipient out of its course, bounce it otherwise, or do anything with the
    message (a copy that is stored before the Bounce would be lost if RCPT were refused): then DATA decides.
    """
    # A size of 0 is what clients declare that do not know it.
    facts = Facts(client=client, reverse_path=reverse_path, size=declared_size or None)
    for position in compiled.wanting((mailbox,)):
        rule = compiled.rules[position]
        if rule.rule.tls_policy == "Require" and client.tls is None:
            continue
        decision = rule.decide(facts, (mailbox,))
        if not decision.taken and not decision.unknown:
            continue
        for spec in rule.rule.actions:
            if spec.type == "add_header":
                continue
            if spec.type != "bounce" or decision.unknown:
                return None
            reply = bounce_reply(spec)
            kind = "defer" if reply.is_transient else "reject"
            return Disposition(kind=kind, reply=reply, rule=rule.rule.name, runs_on=False)
    return None
