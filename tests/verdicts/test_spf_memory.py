"""What is remembered of SPF is what pyspf would find now, and rests on the same answers; whatever changed is looked at again."""

from __future__ import annotations

from typing import Any

import pytest
import spf
from spf_suite import RECEIVED_AT, cases, sender

from mail.address import Mailbox
from mail.verdict import AuthResult
from verdicts import check_spf as module
from verdicts.check_spf import check_spf
from verdicts.dns_zone import ZoneResolver
from verdicts.inquiry import Ask, Inquiry, Need
from verdicts.ports import Answer
from verdicts.spf_memory import ANSWER_OCTETS, ENTRIES, SpfMemory

SENDER = Mailbox(local_part="a", domain="acme.example")


@pytest.fixture(autouse=True)
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The domains that pyspf really evaluated, from an empty memory on."""
    done: list[str] = []
    check = spf.query.check

    def counted(query: Any) -> Any:
        done.append(query.d)
        return check(query)

    monkeypatch.setattr(spf.query, "check", counted)
    monkeypatch.setattr(module, "_memory", SpfMemory())
    monkeypatch.setattr(module, "plain_result", lambda *_: None)  # which would leave pyspf little to do
    return done


def asked(zone: dict[str, Any], mailbox: Mailbox | None = SENDER, *, ip: str = "192.0.2.1") -> tuple[AuthResult, Ask]:
    ask = Inquiry(ZoneResolver(zone)).begin("spf")
    result = check_spf(ask, ip=ip, helo="mx.acme.example", reverse_path=mailbox, received_at=RECEIVED_AT)
    return result, ask


def zone(*records: str, **more: Any) -> dict[str, Any]:
    return {"acme.example": {"TXT": list(records)}, **more}


def test_the_whole_suite_is_the_same_the_second_time(evaluations: list[str]) -> None:
    suite = list(cases())
    for case in suite:
        first, ask = asked(case.zone, sender(case.mail_from), ip=case.ip)
        again, ask_again = asked(case.zone, sender(case.mail_from), ip=case.ip)
        assert first == again, case.name
        assert list(ask.used.items()) == list(ask_again.used.items()), case.name
    print(f"{len(suite)} cases, {len(evaluations)} evaluations of {2 * len(suite)}")
    assert len(suite) < len(evaluations) < 2 * len(suite) - 50


def test_another_sender_of_the_domain_is_not_evaluated_again(evaluations: list[str]) -> None:
    records = zone("v=spf1 ip4:192.0.2.0/24 -all")
    for local in "abc":
        result, _ = asked(records, Mailbox(local_part=local, domain="acme.example"))
        assert (result.result, result.properties["smtp.mailfrom"]) == ("pass", f"{local}@acme.example")
    assert evaluations == ["acme.example"]


@pytest.mark.parametrize(
    "changed",
    [
        zone("v=spf1 -all"),
        zone("v=spf1 include:b.example -all", **{"b.example": {"TXT": ["v=spf1 ip4:198.51.100.1 ?all"]}}),
        zone("v=spf1 include:b.example -all", **{"b.example": "SERVFAIL"}),
        zone("v=spf1 include:b.example -all"),
        {},
    ],
)
def test_a_changed_answer_counts_at_once(changed: dict[str, Any], evaluations: list[str]) -> None:
    before = zone("v=spf1 include:b.example -all", **{"b.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}})
    assert asked(before)[0].result == "pass"
    assert asked(changed)[0].result != "pass"
    assert len(evaluations) == 2
    assert asked(before)[0].result == "pass"


def test_another_client_address_is_evaluated_for_itself() -> None:
    records = zone("v=spf1 ip4:192.0.2.1 -all")
    assert [asked(records, ip=ip)[0].result for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [
        "pass",
        "fail",
        "pass",
    ]


def test_a_record_with_macros_is_evaluated_for_each_sender() -> None:
    records = zone("v=spf1 exists:%{l}.acme.example -all", **{"a.acme.example": {"A": ["127.0.0.2"]}})
    results = [asked(records, Mailbox(local_part=local, domain="acme.example"))[0].result for local in "ab"]
    assert results == ["pass", "fail"]


def test_an_answer_that_has_expired_is_asked_for_again() -> None:
    class Forgetful(ZoneResolver):
        def cached(self, name: str, type: str) -> Answer | None:  # type: ignore[override]  # noqa: A002
            return None

    assert asked(zone("v=spf1 -all"))[0].result == "fail"
    ask = Inquiry(Forgetful(zone("v=spf1 -all"))).begin("spf")
    with pytest.raises(Need):
        check_spf(ask, ip="192.0.2.1", helo="x", reverse_path=SENDER, received_at=RECEIVED_AT)


def test_what_is_remembered_is_bounded_in_number_and_octets() -> None:
    memory = SpfMemory()
    ask = Inquiry(ZoneResolver({"big.example": {"TXT": ["x" * (ANSWER_OCTETS + 1)]}})).begin("spf")
    ask("big.example", "TXT")
    memory.keep(ask, "192.0.2.1", "big.example", "none", "")
    assert not memory._findings
    empty = Inquiry(ZoneResolver({})).begin("spf")
    for number in range(ENTRIES + 10):
        memory.keep(empty, str(number), "acme.example", "none", "")
    assert len(memory._findings) == ENTRIES
    assert ("0", "acme.example") not in memory._findings
