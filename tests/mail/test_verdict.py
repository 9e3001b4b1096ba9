"""SES's status from RFC 8601's words (semantics.md §5)."""

import pytest

from mail.verdict import AuthResult, ScanResult, Status, Verdicts, dkim_status


def verdicts(spf="none", dkim=(), dmarc="none", **more):
    return Verdicts(
        spf=AuthResult(method="spf", result=spf, properties={"smtp.mailfrom": "a@From.example"}),
        dkim=tuple(AuthResult(method="dkim", result=result, properties={"header.d": "D.example"}) for result in dkim),
        dmarc=AuthResult(method="dmarc", result=dmarc),
        arc=AuthResult(method="arc", result="none"),
        **more,
    )


SPF = {
    "pass": "PASS",
    "fail": "FAIL",
    "softfail": "GRAY",
    "neutral": "GRAY",
    "none": "GRAY",
    "temperror": "PROCESSING_FAILED",
    "permerror": "PROCESSING_FAILED",
}
DKIM = [
    ((), "GRAY"),
    (("none",), "GRAY"),
    (("pass",), "PASS"),
    (("fail", "pass"), "PASS"),
    (("temperror", "pass"), "PASS"),
    (("fail",), "FAIL"),
    (("neutral",), "FAIL"),
    (("policy",), "FAIL"),
    (("fail", "temperror"), "PROCESSING_FAILED"),
    (("permerror",), "PROCESSING_FAILED"),
    (("permerror", "fail"), "FAIL"),
]
DMARC = {
    "pass": "PASS",
    "fail": "FAIL",
    "none": "GRAY",
    "temperror": "PROCESSING_FAILED",
    "permerror": "PROCESSING_FAILED",
}


@pytest.mark.parametrize(("result", "status"), SPF.items())
def test_spf(result, status):
    assert verdicts(spf=result).status("spf") == status


@pytest.mark.parametrize(("results", "status"), DKIM)
def test_dkim(results, status):
    assert dkim_status(results) == status


@pytest.mark.parametrize(("result", "status"), DMARC.items())
def test_dmarc(result, status):
    assert verdicts(dmarc=result).status("dmarc") == status


def test_without_an_engine_a_scan_is_disabled_and_never_pass():
    assert verdicts().status("spam") is Status.DISABLED
    assert verdicts().results("virus") == ()


def test_a_rule_that_does_not_scan_sees_disabled_though_another_scanned():
    judged = verdicts(spam=ScanResult(status=Status.FAIL, engine="x"))
    assert judged.as_seen(scanned=True).status("spam") is Status.FAIL
    assert judged.as_seen(scanned=False).status("spam") is Status.DISABLED


def test_authenticated_domains_are_those_that_passed():
    judged = verdicts(spf="pass", dkim=("pass", "fail"), dmarc="pass", from_domain="from.example")
    assert (judged.spf_domain, judged.dkim_domains, judged.from_domain_aligned) == (
        "from.example",
        ("d.example",),
        "from.example",
    )
    judged = verdicts(spf="softfail", dkim=("fail",), dmarc="fail", from_domain="from.example")
    assert (judged.spf_domain, judged.dkim_domains, judged.from_domain_aligned) == (None, (), None)
