"""Conditions on sizes and counts, on attachments, and on the client's connection."""

import fnmatch
import re
from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Any

from mail.address import Mailbox
from mail.receipt import Attachment
from rules.conditions_strings import AddressLists
from rules.facts import NOT_RECORDED, NOT_YET, Facts, Seen, Test, shown
from rules.filters import PrefixTree

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
LINE_OCTETS = 998  # RFC 5322 §2.1.1


def holds_all(bounds: Mapping[str, float], number: float) -> bool:
    """Whether every bound of `{gt gte lt lte}` holds."""
    return all(_OPERATORS[name](number, bound) for name, bound in bounds.items())


def compile_size(value: Mapping[str, int], _: AddressLists) -> Test:
    """Octets of the message; at RCPT those that MAIL declared (RFC 1870), which the client is held to."""

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        return NOT_YET if facts.size is None else Seen(holds_all(value, facts.size), facts.size)

    return test


def compile_recipients_count(value: Mapping[str, int], _: AddressLists) -> Test:
    """Envelope recipients that were accepted, whether this rule wants them or not."""

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        count = facts.recipients_count
        return NOT_YET if count is None else Seen(holds_all(value, count), count)

    return test


def compile_attachments_count(value: Mapping[str, int], _: AddressLists) -> Test:
    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.attachments is None:
            return NOT_YET if facts.header is None else NOT_RECORDED
        return Seen(holds_all(value, len(facts.attachments)), len(facts.attachments))

    return test


def compile_attachment(value: Mapping[str, Any], _: AddressLists) -> Test:
    """One attachment that meets every key. A name is compared without its path; types and globs without regard to case."""
    names = [re.compile(fnmatch.translate(glob.lower())) for glob in value.get("name", ())]
    types = [re.compile(fnmatch.translate(glob.lower())) for glob in value.get("type", ())]
    size: Mapping[str, int] = value.get("size", {})

    def meets(attachment: Attachment) -> bool:
        name = re.split(r"[/\\]", attachment.name.lower())[-1]
        return (
            (not names or any(glob.match(name) for glob in names))
            and (not types or any(glob.match(attachment.type.lower()) for glob in types))
            and holds_all(size, attachment.octets)
        )

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.attachments is None:
            return NOT_YET if facts.header is None else NOT_RECORDED
        found = next((one for one in facts.attachments if meets(one)), None)
        saw = (found,) if found else facts.attachments
        return Seen(
            found is not None, shown([{"name": one.name, "type": one.type, "octets": one.octets} for one in saw])
        )

    return test


def compile_source_ip(value: Mapping[str, list[str]], lists: AddressLists) -> Test:
    trees = [lists.networks(name) for name in value.get("in_list", ())]
    if "cidrs" in value:
        trees.append(PrefixTree([value["cidrs"]]))

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        address = facts.client.address
        if address is None:
            return Seen(None, "no client address")
        return Seen(any(next(tree.holders(address), None) is not None for tree in trees), facts.client.ip)

    return test


def compile_dnsbl(value: Mapping[str, list[str]], _: AddressLists) -> Test:
    """Any of these DNS block lists lists the client."""
    wanted = frozenset(value["lists"])

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.dnsbl is None:
            return NOT_YET
        return Seen(any(name.lower() in wanted for name in facts.dnsbl), list(facts.dnsbl))

    return test


def compile_tls(value: bool | Mapping[str, str], _: AddressLists) -> Test:
    """Whether the message came over TLS; `{min: VERSION}` also asks for this version or a later one."""

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        tls = facts.client.tls
        saw = None if tls is None else tls.version
        if isinstance(value, bool):
            return Seen((tls is not None) is value, saw)
        return Seen(saw in _TLS_VERSIONS[_TLS_VERSIONS.index(value["min"]) :], saw)

    return test


def compile_line_too_long(value: bool, _: AddressLists) -> Test:
    """Some line has more than 998 octets (RFC 5322 §2.1.1); the trace shows the longest."""

    def test(facts: Facts, _: Mailbox | None) -> Seen:
        if facts.longest_line is None:
            return NOT_YET if facts.header is None else NOT_RECORDED
        return Seen((facts.longest_line > LINE_OCTETS) is value, facts.longest_line)

    return test
