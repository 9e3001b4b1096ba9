"""DMARC policy records.

*Standards.* RFC 9989 §4.7 (with psd, np, t), RFC 7489 §6.3 (with pct); where they differ both tags are read and the caller decides.
*Trust.* Hostile text. A tag that is wrong is left out, as both RFCs ask; a record that is no DMARC record is None.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

POLICIES = ("none", "quarantine", "reject")

_VERSION = re.compile(r"[ \t]*v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
# RFC 7489 §6.4, RFC 9989 §4.8: any URI, with "," ";" and "!" encoded; one of mail has an address.
_URI = re.compile(
    r"[ \t]*(?:mailto:[^ ,;!@]+@[^ ,;!@]+|(?!mailto:)[a-z][a-z0-9+.-]*:[^ ,;!]+)(?:![0-9]+[kmgt]?)?[ \t]*\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcRecord:
    """One policy record, defaults filled in. `policy` is None where the record asks for nothing that can be applied."""

    policy: str | None
    subdomain_policy: str
    nonexistent_policy: str
    dkim_is_strict: bool
    spf_is_strict: bool
    psd: str
    is_testing: bool
    percent: int
    text: str


def find_record(texts: Iterable[str]) -> DmarcRecord | None:
    """The one DMARC record among a name's TXT records; several are as none (RFC 7489 §6.6.3, RFC 9989 §4.10)."""
    found = [text for text in texts if _VERSION.match(text)]
    return parse_record(found[0]) if len(found) == 1 else None


@lru_cache(maxsize=4096)
def parse_record(text: str) -> DmarcRecord:
    tags: dict[str, str] = {}
    for spec in text.split(";")[1:]:
        name, equals, value = spec.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    policy = _policy(tags, "p")
    subdomain = _policy(tags, "sp")
    nonexistent = _policy(tags, "np")
    if policy is None or ("sp" in tags and subdomain is None) or ("np" in tags and nonexistent is None):
        # RFC 7489 §6.6.3 step 6, RFC 9989 §4.7: such a record still reports, so it counts as p=none; else it is no policy.
        reports = any(_URI.match(uri) for uri in tags.get("rua", "").split(","))
        policy, subdomain, nonexistent = ("none" if reports else None), None, None
    subdomain = subdomain or policy or "none"
    psd = tags.get("psd", "u").lower()
    percent = tags.get("pct", "100")
    return DmarcRecord(
        policy=policy,
        subdomain_policy=subdomain,
        nonexistent_policy=nonexistent or subdomain,
        dkim_is_strict=tags.get("adkim", "r").lower() == "s",
        spf_is_strict=tags.get("aspf", "r").lower() == "s",
        psd=psd if psd in ("y", "n") else "u",
        is_testing=tags.get("t", "n").lower() == "y",
        percent=min(int(percent), 100) if percent.isascii() and percent.isdigit() and len(percent) < 4 else 100,
        text=text[:512],
    )


def _policy(tags: dict[str, str], name: str) -> str | None:
    word = tags.get(name, "").lower()
    return word if word in POLICIES else None


def one_level_lower(policy: str) -> str:
    """What t=y asks for (RFC 9989 §4.7), and pct=0 (RFC 7489 §6.6.4)."""
    return {"reject": "quarantine", "quarantine": "none"}.get(policy, "none")
