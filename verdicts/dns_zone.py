"""DNS from a zone file: for tests, samples and `--dns FILE`.

The data is `name: {TXT: [text, ...], A: [ip], AAAA: [ip], MX: [[10, host]], CNAME: [host], PTR: [host]}`, or `name: SERVFAIL` or
`name: TIMEOUT`, also for a single type of a name. An absent name is NXDOMAIN. A text may be a list of strings, which DNS joins.
SPF, the type that RFC 7208 §3.1 gave up, may stand in a zone; nothing asks for it.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from mail.errors import Malformed
from verdicts.ports import Answer, Lookup

TYPES = ("TXT", "SPF", "A", "AAAA", "MX", "CNAME", "PTR")
FAILURES = ("SERVFAIL", "TIMEOUT")
TTL_SECONDS = 3600
CNAME_LIMIT = 8

_NXDOMAIN = Answer(outcome=Lookup.NONE, ttl=TTL_SECONDS, detail="NXDOMAIN")
_NO_DATA = Answer(outcome=Lookup.NONE, ttl=TTL_SECONDS)
_FAILED = {word: Answer(outcome=Lookup.TEMPORARY, ttl=TTL_SECONDS, detail=word) for word in FAILURES}


class ZoneResolver:
    """Answers everything at once. Raises `Malformed` for data that is no zone, naming the entry."""

    def __init__(self, zone: Mapping[str, Any]) -> None:
        self._names: dict[str, Answer | dict[str, Answer]] = {}
        for name, entry in zone.items():
            self._names[str(name).lower().removesuffix(".")] = _entry(str(name), entry)

    async def lookup(self, name: str, type: str) -> Answer:  # noqa: A002
        return self.cached(name, type)

    def cached(self, name: str, type: str) -> Answer:  # noqa: A002
        for _ in range(CNAME_LIMIT + 1):
            entry = self._names.get(name.lower().removesuffix("."), _NXDOMAIN)
            if isinstance(entry, Answer):
                return entry
            found = entry.get(type)
            if found is not None:
                return found
            alias = entry.get("CNAME")
            if alias is None:
                return _NO_DATA
            if alias.outcome is Lookup.TEMPORARY:
                return alias
            name = alias.records[0]
        # What a resolver answers that gave up on a chain or a loop.
        return Answer(outcome=Lookup.TEMPORARY, ttl=TTL_SECONDS, detail="SERVFAIL")


def _entry(name: str, entry: Any) -> Answer | dict[str, Answer]:
    if isinstance(entry, str) and entry.upper() in FAILURES:
        return _FAILED[entry.upper()]
    if not isinstance(entry, Mapping):
        raise Malformed(f"{name}: expected a mapping of types to lists, SERVFAIL or TIMEOUT")
    answers: dict[str, Answer] = {}
    for type_, values in entry.items():
        kind = str(type_).upper()
        if kind not in TYPES:
            raise Malformed(f"{name}: unknown type {type_}; expected one of {', '.join(TYPES)}")
        if isinstance(values, str) and values.upper() in FAILURES:
            answers[kind] = _FAILED[values.upper()]
            continue
        listed = values if isinstance(values, list) else [values]
        if listed:
            records = tuple(_record(name, kind, value) for value in listed)
            answers[kind] = Answer(outcome=Lookup.RECORDS, records=records, ttl=TTL_SECONDS)
    return answers


def _record(name: str, kind: str, value: Any) -> str:
    try:
        match kind:
            case "TXT" | "SPF":
                strings = value if isinstance(value, list) else [value]
                return "".join(str(string) for string in strings).encode().decode("latin-1")
            case "A":
                return str(ipaddress.IPv4Address(value))
            case "AAAA":
                return str(ipaddress.IPv6Address(value))
            case "MX":
                preference, host = value.split() if isinstance(value, str) else value
                return f"{int(preference)} {str(host).removesuffix('.')}"
    except (ValueError, TypeError):
        raise Malformed(f"{name}: not a valid {kind} record") from None
    if not isinstance(value, str):
        raise Malformed(f"{name}: expected a host name for {kind}")
    return value.removesuffix(".")
