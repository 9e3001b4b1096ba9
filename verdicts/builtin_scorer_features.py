"""What speaks for or against a message besides its words: authentication, the client's address, the domains of its links.

The points are judgement, not measurement: enough to decide between two doubtful messages, too few to condemn one alone.
"""

from dataclasses import dataclass

from mail.client import Client
from verdicts.dns_lists import DnsList
from verdicts.inquiry import Ask

MOST_LISTED, MOST_LINKS = 30, 50
_EACH_LIST, _EACH_LINK_LIST = 15, 25
_RESULTS = {
    ("spf", "fail"): ("SPF_FAIL", 10),
    ("spf", "softfail"): ("SPF_SOFTFAIL", 5),
    ("dmarc", "fail"): ("DMARC_FAIL", 15),
    ("dmarc", "pass"): ("DMARC_PASS", -5),
}
_NAMELESS = ("NO_REVERSE_NAME", 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the other checks found: RFC 8601 results, and the lists that list the client."""

    client: Client
    spf: str
    dmarc: str
    dnsbl: tuple[str, ...] = ()


def features(found: Found) -> dict[str, int]:
    """Points by symbol."""
    told = [_RESULTS[check] for check in (("spf", found.spf), ("dmarc", found.dmarc)) if check in _RESULTS]
    if found.client.ip is not None and found.client.name is None:
        told.append(_NAMELESS)
    points = dict(told)
    for number, zone in enumerate(found.dnsbl):
        points[f"DNSBL:{zone}"] = _EACH_LIST if (number + 1) * _EACH_LIST <= MOST_LISTED else 0
    return points


def link_features(ask: Ask, lists: tuple[DnsList, ...], domains: tuple[str, ...]) -> dict[str, int]:
    """Points by list that lists a domain of a link. Raises what `Ask` does."""
    asked = [(each, domain) for each in lists for domain in domains]
    answers = ask.all([(each.question_of_domain(domain), "A") for each, domain in asked])
    listing = dict.fromkeys(each.zone for (each, _), answer in zip(asked, answers, strict=True) if each.lists(answer))
    return {
        f"URIBL:{zone}": _EACH_LINK_LIST if (number + 1) * _EACH_LINK_LIST <= MOST_LINKS else 0
        for number, zone in enumerate(listing)
    }
