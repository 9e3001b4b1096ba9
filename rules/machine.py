"""The rule machine: a message's walk through its rule set as a value (house: the rule machine; SES: receipt rule evaluation).

Theory of operation. Only rules that want some recipient are candidates; the walk takes them in order. A candidate is asked when
the walk reaches it, over the facts as they are then (with the fields that add_header steps before it put on top) and over those
of its recipients that no stop or drop has taken away. If it takes any, its actions are the next steps; then the walk goes on.

`step` says what to do next, `advance` takes what came of it and returns a new value: with assumed outcomes this is explain and
disposition, with recorded ones replay and recovery, with live ones the runner. Only the outcome of a step that holds the walk
(`Step.holds`) has a say in what follows, so that a step which retries on its own can never contradict what has run since. What
add_header, stop and drop do to the walk is the machine's own doing, whatever becomes of their step.

An attempt that failed and will be repeated (FAILED; RETRYING where the step holds) moves nothing.
"""

from collections.abc import Iterable, Iterator

from mail.address import Mailbox
from mail.outcome import Control, Outcome, Result
from mail.receipt import Receipt
from mail.values import Value, changed
from rules import reasons
from rules.captures import captured
from rules.compiled import CompiledBook, CompiledRule
from rules.conditions_decision import Decision
from rules.facts import Facts
from rules.model import ActionSpec
from rules.step import RuleTrace, Step, StepTrace, is_answering

EFFECTLESS = ("add_header", "stop")  # they change the walk and nothing in the world
_HANDLING = (Result.DONE, Result.RETRYING, Result.WOULD_RUN)


class Decided(Value, frozen=True, kw_only=True):
    """One candidate that the walk has reached, with its decision; None where it was not asked."""

    trace: RuleTrace
    decision: Decision | None = None


