"""Judging one message: all checks side by side, under one deadline, in a stable order, with the evidence kept.

*Standards.* semantics.md §5.
*Trust.* The message is hostile. A check that crashes is a result of that check (permerror, PROCESSING_FAILED) and touches no
other; its traceback goes to `Judgement.crashes`, for history and log, and never into a result.
*Failure.* `judge` raises nothing but cancellation.

When every answer is cached, the body is small and nothing is scanned, no task is made and the loop is not visited.
"""

from __future__ import annotations  # those of inner functions are made anew at every call otherwise

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mail.client import Client
from mail.envelope import Envelope
from mail.message import Message
from mail.receipt import Evidence
from mail.values import Value, changed
from mail.verdict import DISABLED, AuthResult, Verdicts, switched_off
from verdicts.builtin_scorer import BuiltinScorer
from verdicts.builtin_scorer_features import Found
from verdicts.canonical import BodyHashes
from verdicts.check_arc import check_arc
from verdicts.check_dkim import check_dkim
from verdicts.check_dmarc import DmarcVerdict, author_domains, check_dmarc, look_ahead
from verdicts.check_spf import check_spf
from verdicts.dns_recorded import NOT_RECORDED
from verdicts.driver import Driver, Run, beside
from verdicts.gtube import gtube_result, is_gtube
from verdicts.inquiry import Ask, Inquiry, Question
from verdicts.null_scanners import recorded_reply
from verdicts.policy import Policy
from verdicts.ports import Resolver, Scanner
from verdicts.scans import Scans
from verdicts.scoring import Scoring
from verdicts.trusted_sealers import TRUSTED, attestations

CHECKS = ("client", "spf", "dkim", "arc", "dmarc", "spam")
LINKS_SHARE = 0.25  # of the spam deadline, for lists of domains
DEFAULT_POLICY = Policy()
_Authenticated = tuple[AuthResult, tuple[AuthResult, ...], AuthResult, DmarcVerdict, Sequence[str]]
_NO_CHECKS: _Authenticated = (
    switched_off("spf"),
    (switched_off("dkim"),),
    switched_off("arc"),
    DmarcVerdict(result=switched_off("dmarc")),
    (),
)


class Judgement(Value, frozen=True, kw_only=True):
    """`deferred` says why the message must be answered 451, `rejected` why 5xx, `unscanned` why it may be accepted without a scan
    that was wanted: a scanner failed and its `on_error` asks for it; None otherwise. `crashes` are the tracebacks of failures
    that are ours, for history and log."""

    verdicts: Verdicts
    evidence: Evidence
    deferred: str | None = None
    rejected: str | None = None
    unscanned: str | None = None
    crashes: tuple[str, ...] = ()


async def judge(  # noqa: PLR0913 - the whole of what a judgement depends on
    message: Message,
    envelope: Envelope,
    client: Client,
    *,
    received_at: datetime,
    resolver: Resolver,
    policy: Policy = DEFAULT_POLICY,
    spam: Scanner | None = None,
    virus: Scanner | None = None,
    scorer: BuiltinScorer | None = None,
    dnsbl: tuple[str, ...] = (),
    wants_spam: bool = False,
    wants_virus: bool = False,
    bodies: BodyHashes | None = None,
    message_id: str = "",
    about_client: tuple[Question, ...] = (),
) -> Judgement:
    """The verdicts on this message, and what they rest on. A scan that is wanted and has no engine is DISABLED.

    The spam engine is `spam` or `scorer`; `dnsbl` are the lists that list the client; `bodies` are the body hashes, as far as they
    were made while it arrived; `about_client` is what was asked about the client before. GTUBE is spam to either engine, unasked.
    """
    inquiry = Inquiry(resolver)
    scans = Scans(message.raw, envelope, client, policy, message_id)
    _recall(inquiry.begin("client"), about_client)
    if (engine := spam or scorer) is not None and wants_spam and await beside(message.raw, is_gtube):
        scans.settle("spam", gtube_result(engine.name))
        spam = scorer = None
    if wants_spam and spam is not None:
        scans.start("spam", spam, policy.spam_deadline_seconds)
    if wants_virus and virus is not None:
        scans.start("virus", virus, policy.virus_deadline_seconds)
    try:
        spf, dkim, arc, dmarc, crashes = await _authenticate(
            message, envelope, client, received_at, inquiry, policy, bodies or BodyHashes.of(message)
        )
        if wants_spam and scorer is not None:
            found = Found(client=client, spf=spf.result, dmarc=dmarc.result.result, dnsbl=dnsbl)
            seconds = policy.spam_deadline_seconds
            scoring = Scoring(
                scorer=scorer, message=message, found=found, inquiry=inquiry, dns_seconds=seconds * LINKS_SHARE
            )
            scans.start("spam", scoring, seconds)
        scanned = await scans.results()
    finally:
        scans.cancel()
    return Judgement(
        verdicts=Verdicts(
            spf=spf,
            dkim=dkim,
            arc=arc,
            dmarc=dmarc.result,
            spam=scanned.get("spam", DISABLED),
            virus=scanned.get("virus", DISABLED),
            dmarc_policy=dmarc.policy,
            from_domain=dmarc.from_domain,
        ),
        evidence=inquiry.evidence(CHECKS, {method: recorded_reply(result) for method, result in scanned.items()}),
        deferred=scans.failure("defer"),
        rejected=scans.failure("reject"),
        unscanned=scans.failure("accept"),
        crashes=(*crashes, *scans.crashes),
    )


