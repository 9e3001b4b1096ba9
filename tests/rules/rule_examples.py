"""Receipts, rules and books in one line each, for the tests of rules/."""

from datetime import UTC, datetime
from typing import Any

from mail.address import Mailbox, parse_mailbox
from mail.client import Client, Tls
from mail.envelope import Envelope, Recipient
from mail.receipt import Receipt
from mail.verdict import AuthResult, ScanResult, Status, Verdicts
from rules.compiled import CompiledBook
from rules.model import ActionSpec, Condition, Filter, Rule, RuleBook, RuleSet

TLS = Tls(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")


def mailbox(text: str) -> Mailbox:
    return parse_mailbox(text)


def verdicts(**given: Any) -> Verdicts:
    """Verdicts by RFC 8601 word (`spf="fail"`, `dkim="pass fail"`), the rest none; other fields as they are."""
    words = {method: given.pop(method, "none") for method in ("spf", "dmarc", "arc")}
    properties = given.pop("properties", {})
    results = {
        method: AuthResult(method=method, result=word, properties=properties.get(method, {}))
        for method, word in words.items()
    }
    dkim = tuple(
        AuthResult(method="dkim", result=word, properties=properties.get("dkim", {}))
        for word in given.pop("dkim", "").split()
    )
    return Verdicts(dkim=dkim, **results, **given)


def scan(status: str, **given: Any) -> ScanResult:
    return ScanResult(status=Status(status), engine="test", **given)


def receipt(*recipients: str, **given: Any) -> Receipt:
    """A receipt for these recipients; `header` is text, `ip` and `tls` of the client, `reverse_path` an address or None."""
    reverse_path = given.pop("reverse_path", "sender@sender.example")
    header = given.pop("header", "From: sender@sender.example\nSubject: hello\n")
    client = Client(
        ip=given.pop("ip", "192.0.2.1"),
        helo=given.pop("helo", "mx.sender.example"),
        name=given.pop("name", None),
        tls=given.pop("tls", None),
    )
    return Receipt(
        message_id="m1",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        client=client,
        envelope=Envelope(
            reverse_path=None if reverse_path is None else mailbox(reverse_path),
            recipients=tuple(Recipient(mailbox=mailbox(one)) for one in recipients or ("a@example.com",)),
        ),
        size=given.pop("size", 1000),
        digest="",
        verdicts=given.pop("verdicts", verdicts()),
        header=header.replace("\n", "\r\n").encode() + b"\r\n",
        **given,
    )


def condition(name: str, value: Any) -> Condition:
    return Condition(name=name, value=value)


def string(operator: str, *values: str) -> dict[str, Any]:
    return {"op": operator, "values": list(values)}


def status(method: str, *words: str) -> Condition:
    return condition(method, {"status": list(words)})


def bounce(code: str = "550", status_code: str | None = None, message: str = "no") -> ActionSpec:
    return ActionSpec(
        type="bounce", parameters={"smtp_reply_code": code, "status_code": status_code, "message": message}
    )


def stop(scope: str = "RuleSet") -> ActionSpec:
    return ActionSpec(type="stop", parameters={"scope": scope})


def add_header(name: str, value: str) -> ActionSpec:
    return ActionSpec(type="add_header", parameters={"header_name": name, "header_value": value})


def function(invocation_type: str = "RequestResponse") -> ActionSpec:
    return ActionSpec(type="lambda", parameters={"function_arn": "python:a:b", "invocation_type": invocation_type})


DISK = ActionSpec(type="disk", parameters={"path": "mail"})
DROP = ActionSpec(type="drop")


def rule(name: str, *actions: ActionSpec, **given: Any) -> Rule:
    return Rule(name=name, actions=actions, **given)


def book(*rules: Rule, **given: Any) -> CompiledBook:
    given.setdefault("domains", ("example.com", ".example.com"))
    return CompiledBook(RuleBook(active="s", rule_sets=(RuleSet(name="s", rules=rules),), **given))


def block(name: str, *cidrs: str, recipients: tuple[str, ...] = ()) -> Filter:
    return Filter(name=name, policy="Block", cidrs=cidrs, recipients=recipients)


def allow(name: str, *cidrs: str, recipients: tuple[str, ...] = ()) -> Filter:
    return Filter(name=name, policy="Allow", cidrs=cidrs, recipients=recipients)
