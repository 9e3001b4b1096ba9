"""What a check says, and the world that it looks at."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gatepost.library import Opened
from gatepost.settings import Settings
from smtp.tls import Certificate
from verdicts.ports import Resolver


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it stands, and how to mend it where it does not stand well."""

    check: str
    status: Status
    said: str
    fix: str = ""


def ok(check: str, said: str) -> Finding:
    return Finding(check=check, status=Status.OK, said=said)


def warn(check: str, said: str, fix: str) -> Finding:
    return Finding(check=check, status=Status.WARN, said=said, fix=fix)


def fail(check: str, said: str, fix: str) -> Finding:
    return Finding(check=check, status=Status.FAIL, said=said, fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """How an SMTP server introduced itself. `certificate` None: it offers no STARTTLS."""

    banner: str
    certificate: Certificate | None = None


Dial = Callable[[str, int], Awaitable[Greeting]]
"""Connects to an SMTP server by address and port. Raises OSError with what went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside that the checks look at. `domains` are those that mail is wanted for."""

    settings: Settings
    hostname: str
    domains: tuple[str, ...]
    rules: Opened
    resolver: Resolver
    dial: Dial
    is_ours: Callable[[str], bool]
    now: datetime
