"""Organizational domains: by DNS tree walk, or by the public suffix list.

*Standards.* RFC 9989 §4.10 (DNS Tree Walk), §4.10.2 (Organizational Domain); RFC 7489 §3.2 (public suffix list).
*Trust.* Domains are A-labels of any depth; a walk asks at most eight questions whatever the depth.
*Failure.* `Unreachable` when DNS does not answer now.
"""

from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from mail.values import Value
from verdicts.dmarc_record import DmarcRecord, find_record
from verdicts.inquiry import Ask
from verdicts.ports import Lookup

WALK_LABELS = 8


class Unreachable(Exception):
    """A DMARC record cannot be fetched now."""


class Walk(Value, frozen=True, kw_only=True):
    """What a tree walk found, longest name first."""

    start: str
    records: tuple[tuple[str, DmarcRecord], ...]

    @property
    def organizational_domain(self) -> str:
        """RFC 9989 §4.10.2."""
        for name, record in self.records:
            if record.psd == "n":
                return name
            if record.psd == "y" and name != self.start:
                return self.start.removesuffix("." + name).rpartition(".")[2] + "." + name
        return self.records[-1][0] if self.records else self.start

    @property
    def public_suffix(self) -> str | None:
        """The name whose record says psd=y, if the walk met one above its start."""
        return next((name for name, record in self.records if record.psd == "y" and name != self.start), None)


def policy_record(ask: Ask, domain: str) -> DmarcRecord | None:
    """The DMARC record at this very name. Raises `Unreachable`."""
    answer = ask(f"_dmarc.{domain}", "TXT")
    if answer.outcome is Lookup.TEMPORARY:
        raise Unreachable(f"{answer.detail} for _dmarc.{domain}")
    return find_record(answer.records)


def tree_walk(ask: Ask, domain: str) -> Walk:
    """RFC 9989 §4.10: the name itself, then its ancestors; of a name of eight labels and more, those of seven and fewer."""
    records: list[tuple[str, DmarcRecord]] = []
    labels = domain.split(".")
    target: list[str] = labels
    while target:
        name = ".".join(target)
        record = policy_record(ask, name)
        if record is not None:
            records.append((name, record))
            if record.psd == "n" or (record.psd == "y" and name != domain):
                break
        target = target[1:] if len(target) < WALK_LABELS else target[-(WALK_LABELS - 1) :]
    return Walk(start=domain, records=tuple(records))


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@lru_cache(maxsize=4096)
def registrable_domain(domain: str) -> str:
    """The organizational domain by the public suffix list; a public suffix is its own (RFC 7489 §3.2)."""
    return str(_suffixes().privatesuffix(domain) or domain)
