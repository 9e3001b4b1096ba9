"""The explanation on the screen: where the mail went and why, whatever strangers wrote into it."""

import copy

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.cli import layout
from gatepost.cli.story import render_explanation, saw_text, sentence


def result(method, word, reason="", **properties):
    return {"method": method, "result": word, "reason": reason, "properties": properties}


EXPLANATION = {
    "file": "samples/messages/invoice.eml",
    "message_id": "06drj67a100000000000000000000000000000g1",
    "envelope": {
        "mail_from": "billing@shop.example",
        "rcpt_to": ["support@example.com", "ann@example.com"],
        "client_ip": "192.0.2.10",
        "helo": "mail.shop.example",
        "guessed": ["rcpt_to"],
    },
    "verdicts": {
        "spf": {
            "status": "GRAY",
            "results": [result("spf", "softfail", "~all", **{"smtp.mailfrom": "billing@shop.example"})],
        },
        "dkim": {
            "status": "PASS",
            "results": [
                result("dkim", "pass", "", **{"header.d": "shop.example"}),
                result("dkim", "fail", "body hash", **{"header.d": "list.example"}),
            ],
        },
        "dmarc": {
            "status": "FAIL",
            "results": [result("dmarc", "fail", "", **{"header.from": "shop.example", "policy.p": "reject"})],
        },
        "arc": {"status": "GRAY", "results": [result("arc", "none")]},
        "spam": {"status": "DISABLED", "results": []},
        "virus": {"status": "DISABLED", "results": []},
    },
    "reply": {"code": 250, "enhanced": "2.0.0", "text": "Ok"},
    "rules": [
        {
            "name": "spoofs",
            "matched": False,
            "reason": "dmarc: FAIL does not hold (saw PASS)",
            "conditions": [{"condition": "dmarc: FAIL", "saw": "PASS", "result": False}],
        },
        {
            "name": "support",
            "matched": True,
            "reason": "takes support@example.com",
            "conditions": [
                {"condition": "subject: {contains: invoice}", "saw": "Your invoice", "result": True},
                {"condition": "unless recipient: abuse@example.com", "saw": "support@example.com", "result": False},
            ],
        },
        {
            "name": "partners",
            "matched": None,
            "reason": "cannot tell for ann@example.com: spf: PASS cannot be told (saw temperror); it does not run",
            "conditions": [{"condition": "spf: PASS", "saw": None, "result": None}],
        },
        {"name": "archive", "matched": True, "reason": "takes support@example.com, ann@example.com", "conditions": []},
    ],
    "steps": [
        {
            "rule": "support",
            "action": "add_header",
            "recipients": ["support@example.com"],
            "outcome": "done",
            "detail": "X-Team: support",
        },
        {
            "rule": "support",
            "action": "webhook",
            "recipients": ["support@example.com"],
            "outcome": "retrying",
            "detail": "HTTP 503",
        },
        {
            "rule": "archive",
            "action": "disk",
            "recipients": ["support@example.com", "ann@example.com"],
            "outcome": "would_run",
            "detail": "",
        },
    ],
    "prepended": ["Return-Path: <billing@shop.example>", "Received: from mail.shop.example"],
    "cut": ["X-SES-Spam-Verdict: PASS"],
}

SCREEN = """\
samples/messages/invoice.eml  06drj67a100000000000000000000000000000g1
  From      billing@shop.example
  To        support@example.com, ann@example.com (guessed)
  Client    192.0.2.10 helo mail.shop.example
  Verdicts  spf GRAY shop.example (softfail: ~all) · dkim PASS shop.example, list.example (fail: body hash)
            dmarc FAIL shop.example (policy reject) · arc GRAY (none) · spam, virus not checked
  Cut       X-SES-Spam-Verdict (forged: only we may write this)
  Reply     250 2.0.0 Ok

  · spoofs    not matched because dmarc: FAIL does not hold (saw PASS)
      ✗ dmarc: FAIL  saw PASS
  ✓ support   matched, takes support@example.com
      ✓ subject: {contains: invoice}         saw "Your invoice"
      ✓ unless recipient: abuse@example.com  saw support@example.com
      → add_header  done      X-Team: support (for support@example.com)
      → webhook     retrying  HTTP 503 (for support@example.com)
  ? partners  cannot tell for ann@example.com: spf: PASS cannot be told (saw temperror); it does not run
      ? spf: PASS  saw nothing
  ✓ archive   matched, takes support@example.com, ann@example.com
      → disk  would run

  2 fields on top: Return-Path, Received
  Accepted. 2 of 4 rules matched: support, archive. Cannot tell: partners. 3 steps: 1 done, 1 retrying, 1 would run."""


