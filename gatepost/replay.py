"""A mail file through the same decisions as live mail: admission, verdicts, rule machine, disposition (semantics.md §8).

Nothing is stored and nothing leaves the machine but DNS questions; with `run`, the actions are really run, from a spool in memory.
"""

import asyncio
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actions.protocol import Prepend
from actions.runner import Runner
from actions.table import make_actions
from gatepost import wire
from gatepost.arns import arn_of, has_no_target
from gatepost.explanation import envelope_object, reply_object, stored_story, story
from gatepost.sample import Sample
from gatepost.scanners import NO_SCANNERS, Scanners
from gatepost.settings import Settings
from inbound.accept import Incoming, examine, unit_of
from inbound.admission import Admission, Sender, admit, is_vouched
from inbound.ports import InboundSettings, Judge
from mail.crlf import has_bare_newline, normalise
from mail.envelope import Envelope, Recipient
from mail.ids import message_id_of_file
from mail.message import Message
from mail.octets import whole
from mail.outcome import Outcome, Result
from mail.receipt import Receipt
from mail.reply import ACCEPTED, BARE_NEWLINE, LOOP_DETECTED, Reply
from mail.values import changed
from rules.compiled import CompiledBook
from rules.disposition import disposition
from rules.machine import Evaluation
from rules.model import ActionSpec
from rules.step import Disposition
from smtp.config import BareNewline
from spool.memory import MemorySpool
from spool.ports import HistoryRow
from verdicts.auth_results import forged_spans
from verdicts.ports import Resolver
from verdicts.reverse_name import confirmed_name

