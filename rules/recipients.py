"""Recipient conditions, and the index that answers RCPT in constant time.

*Standards.* SES: receipt rules, recipient conditions: `user@d` takes every label of that user, `user+label@d` only that address,
`d` every address of exactly that domain, `.d` every address below it.
*Trust.* The mailbox is a stranger's, and valid (`mail.address`). Patterns were validated by the loader.
*Failure.* None: what no pattern takes is wanted by nobody.

A pattern is one key, and a mailbox has few: itself, its user without the label, its domain, and `.parent` for each parent of the
domain. So a lookup costs as many dict probes as the address has labels, whatever the number of rules and recipients.
"""

from collections.abc import Iterable, Mapping

from mail.address import Mailbox, parse_mailbox
from rules.model import Rule


def pattern_key(pattern: str) -> str:
    """The key under which a recipient condition is filed; case plays no part (SES: stored in lower case)."""
    if "@" not in pattern:
        return pattern.lower()
    mailbox = parse_mailbox(pattern)
    return f"{mailbox.local_part.lower()}@{mailbox.domain}"


_REMEMBERED = 4096  # mailboxes; a flood of made-up ones only empties the memory


def domain_keys(domain: str) -> tuple[str, ...]:
    """The keys that take every address of a domain: itself, and `.parent` for each parent; an address literal has none."""
    if domain.startswith("["):
        return (domain,)
    labels = domain.split(".")
    return (domain, *("." + ".".join(labels[number:]) for number in range(1, len(labels))))


def mailbox_keys(mailbox: Mailbox) -> tuple[str, ...]:
    """Every key that takes this mailbox, the narrowest first."""
    local, domain = mailbox.local_part.lower(), mailbox.domain.lower()
    keys = (f"{local}@{domain}", *domain_keys(domain))
    user, plus, _ = local.partition("+")
    return (keys[0], f"{user}@{domain}", *keys[1:]) if plus and user else keys


def matches(pattern: str, mailbox: Mailbox) -> bool:
    """Whether one recipient condition takes this mailbox."""
    return pattern_key(pattern) in mailbox_keys(mailbox)


class RecipientIndex:
    """Which rules want a mailbox. Built once from the rules of one set; disabled rules want nobody.

    `domains` are the book's own (`example.com`, `.example.com`); empty means that every domain is ours.
    """

    def __init__(self, rules: Iterable[Rule], domains: Iterable[str]) -> None:
        self._domains = frozenset(domain.lower() for domain in domains)
        self._catch_all, self._by_key = _filed(rules)
        # One message asks about each of its recipients several times, and most mail is for few mailboxes.
        self._wanted: dict[Mailbox, tuple[int, ...]] = {}

    def is_ours(self, domain: str) -> bool:
        """Whether mail for this domain is ours to take (semantics.md §1)."""
        return not self._domains or not self._domains.isdisjoint(domain_keys(domain.lower()))

    def wants(self, mailbox: Mailbox) -> tuple[int, ...]:
        """The positions of the rules that want this mailbox, in order; none for a domain that is not ours."""
        wanted = self._wanted.get(mailbox)
        if wanted is None:
            wanted = self._look_up(mailbox) if self.is_ours(mailbox.domain) else ()
            if len(self._wanted) >= _REMEMBERED:
                self._wanted.clear()
            self._wanted[mailbox] = wanted
        return wanted

    def _look_up(self, mailbox: Mailbox) -> tuple[int, ...]:
        found = self._catch_all
        for key in mailbox_keys(mailbox):
            positions = self._by_key.get(key)
            if positions is not None:
                found = tuple(sorted({*found, *positions})) if found else positions
        return found


def _filed(rules: Iterable[Rule]) -> tuple[tuple[int, ...], Mapping[str, tuple[int, ...]]]:
    catch_all: list[int] = []
    by_key: dict[str, list[int]] = {}
    for position, rule in enumerate(rules):
        if not rule.enabled:
            continue
        if not rule.recipients:
            catch_all.append(position)
        for key in {pattern_key(pattern) for pattern in rule.recipients}:
            by_key.setdefault(key, []).append(position)
    # Thousands of recipients of one rule share one tuple.
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    frozen = {key: (held := tuple(positions), shared.setdefault(held, held))[1] for key, positions in by_key.items()}
    return tuple(catch_all), frozen