@pytest.fixture(autouse=True)
def a_wide_unicode_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(layout, "speaks_unicode", lambda: True)


def test_the_screen_tells_where_the_mail_went_and_why():
    assert click.unstyle(render_explanation(EXPLANATION)) == SCREEN


def test_without_unicode_the_marks_are_ascii_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(layout, "speaks_unicode", lambda: False)
    hostile = changed(subject="café 日本")
    screen = click.unstyle(render_explanation(hostile))
    assert screen.isascii()
    assert "+ support" in screen
    assert "- spoofs" in screen
    assert "-> webhook" in screen
    assert "caf\\xe9" in screen


def test_a_narrow_terminal_gets_narrow_lines(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    lines = click.unstyle(render_explanation(EXPLANATION)).split("\n")
    verdicts = [line for line in lines if "spf GRAY" in line or "dkim PASS" in line]
    assert len(verdicts) == 2
    reasons = lines[next(at for at, line in enumerate(lines) if "? partners" in line) :][:2]
    assert all(len(line) <= 70 for line in reasons)


def changed(*, subject="", **more):
    explanation = copy.deepcopy(EXPLANATION)
    explanation["rules"][1]["conditions"][0]["saw"] = subject
    explanation.update(more)
    return explanation


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("one\r\ntwo three", '"one\\r\\ntwo three"'),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_what_a_stranger_wrote_never_acts_on_the_terminal(subject, shown):
    assert f"saw {shown}" in click.unstyle(render_explanation(changed(subject=subject)))


HOSTILE = st.text(
    alphabet=st.sampled_from("a \x1b\x9b\r\n\t\0\x07\u202e\u2066\u200b\ud800\ufeff\U000e0041é日"), max_size=12
)


@settings(max_examples=40)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_of_an_explanation_reaches_the_terminal_raw(first, second, third):
    explanation = changed(subject=first, file=second)
    explanation["envelope"]["helo"] = second
    explanation["envelope"]["mail_from"] = third
    explanation["steps"][1]["detail"] = first
    explanation["rules"][0]["reason"] = third
    explanation["verdicts"]["spf"]["results"][0]["reason"] = second
    explanation["cut"] = [f"{third}: x"]
    explanation["reply"] = {"code": 550, "enhanced": "5.7.1", "text": first}
    plain = click.unstyle(render_explanation(explanation))
    assert set(plain) & set("\x1b\x9b\r\t\0\x07\u202e\u2066\u200b\ud800\ufeff\U000e0041") == set()
    assert all(line == "" or line.startswith("  ") for line in plain.split("\n")[1:])


def test_an_unless_that_holds_is_marked_as_what_prevented_the_rule():
    explanation = changed()
    explanation["rules"][1]["conditions"][1]["result"] = True
    assert "✗ unless recipient" in click.unstyle(render_explanation(explanation))


def test_a_refusal_says_so():
    reply = {"code": 550, "enhanced": "5.7.26", "text": "Failed DMARC"}
    assert sentence(changed(reply=reply)).startswith("Refused. 2 of 4 rules matched")
    assert sentence(changed(reply={**reply, "code": 451})).startswith("Deferred. ")


def test_a_mail_that_no_rule_took_is_told_from_one_that_no_rule_saw():
    rules = [dict(rule, matched=False) for rule in EXPLANATION["rules"]]
    assert sentence(changed(rules=rules, steps=[])) == "Accepted. None of 4 rules matched. Nothing is done with it."
    assert sentence(changed(rules=[], steps=[])) == "Accepted. No rule was asked. Nothing is done with it."


def test_the_null_sender_and_a_missing_client_are_named():
    envelope = {"mail_from": "", "rcpt_to": ["a@example.com"], "client_ip": None, "helo": None, "guessed": []}
    screen = click.unstyle(render_explanation(changed(envelope=envelope)))
    assert "From      <> (the null sender)" in screen
    assert "Client    no client address\n" in screen


def test_a_long_list_of_recipients_is_counted():
    envelope = {**EXPLANATION["envelope"], "rcpt_to": [f"u{number}@example.com" for number in range(9)], "guessed": []}
    assert "u0@example.com, u1@example.com, u2@example.com and 6 more" in render_explanation(changed(envelope=envelope))


@pytest.mark.parametrize(
    ("saw", "shown"),
    [
        (None, "nothing"),
        ("", '""'),
        ("word", "word"),
        ("two words", '"two words"'),
        (["a", "b c"], 'a, "b c"'),
        ([], "nothing"),
        (True, "true"),
        (4711, "4711"),
        ({"name": "a.pdf", "octets": 3}, "name a.pdf, octets 3"),
    ],
)
def test_what_a_condition_saw_is_plain(saw, shown):
    assert saw_text(saw) == shown