class Evaluation(Value, frozen=True, kw_only=True):
    """Where a walk stands. Made by `start`; never changed, only advanced."""

    compiled: CompiledBook
    receipt: Receipt
    evaluation: int
    facts: Facts
    wanted: dict[int, tuple[Mailbox, ...]]  # candidate -> the recipients it wants
    candidates: tuple[int, ...]
    cursor: int = 0  # the candidate whose steps are running, or that is to be asked next
    action: int = 0  # the action of it that runs now
    taken: tuple[Mailbox, ...] = ()  # its recipients, while it runs
    gone: frozenset[Mailbox] = frozenset()  # recipients whose evaluation has ended
    ended_by: str = ""  # the rule that ended the evaluation for the whole message
    added: tuple[tuple[str, str], ...] = ()
    decided: tuple[Decided, ...] = ()
    steps: tuple[StepTrace, ...] = ()
    step: Step | None = None
    rest: tuple[Step, ...] = ()  # the further steps of the same action, for other recipients

    @classmethod
    def start(cls, compiled: CompiledBook, receipt: Receipt, *, evaluation: int = 0) -> "Evaluation":
        wanted = compiled.wanting(receipt.envelope.mailboxes)
        return cls(
            compiled=compiled,
            receipt=receipt,
            evaluation=evaluation,
            facts=Facts.of(receipt),
            wanted=wanted,
            candidates=tuple(wanted),
        )._settled()

    @property
    def is_finished(self) -> bool:
        return self.step is None

    @property
    def handled(self) -> bool:
        """Whether anything was done with the message, or is being tried: add_header and stop alone leave it unhandled."""
        return any(trace.step.spec.type not in EFFECTLESS and trace.outcome.result in _HANDLING for trace in self.steps)

    @property
    def rules(self) -> tuple[RuleTrace, ...]:
        """Each rule of the set once, in order, when the walk is finished; until then those that it has reached."""
        reached = {self.candidates[number]: one.trace for number, one in enumerate(self.decided)}
        if not self.is_finished:
            return tuple(reached.values())
        return tuple(reached.get(rule.position) or self._never_reached(rule) for rule in self.compiled.rules)

    def advance(self, outcome: Outcome) -> "Evaluation":
        """The walk after this outcome of `step`."""
        step = self.step
        if step is None:
            raise ValueError("the walk is finished")
        if outcome.result is Result.FAILED or (outcome.result is Result.RETRYING and step.holds):
            return self
        steps = (*self.steps, StepTrace(step=step, outcome=outcome))
        if self.rest and not _ends_all(step, outcome):
            following = changed(self.rest[0], position=len(steps))
            return changed(self, step=following, rest=self.rest[1:], steps=steps)
        moved = changed(self, step=None, rest=(), action=self.action + 1, steps=steps)
        return moved._after(step, outcome)._settled()

    def released(self, evaluation: int) -> "Evaluation":
        """A walk of its own for the recipients of the last step, from behind its rule, over the facts as they were then."""
        step = self.steps[-1].step
        position = next(rule.position for rule in self.compiled.rules if rule.rule.name == step.rule)
        wanted = {
            number: tuple(mailbox for mailbox in mailboxes if mailbox in step.recipients)
            for number, mailboxes in self.wanted.items()
            if number > position
        }
        wanted = {number: mailboxes for number, mailboxes in wanted.items() if mailboxes}
        return changed(
            self,
            evaluation=evaluation,
            wanted=wanted,
            candidates=tuple(wanted),
            cursor=0,
            action=0,
            taken=(),
            gone=frozenset(),
            ended_by="",
            decided=(),
            steps=(),
            step=None,
        )._settled()

    def _after(self, step: Step, outcome: Outcome) -> "Evaluation":
        """What a step that holds changes: the recipients, the facts, or the rest of the walk."""
        spec = step.spec
        if _ends_all(step, outcome):
            return changed(self, ended_by=step.rule, taken=())
        if spec.type in ("stop", "drop", "quarantine"):
            return changed(self, gone=self.gone | frozenset(step.recipients), taken=())
        if is_answering(spec) and outcome.control is Control.STOP_RULE:
            return changed(self, taken=())
        if spec.type == "add_header" and outcome.result is not Result.DEAD:  # what can be no field stands nowhere
            name, value = added_field(spec)
            return changed(self, added=(*self.added, (name, value)), facts=self.facts.with_field(name, value))
        return self

    def _settled(self) -> "Evaluation":
        """Walk on to the next step, or to the end, asking each candidate on the way."""
        cursor, action, taken, decided = self.cursor, self.action, self.taken, list(self.decided)
        step: Step | None = None
        rest: tuple[Step, ...] = ()
        while not self.ended_by and cursor < len(self.candidates):
            rule = self.compiled.rules[self.candidates[cursor]]
            if len(decided) == cursor:
                decided.append(self._asked(rule))
                taken = decided[-1].trace.recipients
            if taken and action < len(rule.rule.actions):
                step, *more = self._steps(rule, action, taken)
                rest = tuple(more)
                break
            cursor, action, taken = cursor + 1, 0, ()
        return changed(self, cursor=cursor, action=action, taken=taken, decided=tuple(decided), step=step, rest=rest)

    def _asked(self, rule: CompiledRule) -> Decided:
        wanted = self.wanted[rule.position]
        recipients = tuple(mailbox for mailbox in wanted if mailbox not in self.gone) if self.gone else wanted
        name = rule.rule.name
        if not recipients:
            return Decided(trace=RuleTrace(name=name, matched=False, reason=reasons.ENDED_FOR_ALL))
        if rule.rule.tls_policy == "Require" and self.receipt.client.tls is None:
            return Decided(trace=RuleTrace(name=name, matched=False, reason=reasons.NO_TLS))
        decision = rule.decide(self.facts, recipients)
        taken = decision.taken
        if decision.unknown and rule.rule.on_unknown == "match":
            chosen = {*decision.taken, *decision.unknown}
            taken = tuple(mailbox for mailbox in recipients if mailbox in chosen)
        trace = RuleTrace(
            name=name,
            matched=True if decision.taken else None if decision.unknown else False,
            reason=reasons.decided(rule.rule, decision, taken) + self._captures(rule, taken),
            conditions=decision.conditions,
            recipients=taken,
        )
        return Decided(trace=trace, decision=decision)

    def _captures(self, rule: CompiledRule, taken: tuple[Mailbox, ...]) -> str:
        if not rule.captures:
            return ""
        return reasons.captures([captured(rule.captures, self.facts, mailbox) for mailbox in taken])

    def _steps(self, rule: CompiledRule, action: int, taken: tuple[Mailbox, ...]) -> Iterator[Step]:
        """An action's steps: one, or one for each object that it stores."""
        spec = rule.rule.actions[action]
        for unit in rule.units(spec, self.facts, taken):
            yield Step(
                message_id=self.receipt.message_id,
                evaluation=self.evaluation,
                rule=rule.rule.name,
                index=action,
                position=len(self.steps),
                spec=spec,
                recipients=unit.recipients,
                scanned=rule.scanned,
                added=self.added,
                on_failure=rule.rule.failure_policy(spec),
                ordered=rule.rule.ordered,
                part=unit.part,
                captured=unit.captured,
            )

    def _never_reached(self, rule: CompiledRule) -> RuleTrace:
        return RuleTrace(
            name=rule.rule.name,
            matched=False,
            reason=reasons.never_reached(rule.rule, self.ended_by if rule.position in self.wanted else ""),
        )


def _ends_all(step: Step, outcome: Outcome) -> bool:
    """Whether this outcome ends the evaluation for the whole message (SES: STOP_RULE_SET; semantics.md §3 and §4)."""
    if step.on_failure == "stop" and outcome.result is Result.DEAD:
        return True
    if step.spec.type == "stop":
        return stops_rule_set(step.spec)
    return is_answering(step.spec) and outcome.control is Control.STOP_RULE_SET


def stops_rule_set(spec: ActionSpec) -> bool:
    return bool(spec.type == "stop" and spec.parameters.get("scope", "RuleSet") == "RuleSet")


def added_field(spec: ActionSpec) -> tuple[str, str]:
    """Name and value of an add_header action's field, `${NAME}` unresolved."""
    return spec.parameters["header_name"], spec.parameters["header_value"]


def replay(compiled: CompiledBook, receipt: Receipt, outcomes: Iterable[Outcome], *, evaluation: int = 0) -> Evaluation:
    """The walk after these outcomes, the recorded ones in order; outcomes behind the end of the walk are left over."""
    at = Evaluation.start(compiled, receipt, evaluation=evaluation)
    for outcome in outcomes:
        if at.is_finished:
            break
        at = at.advance(outcome)
    return at


def walk(start: Evaluation, outcome: Outcome) -> Iterator[Evaluation]:
    """Every state from `start` to the end of the walk, each step having this outcome."""
    at = start
    yield at
    while not at.is_finished:
        at = at.advance(outcome)
        yield at
