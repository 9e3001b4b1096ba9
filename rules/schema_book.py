"""The top of a rules file: domains, filters, address lists, topics, and what holds for all rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rules.load_lists import read_list_file
from rules.model import Filter, RuleBook
from rules.schema_addresses import domain_of, read_cidr, read_domain, read_list_entry, read_recipient
from rules.schema_fields import read_arn, read_queue, read_url
from rules.schema_findings import nearest
from rules.schema_nodes import TOP, Mapping, Node, Scalar, kind, shown
from rules.schema_reading import Reading
from rules.schema_rules import PlacedRuleSet, read_rule_sets

BOOK_KEYS = (
    "version",
    "domains",
    "active",
    "filters",
    "address_lists",
    "topics",
    "rule_sets",
    "bounce",
    "on_unhandled",
)
POLICIES = ("Allow", "Block")
TOPIC_KEYS = ("arn", "signature_version", "subscribers")


def read_book(reading: Reading, root: Node) -> tuple[RuleBook, tuple[PlacedRuleSet, ...]]:
    """The book, which is of use only if nothing was reported as an error, and its rule sets with their places."""
    known = {key: value for key, (_, value) in reading.entries(root, "the rules file", BOOK_KEYS).items()}
    version = known.get("version")
    if version is not None and not (isinstance(version, Scalar) and version.text == "1"):
        reading.error("bad-version", version, f"version is {kind(version)}; this program reads version 1")
    _read_domains(reading, known.get("domains"))
    _read_lists(reading, known.get("address_lists"))
    topics = _topics(reading, known.get("topics"))
    filters = _filters(reading, known.get("filters"))
    if isinstance(root, Mapping) and "rule_sets" not in root.entries:
        near = "" if "rules" not in root.entries else "; put the rules under rule_sets: {default: [...]}"
        reading.error("missing-key", TOP, f"the rules file has no rule_sets{near}")
    placed = read_rule_sets(reading, known.get("rule_sets"))
    if "rule_sets" in known and not placed and not reading.report.has_errors:
        what = "rule_sets is empty; expected a name and its rules, as in rule_sets: {default: [...]}"
        reading.error("missing-key", known["rule_sets"], what)
    bounce = reading.word(known["bounce"], "bounce", ("vouched", "always")) if "bounce" in known else None
    unhandled = (
        reading.word(known["on_unhandled"], "on_unhandled", ("keep", "reject")) if "on_unhandled" in known else None
    )
    book = RuleBook(
        active=_active(reading, known.get("active"), placed),
        domains=reading.domains or _named_domains(placed),
        filters=filters,
        address_lists=dict(reading.lists),
        rule_sets=tuple(rule_set.rule_set for rule_set in placed),
        topics=topics,
        bounce=bounce or "vouched",
        on_unhandled=unhandled or "keep",
    )
    return book, placed


def _read_domains(reading: Reading, node: Node | None) -> None:
    if node is None:
        return
    if isinstance(node, Scalar) and node.value is not None:
        reading.wrong_type(node, "domains", f"a list; write domains: [{node.text}]")
        return
    items = reading.items(node, "domains", "domains: [example.com]")
    if not items:
        reading.error("empty-list", node, "domains is empty; name the domains that are yours, or leave it out")
    read = [read_domain(reading, item, "domain") for item in items]
    if None not in read:  # with one of them unknown, nobody can say what is outside
        reading.domains = tuple(dict.fromkeys(domain for domain in read if domain is not None))
        reading.domain_set = frozenset(reading.domains)


def _named_domains(placed: tuple[PlacedRuleSet, ...]) -> tuple[str, ...]:
    """Without `domains`: those that the recipients of the rules name, in the order of the file (semantics.md §1)."""
    recipients = (one for rule_set in placed for rule in rule_set.rules for one in rule.rule.recipients)
    return tuple(dict.fromkeys(domain_of(recipient) for recipient in recipients))


def _active(reading: Reading, node: Node | None, placed: tuple[PlacedRuleSet, ...]) -> str:
    names = [rule_set.name for rule_set in placed]
    if node is not None:
        active = reading.text(node, "active") or ""
        if active and names and active not in names:
            expected = nearest(active, names) or f"; the rule sets are {', '.join(names[:10])}"
            reading.error(
                "unknown-rule-set", node, f"active names the rule set {shown(active)}, which is not there{expected}"
            )
        return active
    if len(names) > 1 and "default" not in names:
        what = (
            f'there are {len(names)} rule sets and none is named "default"; say which is used, as in active: {names[0]}'
        )
        reading.error("missing-key", TOP, what)
    return names[0] if len(names) == 1 else "default"


def _read_lists(reading: Reading, node: Node | None) -> None:
    for key, value in reading.named(node, "address_lists"):
        reading.name(key, "address list name")
        reading.lists[key.text] = _entries(reading, value, f"address list {key.text}", read_list_entry)


def _entries(
    reading: Reading, node: Node, what: str, read: Callable[[Reading, Node, str], str | None]
) -> tuple[str, ...]:
    """A list of entries, or `{file: PATH}` with one entry a line."""
    if isinstance(node, Mapping):
        known = reading.entries(node, what, ("file",))
        entries = read_list_file(reading, known["file"][1], what, read) if "file" in known else []
    else:
        entries = [read(reading, item, what) for item in reading.items(node, what, "[acme.example] or {file: PATH}")]
    return tuple(dict.fromkeys(entry for entry in entries if entry is not None))


def _filters(reading: Reading, node: Node | None) -> tuple[Filter, ...]:
    items = reading.items(node, "filters", "filters: [{name: office, policy: Allow, cidr: 192.0.2.0/24}]")
    if len(items) > reading.limits.filters and node is not None:
        reading.warn("ses-limit", node, f"{len(items)} filters; SES allows {reading.limits.filters}")
    lines: dict[str, int] = {}
    read = []
    for item in items:
        known = {
            key: value
            for key, (_, value) in reading.entries(
                item, "a filter", ("name", "policy", "cidr", "cidrs", "file", "recipients")
            ).items()
        }
        if not isinstance(item, Mapping):
            continue
        for key in ("name", "policy"):
            if key not in known:
                reading.error(
                    "missing-key", item, f"a filter lacks {key}; expected name, policy and a cidr, cidrs or file"
                )
        name = reading.name(known["name"], "filter name") if "name" in known else None
        if name is not None and name in lines:
            what = f"a filter named {shown(name)} stands in line {lines[name]} already; rename one of the two"
            reading.error("duplicate-filter", known["name"], what)
        lines.setdefault(name or "", item.line)
        policy = reading.word(known["policy"], "filter policy", POLICIES) if "policy" in known else None
        recipients = reading.items(known.get("recipients"), "recipients", "recipients: [support@example.com]")
        patterns = [read_recipient(reading, recipient, "recipient") for recipient in recipients]
        read.append(
            Filter(
                name=name or "",
                policy=policy or "Block",
                cidrs=_networks(reading, item, known),
                recipients=tuple(dict.fromkeys(pattern for pattern in patterns if pattern is not None)),
            )
        )
    return tuple(read)


def _networks(reading: Reading, item: Mapping, known: dict[str, Node]) -> tuple[str, ...]:
    given = [key for key in ("cidr", "cidrs", "file") if key in known]
    if len(given) != 1:
        found = f"both {' and '.join(given)}" if given else "no network"
        reading.error("one-key", item, f"a filter has {found}; expected exactly one of cidr, cidrs or file")
        return ()
    node = known[given[0]]
    if given[0] == "file":
        read = read_list_file(reading, node, "filter", read_cidr)
    elif given[0] == "cidrs":
        read = [read_cidr(reading, entry, "cidr") for entry in reading.items(node, "cidrs", "cidrs: [192.0.2.0/24]")]
    else:
        read = [read_cidr(reading, node, "cidr")]
    return tuple(dict.fromkeys(network for network in read if network is not None))


def _topics(reading: Reading, node: Node | None) -> dict[str, Any]:
    """`{name: {arn, signature_version, subscribers: [{url, raw, confirmed} or {sqs, raw}]}}`; one without ARN has its name only."""
    topics: dict[str, Any] = {}
    for key, value in reading.named(node, "topics"):
        reading.name(key, "topic name")
        what = f"topic {key.text}"
        known = {name: entry for name, (_, entry) in reading.entries(value, what, TOPIC_KEYS).items()}
        topic: dict[str, Any] = {}
        if "arn" in known:
            topic["arn"] = read_arn(reading, known["arn"], f"{what} arn")
        if "signature_version" in known:
            topic["signature_version"] = reading.word(
                known["signature_version"], f"{what} signature_version", ("1", "2")
            )
        items = reading.items(
            known.get("subscribers"), f"{what} subscribers", "subscribers: [{url: https://host/path}]"
        )
        topic["subscribers"] = [_subscriber(reading, item, what) for item in items]
        topics[key.text] = topic
    reading.topics = frozenset(topics)
    return topics


def _subscriber(reading: Reading, node: Node, topic: str) -> dict[str, Any]:
    what = f"a subscriber of {topic}"
    known = reading.entries(node, what, ("url", "sqs", "raw", "confirmed"))
    if isinstance(node, Mapping) and ("url" in known) == ("sqs" in known):
        found = "both url and sqs" if "url" in known else "neither url nor sqs"
        reading.error("one-key", node, f"{what} has {found}; expected url: https://host/path, or sqs: and a queue")
    if "sqs" in known and "confirmed" in known:
        reading.error("not-for-queues", known["confirmed"][0], f"{what}: a queue confirms nothing; leave confirmed out")
    flags: dict[str, Any] = {
        name: bool(reading.flag(known[name][1], f"{topic} {name}")) for name in ("raw", "confirmed") if name in known
    }
    if "sqs" in known:
        return {"sqs": read_queue(reading, known["sqs"][1], f"{topic} sqs") or "", "raw": False, **flags}
    url = read_url(reading, known["url"][1], f"{topic} url") if "url" in known else None
    return {"url": url or "", "raw": False, **flags}