def _recall(ask: Ask, questions: tuple[Question, ...]) -> None:
    """What was asked about the client is evidence too, as long as the answer is still known."""
    for question in questions:
        answer = ask.peek(question)
        if answer is not None and answer is not NOT_RECORDED:
            ask(*question)


async def _authenticate(
    message: Message,
    envelope: Envelope,
    client: Client,
    received_at: datetime,
    inquiry: Inquiry,
    policy: Policy,
    bodies: BodyHashes,
) -> _Authenticated:
    """SPF, DKIM and ARC side by side, then DMARC, which rests on the first two; of these what the policy wants."""
    if not policy.checks:
        return _NO_CHECKS
    driver = Driver(inquiry, bodies, policy.dns_deadline_seconds)

    def run_spf(ask: Ask) -> AuthResult:
        return check_spf(
            ask,
            ip=client.ip,
            helo=client.helo,
            reverse_path=envelope.reverse_path,
            received_at=received_at,
            receiver=policy.receiver,
        )

    def run_dkim(ask: Ask) -> tuple[AuthResult, ...]:
        return check_dkim(ask, message, bodies, received_at=received_at, policy=policy)

    def run_arc(ask: Ask) -> AuthResult:
        return check_arc(ask, message, bodies, received_at=received_at, policy=policy)

    def run_dmarc(ask: Ask) -> DmarcVerdict:
        said = attestations(message, arc.result, policy)
        return check_dmarc(ask, message.header, spf=spf.result, dkim=dkim.result, policy=policy, attestations=said)

    def prepare_dmarc(ask: Ask) -> bool:
        return look_ahead(ask, author_domains(message.header), policy)

    spf = Run("spf", run_spf, lambda result, reason: _failed("spf", result, reason))
    dkim = Run("dkim", run_dkim, lambda result, reason: (_failed("dkim", result, reason),))
    arc = Run("arc", run_arc, lambda result, reason: _failed("arc", result, reason))
    dmarc = Run("dmarc", run_dmarc, lambda result, reason: DmarcVerdict(result=_failed("dmarc", result, reason)))
    _skip(policy, spf, dkim, arc, dmarc)
    ahead = None if dmarc.is_settled else Run("dmarc", prepare_dmarc, lambda *_: False)
    await driver.finish(spf, dkim, arc, meanwhile=ahead)
    await driver.finish(dmarc)
    sealed = arc.result
    if dmarc.result.vouched_by is not None:
        sealed = changed(sealed, properties={**sealed.properties, TRUSTED: "true"})
    return spf.result, dkim.result, sealed, dmarc.result, driver.crashes


def _skip(
    policy: Policy,
    spf: Run[AuthResult],
    dkim: Run[tuple[AuthResult, ...]],
    arc: Run[AuthResult],
    dmarc: Run[DmarcVerdict],
) -> None:
    """Settle what the policy does not want."""
    runs: tuple[Run[Any], ...] = (spf, dkim, arc, dmarc)
    for run, off in zip(runs, _NO_CHECKS, strict=False):
        if run.name not in policy.checks or (run is dmarc and (spf.is_settled or dkim.is_settled)):
            run.settle(off)


def _failed(method: str, result: str, reason: str) -> AuthResult:
    return AuthResult(method=method, result=result, reason=reason)
