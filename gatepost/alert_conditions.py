"""What is wrong with a gateway, from a survey of it: the same list for `gatepost status` and for alerts.

Pure, but for `alert_warnings`.
"""

import shutil
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from gatepost.metrics import total
from gatepost.settings import Settings
from gatepost.survey import Survey
from mail.counters import Key, key

Level = Literal["warning", "critical"]
_HOUR = timedelta(hours=1)
_CERTIFICATE_ENDS, _OLDEST_RETRY = key("certificate_expiry_timestamp_seconds"), key("oldest_retry_age_seconds")
_ACCEPTED: Key = key("messages_total", outcome="accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which numbers on something is wrong; 0: never. Seconds and octets."""

    dead: int = 1
    unhandled: int = 1
    unscanned: int = 1
    oldest_retry_seconds: int = 3600
    disk_octets: int = 2 * 2**30
    certificate_seconds: int = 14 * 86400
    silence_seconds: int = 0


def thresholds_of(settings: Settings) -> Thresholds:
    return Thresholds(
        dead=settings.alerts_dead,
        unhandled=settings.alerts_unhandled,
        unscanned=settings.alerts_unscanned,
        oldest_retry_seconds=settings.alerts_oldest_retry,
        disk_octets=settings.alerts_disk,
        certificate_seconds=settings.alerts_certificate,
        silence_seconds=settings.alerts_silence,
    )


def wants_alerts(settings: Settings) -> bool:
    """Whether there is anybody to tell."""
    return bool(settings.alerts_mail or settings.alerts_webhook or settings.alerts_command)


def alert_warnings(settings: Settings) -> list[str]:
    """Alerts that can reach nobody."""
    warnings = []
    if settings.alerts_mail and not settings.relay_host:
        warnings.append("alerts.mail has no way to its readers: set relay.host")
    if settings.alerts_command and shutil.which(settings.alerts_command[0]) is None:
        warnings.append(f"alerts.command names no program that can be run: {settings.alerts_command[0]}")
    return warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`name` stays the same while it lasts. `text` is a sentence with what to do."""

    name: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What was seen before, without which nobody can tell that something stopped or began.

    `accepted_at` is when a message was last known to have come; `unscanned_before` was counted when the hour began.
    """

    accepted: float
    accepted_at: datetime
    unscanned_before: float
    hour_began: datetime


def remembered(before: Memory | None, survey: Survey, newest: datetime | None = None) -> Memory:
    """The memory after this survey. `newest` is when the last message came that the history knows, where nothing is remembered.

    A count that fell began anew: its worker ended before anybody had seen what it counted.
    """
    now, accepted = survey.at, survey.samples.get(_ACCEPTED, 0)
    unscanned = total(survey.samples, "unscanned_total")
    if before is None:
        since = now if newest is None else min(now, newest)
        return Memory(accepted=accepted, accepted_at=since, unscanned_before=unscanned, hour_began=now)
    after = before
    if accepted != before.accepted:
        after = replace(after, accepted=accepted, accepted_at=now if accepted > 0 else before.accepted_at)
    if unscanned < before.unscanned_before:
        after = replace(after, unscanned_before=0)
    if now - before.hour_began >= _HOUR:
        after = replace(after, unscanned_before=unscanned, hour_began=now)
    return after


@dataclass(frozen=True, slots=True)
class _Found:
    conditions: list[Condition] = field(default_factory=list)

    def add(self, name: str, text: str, level: Level = "warning") -> None:
        self.conditions.append(Condition(name=name, level=level, text=text))


def conditions(survey: Survey, thresholds: Thresholds, memory: Memory | None = None) -> tuple[Condition, ...]:
    """Everything that is wrong, the worst first. Without a memory nothing is said of what stopped or began."""
    found = _Found()
    for check in survey.checks:
        if not check.ok:
            found.add(check.name, f"{check.name}: {check.detail}", "critical")
    _waiting(found, survey, thresholds)
    _running_out(found, survey, thresholds)
    if memory is not None:
        _over_time(found, survey, thresholds, memory)
    return tuple(sorted(found.conditions, key=lambda condition: condition.level != "critical"))


def _waiting(found: _Found, survey: Survey, thresholds: Thresholds) -> None:
    jobs, messages = survey.standing.jobs, survey.standing.messages
    if 0 < thresholds.dead <= jobs["dead"]:
        found.add("dead", f"{_jobs(jobs['dead'])} given up: gatepost queue list --state dead")
    if jobs["parked"]:
        found.add("parked", f"{_jobs(jobs['parked'])} parked: gatepost queue list --state parked")
    if 0 < thresholds.unhandled <= messages["unhandled"]:
        number = messages["unhandled"]
        found.add("unhandled", f"{number} message{'s' * (number != 1)} unhandled: gatepost find --outcome unhandled")
    age = survey.samples.get(_OLDEST_RETRY, 0)
    if 0 < thresholds.oldest_retry_seconds <= age:
        found.add("oldest_retry", f"the oldest retry is {_span(age)} old: gatepost queue list --state ready")


def _running_out(found: _Found, survey: Survey, thresholds: Thresholds) -> None:
    failing = {check.name for check in survey.checks if not check.ok}
    free = survey.samples.get(key("disk_free_bytes"))
    if free is not None and free < thresholds.disk_octets and "disk" not in failing:
        least = f"alerts.disk ({thresholds.disk_octets / 2**20:.0f} MiB)"
        found.add(
            "disk_low",
            f"{free / 2**20:.0f} MiB are free on the disk of the state directory, less than {least}: make room",
        )
    ends = survey.samples.get(_CERTIFICATE_ENDS)
    if ends is not None and "certificate" not in failing:
        left = ends - survey.at.timestamp()
        if 0 <= left < thresholds.certificate_seconds:
            found.add("certificate_ends", f"the TLS certificate ends in {_span(left)}: renew it (tls.certificate)")


def _over_time(found: _Found, survey: Survey, thresholds: Thresholds, memory: Memory) -> None:
    unscanned = int(total(survey.samples, "unscanned_total") - memory.unscanned_before)
    if 0 < thresholds.unscanned <= unscanned:
        found.add("unscanned", f"{unscanned} went on unscanned this hour: gatepost find --outcome unscanned")
    silent = (survey.at - memory.accepted_at).total_seconds()
    if 0 < thresholds.silence_seconds <= silent:
        found.add("silence", f"no message was accepted for {_span(silent)}: does the MX lead here?")


def _jobs(number: int) -> str:
    return f"{number} job{'s' * (number != 1)}"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
