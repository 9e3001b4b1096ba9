"""Conditions on facts that are not text: verdicts, sizes, networks, TLS, attachments (semantics.md §2).

The kept forms: `rules.schema_conditions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mail.verdict import Status
from rules.schema_addresses import read_cidr, read_domain
from rules.schema_findings import nearest, one_of
from rules.schema_nodes import Mapping, Node, Scalar, shown
from rules.schema_reading import Reading
from rules.schema_texts import read_list_name

BOUNDS = ("gt", "gte", "lt", "lte")
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
RESULTS = {
    "spf": ("none", "pass", "fail", "softfail", "neutral", "policy", "temperror", "permerror"),
    "dkim": ("none", "pass", "fail", "neutral", "policy", "temperror", "permerror"),
    "dmarc": ("none", "pass", "fail", "temperror", "permerror"),
    "arc": ("none", "pass", "fail", "temperror", "permerror"),
}
POLICIES = ("none", "quarantine", "reject")
_CHECKS = {
    **{check: (check,) for check in RESULTS},
    "dmarc_policy": ("dmarc",),
    "from_domain_aligned": ("dmarc",),
    "spf_domain": ("spf",),
    "dkim_domain": ("dkim",),
    "authenticated_domain": ("spf", "dkim"),  # and DMARC, which rests on both
}

Read = Callable[[Reading, Node, str], Any]


def _verdict(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    if not isinstance(node, Mapping):
        if isinstance(node, Scalar) and _is_result(name, node.text):
            what = f"{name} is {shown(node.text)}, a word of RFC 8601; write {name}: {{result: {node.text}}}"
            reading.error("wrong-word", node, what)
            return None
        statuses = _words(reading, node, name, tuple(Status))
        if statuses and Status.DISABLED not in statuses:
            _needs_engine(reading, node, name)
        return {"status": statuses} if statuses else None
    keys = [
        *(("result",) if name in RESULTS else ("symbol",)),
        *{"spam": ("score",), "arc": ("trusted",)}.get(name, ()),
    ]
    known = reading.entries(node, name, keys)
    if len(known) != 1:
        if len(known) == len(node.entries):
            one = one_of(keys) if len(keys) == 1 else f"exactly one of {one_of(keys)}"
            reading.error("one-key", node, f"{name} is a mapping with {len(known) or 'no'} keys; expected {one}")
        return None
    key, (_, value) = next(iter(known.items()))
    _needs_engine(reading, node, name)
    kept: Any
    if key == "result":
        kept = _words(reading, value, f"{name} result", RESULTS[name])
    elif key == "score":
        kept = _bounds(reading, value, "spam score", _number)
    elif key == "trusted":
        kept = reading.flag(value, "arc trusted")
    else:
        kept = _plain_texts(reading, value, f"{name} symbol")
    return None if kept is None or kept == [] else {key: kept}


def _is_result(name: str, word: str) -> bool:
    return word.lower() in RESULTS.get(name, ()) and word.upper() not in tuple(Status)


def _needs_engine(reading: Reading, node: Node, name: str) -> None:
    if name in ("spam", "virus") and name not in reading.engines:
        what = f"{name} is compared, but no {name} engine is configured, so it is always DISABLED"
        reading.error("no-engine", node, f"{what}; configure one in the settings or remove the condition")
    else:
        needs_check(reading, node, name)


def needs_check(reading: Reading, node: Node, name: str) -> None:
    """Whether a check is made that could make this condition hold; most conditions rest on none."""
    checks = _CHECKS.get(name, ())
    if checks and reading.engines.isdisjoint(checks):
        off = f"the setting verdicts.checks leaves out {' and '.join(checks)}, so it is never known"
        reading.error("no-check", node, f"{name} is compared, but {off}; name it there or remove the condition")


def _words(reading: Reading, node: Node, what: str, choices: tuple[str, ...]) -> list[str]:
    items = reading.one_or_more(node, what, one_of(choices))
    read = [reading.word(item, what, choices) for item in items]
    return list(dict.fromkeys(str(word) for word in read if word is not None))


def _plain_texts(reading: Reading, node: Node, what: str) -> list[str]:
    read = [reading.text(item, what) for item in reading.one_or_more(node, what, "text")]
    return [text for text in read if text is not None]


def _policy(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    needs_check(reading, node, name)
    policies = _words(reading, node, name, POLICIES)
    return {"policy": policies} if policies else None


def _bounds(reading: Reading, node: Node, what: str, read: Read) -> dict[str, Any] | None:
    example = "{gt: 5MB}" if read is _octets else "{gte: 6}"
    if not isinstance(node, Mapping) or not node.entries:
        reading.wrong_type(
            node, what, f"a comparison with {one_of(BOUNDS)}, as in {what.rsplit(maxsplit=1)[-1]}: {example}"
        )
        return None
    bounds = {
        key: read(reading, value, f"{what} {key}") for key, (_, value) in reading.entries(node, what, BOUNDS).items()
    }
    kept = {key: bound for key, bound in bounds.items() if bound is not None}
    lowest = max((kept[key] for key in ("gt", "gte") if key in kept), default=None)
    highest = min((kept[key] for key in ("lt", "lte") if key in kept), default=None)
    if lowest is not None and highest is not None and lowest > highest:
        reading.error("empty-range", node, f"{what} can never hold: more than {lowest} and less than {highest}")
    return kept or None


def _octets(reading: Reading, node: Node, what: str) -> int | None:
    return reading.octets(node, what)


def _number(reading: Reading, node: Node, what: str) -> float | None:
    if isinstance(node, Scalar) and type(node.value) in (int, float):
        return float(node.text)
    reading.wrong_type(node, what, "a number")
    return None


def _size(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    return _bounds(reading, node, name, _octets)


def _count(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    if isinstance(node, Scalar) and type(node.value) is int and node.value >= 0:
        return {"gte": node.value, "lte": node.value}
    return _bounds(reading, node, name, Reading.count)


def _source_ip(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    if isinstance(node, Mapping):
        known = reading.entries(node, name, ("in_list",))
        if "in_list" not in known:
            return None
        items = reading.one_or_more(known["in_list"][1], "source_ip in_list", "a list's name")
        lists = [_network_list(reading, item) for item in items]
        return {"in_list": [kept for kept in lists if kept is not None]}
    cidrs = [read_cidr(reading, item, name) for item in reading.one_or_more(node, name, "a network")]
    return {"cidrs": [cidr for cidr in cidrs if cidr is not None]}


def _network_list(reading: Reading, node: Node) -> str | None:
    name = read_list_name(reading, node, "source_ip in_list")
    if name in reading.lists and not any("/" in entry and "@" not in entry for entry in reading.lists[name]):
        reading.error(
            "wrong-list", node, f"the address list {shown(name)} holds no network; source_ip could never be in it"
        )
    return name


def _dnsbl(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    lists = [_dns_list(reading, item, name) for item in reading.one_or_more(node, name, "a list's name")]
    return {"lists": [kept for kept in lists if kept is not None]}


def _dns_list(reading: Reading, node: Node, name: str) -> str | None:
    zone = read_domain(reading, node, name)
    if zone is not None and reading.dns_lists is not None and zone not in reading.dns_lists:
        asked = one_of(sorted(reading.dns_lists)) if reading.dns_lists else "none"
        what = f"the list {shown(zone)} is compared, but nobody asks it; the setting dnsbl.lists names {asked}"
        reading.error("no-dns-list", node, f"{what}{nearest(zone, reading.dns_lists)}")
    return zone


def _tls(reading: Reading, node: Node, name: str) -> bool | dict[str, Any] | None:
    if isinstance(node, Mapping):
        known = reading.entries(node, name, ("min",))
        version = reading.word(known["min"][1], "tls min", TLS_VERSIONS) if "min" in known else None
        return None if version is None else {"min": version}
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    reading.wrong_type(node, name, "true, false or {min: TLSv1.3}")
    return None


def _attachment(reading: Reading, node: Node, name: str) -> dict[str, Any] | None:
    if not isinstance(node, Mapping) or not node.entries:
        reading.wrong_type(node, name, 'a mapping with name, type or size, as in {name: "*.exe"}')
        return None
    kept: dict[str, Any] = {}
    for key, (_, value) in reading.entries(node, name, ("name", "type", "size")).items():
        if key == "size":
            kept[key] = _bounds(reading, value, "attachment size", _octets)
        else:
            kept[key] = _plain_texts(reading, value, f"attachment {key}")
    for text in kept.get("type", ()):
        if text.count("/") != 1:
            at = node.entries["type"][1]
            reading.error(
                "bad-type",
                at,
                f"attachment type {shown(text)} is not a media type; expected image/* or application/pdf",
            )
    if "type" in kept:
        kept["type"] = [text.lower() for text in kept["type"]]
    return kept or None


def _flag(reading: Reading, node: Node, name: str) -> bool | None:
    return reading.flag(node, name)


FACTS: dict[str, Read] = {
    **dict.fromkeys(("spf", "dkim", "dmarc", "arc", "spam", "virus"), _verdict),
    "dmarc_policy": _policy,
    "size": _size,
    "recipients_count": _count,
    "attachments_count": _count,
    "source_ip": _source_ip,
    "dnsbl": _dnsbl,
    "tls": _tls,
    "attachment": _attachment,
    **dict.fromkeys(("auto_generated", "mailing_list", "line_too_long", "encrypted"), _flag),
}