_ACCEPT = Disposition(kind="accept")
_WOULD_RUN = Outcome(result=Result.WOULD_RUN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """Everything that does not change from file to file."""

    settings: Settings
    resolver: Resolver
    judge: Judge
    prepend: Prepend
    inbound: InboundSettings

    @classmethod
    def of(cls, settings: Settings, resolver: Resolver, scanners: Scanners = NO_SCANNERS) -> "Replayer":
        return cls(
            settings=settings,
            resolver=resolver,
            judge=wire.judge_of(settings, resolver, scanners),
            prepend=wire.prepend_of(settings),
            inbound=wire.inbound_settings_of(settings),
        )

    async def replay(self, sample: Sample, book: CompiledBook, *, run: bool = False) -> dict[str, Any]:
        """The line of `gatepost replay --json`."""
        sample, listed = await self._looked_up(self._normalised(sample))
        # What is in the spool was taken: a list that answered too late to refuse it then does not refuse it now.
        admissions = self._admissions(sample, book, () if sample.recorded is not None else listed)
        accepted = [admission for admission in admissions if admission.reply.is_positive]
        envelope = _of_these(sample.envelope, accepted or admissions)
        incoming = Incoming(
            message_id=sample.recorded.message_id if sample.recorded else _file_id(sample),
            received_at=sample.now,
            client=sample.client,
            envelope=envelope,
            message=sample.message,
            dnsbl=() if is_vouched(book, sample.client, envelope.mailboxes) else listed,
        )
        forged = partial(forged_spans, authserv_id=self.settings.verdicts_authserv_id)
        examined = await examine(incoming, book, self.judge, forged)
        early = sample.refused_as or (None if accepted else admissions[0].reply)
        if early is None and sample.recorded is None and self._is_refused_for_line_ends(whole(sample.message.raw)):
            early = BARE_NEWLINE
        if early is None and len(sample.message.header.all("Received")) > self.inbound.most_received_fields:
            early = LOOP_DETECTED
        early = early or examined.refusal
        decision = _ACCEPT if early else disposition(Evaluation.start(book, examined.receipt))
        reply = early or decision.reply or ACCEPTED.because(f"Ok {examined.receipt.message_id}")
        told = await self._story(sample, book, examined.receipt, decision, reply, walked=early is None, run=run)
        if decision.kind == "defer":
            told["steps"] = []  # a message that was not taken runs nothing, however its walk would have gone on
        told["envelope"] = {**told["envelope"], **envelope_object(sample.envelope)}
        refused = [_refusal(admission) for admission in admissions if not admission.reply.is_positive]
        return {**told, "refused": refused} if refused else told

    def _is_refused_for_line_ends(self, raw: bytes) -> bool:
        return self.settings.smtp_bare_newline == BareNewline.REJECT and has_bare_newline(raw)

    def _normalised(self, sample: Sample) -> Sample:
        if sample.recorded is not None or self.settings.smtp_bare_newline != BareNewline.NORMALISE:
            return sample
        return replace(sample, message=Message.of(normalise(whole(sample.message.raw))))

    async def _story(
        self,
        sample: Sample,
        book: CompiledBook,
        receipt: Receipt,
        decision: Disposition,
        reply: Reply,
        *,
        walked: bool,
        run: bool,
    ) -> dict[str, Any]:
        said = reply_object(reply)
        if walked and run and (decision.kind == "accept" or decision.runs_on):
            told = await self._run(sample, book, receipt, decision, reply)
            return {**told, "file": sample.file, "envelope": {**told["envelope"], "guessed": list(sample.guessed)}}
        evaluation = _walked(Evaluation.start(book, receipt)) if walked else None
        return story(
            file=sample.file,
            receipt=receipt,
            reply=said,
            evaluation=evaluation,
            prepend=self.prepend,
            guessed=sample.guessed,
        )

    async def _run(
        self, sample: Sample, book: CompiledBook, receipt: Receipt, decision: Disposition, reply: Reply
    ) -> dict[str, Any]:
        """Run each step once; what must be tried again is told as it stands after the first attempt."""
        spool = MemorySpool(shard=255)
        effects = wire.effects_of(self.settings, wire.now)
        runner = Runner(
            spool,
            books=lambda _: book,
            actions=make_actions(effects.ports),
            prepend=self.prepend,
            clock=lambda: sample.now,
            environment=os.environ,
        )
        job = await spool.accept(unit_of(receipt, sample.message.raw, _row(sample, receipt), decision, reply))
        running = asyncio.create_task(runner.run())
        try:
            if job is not None:
                runner.take(job)
                await runner.idle()
        finally:
            await runner.drain()
            await running
            await effects.close()
        rows = await spool.ledger(receipt.message_id)
        return stored_story(receipt, book, rows, 0, reply_object(reply), self.prepend)

    async def _looked_up(self, sample: Sample) -> tuple[Sample, tuple[str, ...]]:
        """The client with its confirmed name, and the lists that list it, as the edge looks them up beside the dialogue."""
        if sample.recorded is not None:
            return sample, sample.recorded.dnsbl
        ip = sample.client.ip
        if ip is None:
            return sample, ()
        lists = wire.dns_lists_of(self.settings, self.resolver)
        answers = await asyncio.gather(*(is_listed(ip) for is_listed in lists.values()))
        listed = tuple(zone for zone, answer in zip(lists, answers, strict=True) if answer)
        name = await confirmed_name(self.resolver, ip)
        return replace(sample, client=changed(sample.client, name=name)), listed

    def _admissions(self, sample: Sample, book: CompiledBook, listed: tuple[str, ...]) -> list[Admission]:
        sender = Sender(
            client=sample.client, reverse_path=sample.envelope.reverse_path, declared_size=len(sample.message.raw)
        )
        first: tuple[str, ...] | None = None
        admissions: list[Admission] = []
        for mailbox in sample.envelope.mailboxes:
            admission = admit(book, sender, mailbox, first=first, settings=self.inbound, listed=listed)
            if admission.reply.is_positive and first is None:
                first = admission.wanting
            admissions.append(admission)
        return admissions


def _walked(evaluation: Evaluation) -> Evaluation:
    """To the end, as if every step ran that has something to run on."""
    while (step := evaluation.step) is not None:
        evaluation = evaluation.advance(_unmapped(step.spec) if has_no_target(step.spec) else _WOULD_RUN)
    return evaluation


def _unmapped(spec: ActionSpec) -> Outcome:
    return Outcome(result=Result.UNMAPPED, detail=f"{arn_of(spec)} has no local target")


def _of_these(envelope: Envelope, admissions: list[Admission]) -> Envelope:
    distinct = dict.fromkeys(admission.mailbox for admission in admissions)
    return changed(envelope, recipients=tuple(Recipient(mailbox=mailbox) for mailbox in distinct))


def _refusal(admission: Admission) -> dict[str, Any]:
    return {"recipient": str(admission.mailbox), "reply": reply_object(admission.reply), "by": admission.by}


def _file_id(sample: Sample) -> str:
    envelope = sample.envelope
    parties = "\0".join([str(envelope.reverse_path or ""), *map(str, envelope.mailboxes)])
    return message_id_of_file(whole(sample.message.raw), f"{parties}\0{sample.client.ip}\0{sample.client.helo}")


def _row(sample: Sample, receipt: Receipt) -> HistoryRow:
    return HistoryRow(
        id=receipt.message_id,
        session="replay",
        at=sample.now,
        client_ip=sample.client.ip or "",
        helo=sample.client.helo or "",
        mail_from=str(sample.envelope.reverse_path or ""),
        rcpt_to=tuple(map(str, receipt.envelope.mailboxes)),
        phase="accepted",
        outcome="accepted",
    )
