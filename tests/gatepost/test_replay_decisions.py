"""A replay goes through admission, verdicts, rules and disposition as live mail does, and touches nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatepost.replay import Replayer
from gatepost.sample import read_sample
from gatepost.settings import Settings
from rules.compiled import compile_book
from rules.load import load_text
from verdicts.dns_zone import ZoneResolver

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = {
    "good.example": {"TXT": ["v=spf1 ip4:192.0.2.7 -all"]},
    "broken.example": "SERVFAIL",
    "7.2.0.192.in-addr.arpa": {"PTR": ["mx.good.example"]},
    "mx.good.example": {"A": ["192.0.2.7"]},
}
HEAD = """\
version: 1
domains: [ours.example]
filters: [{name: bad-range, policy: Block, cidr: 198.51.100.0/24}]
rule_sets:
  default:
"""
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"
KEEP = "    - {name: keep, recipients: [ours.example], actions: [{disk: {path: mail}}]}\n"
MAIL = b"From: a@good.example\r\nSubject: hi\r\n\r\nhi\r\n"
GIVEN = {
    "mail_from": "a@good.example",
    "rcpt_to": ["x@ours.example"],
    "client_ip": "192.0.2.7",
    "helo": "mx.good.example",
}


def book_of(rules: str):
    text = rules if rules.startswith("{") else HEAD + rules
    loaded = load_text(text.encode(), "rules.json" if rules.startswith("{") else "rules.yaml", Path())
    assert loaded.book is not None, [str(finding) for finding in loaded.findings]
    return compile_book(loaded.book)


async def replayed(tmp_path, rules=KEEP, raw=MAIL, *, run=False, settings=None, name="mail.eml", **given):
    path = tmp_path / name
    path.write_bytes(raw)
    book = book_of(rules)
    sample = read_sample(path, {**GIVEN, **given}, book.is_ours, book.postmaster_domain, lambda: NOW)
    settings = settings or Settings(hostname="mx.ours.example", data=tmp_path / "var")
    return await Replayer.of(settings, ZoneResolver(ZONE)).replay(sample, book, run=run)


def bounce(code, *, recipients="", more=""):
    """A rule that refuses with this code what SPF vouches for."""
    answer = f"{{bounce: {{smtp_reply_code: '{code}', message: Never}}}}"
    return f"    - {{name: no, {recipients}when: [{{spf: PASS}}], actions: [{answer}{more}]}}\n"


def steps(told):
    return [(step["rule"], step["action"], step["recipients"], step["outcome"]) for step in told["steps"]]


async def test_an_accepted_message_is_told_with_what_would_run(tmp_path):
    told = await replayed(tmp_path)
    assert told["reply"] == {"code": 250, "enhanced": "2.0.0", "text": f"Ok {told['message_id']}"}
    assert told["verdicts"]["spf"]["status"] == "PASS"
    assert steps(told) == [("keep", "disk", ["x@ours.example"], "would_run")]
    assert "refused" not in told
    assert not (tmp_path / "var").exists()


async def test_the_received_field_has_the_confirmed_name(tmp_path):
    told = await replayed(tmp_path)
    received = next(field for field in told["prepended"] if field.startswith("Received:"))
    assert "(mx.good.example [192.0.2.7])" in received


@pytest.mark.parametrize(
    "change", [{"raw": MAIL + b"x\r\n"}, {"helo": "other"}, {"rcpt_to": ["y@ours.example"]}, {"mail_from": "<>"}]
)
async def test_the_message_id_follows_from_bytes_and_envelope(tmp_path, change):
    first, second = await replayed(tmp_path), await replayed(tmp_path, name="other.eml")
    assert first["message_id"] == second["message_id"]
    assert (await replayed(tmp_path, **change))["message_id"] != first["message_id"]


async def test_recipients_that_are_refused_are_told_apart_and_reach_no_rule(tmp_path):
    told = await replayed(tmp_path, rcpt_to=["x@ours.example", "x@foreign.example", "y@ours.example"])
    assert told["reply"]["code"] == 250
    assert told["envelope"]["rcpt_to"] == ["x@ours.example", "x@foreign.example", "y@ours.example"]
    assert [(each["recipient"], each["reply"]["code"]) for each in told["refused"]] == [("x@foreign.example", 550)]
    assert steps(told) == [("keep", "disk", ["x@ours.example", "y@ours.example"], "would_run")]


@pytest.mark.parametrize(
    ("given", "enhanced", "by"),
    [
        ({"rcpt_to": ["x@foreign.example"]}, "5.7.1", ""),
        ({"client_ip": "198.51.100.9"}, "5.7.1", "bad-range"),
    ],
)
async def test_where_every_recipient_is_refused_no_rule_is_reached(tmp_path, given, enhanced, by):
    told = await replayed(tmp_path, **given)
    assert (told["reply"]["code"], told["reply"]["enhanced"]) == (550, enhanced)
    assert (told["rules"], told["steps"]) == ([], [])
    assert [each["by"] for each in told["refused"]] == [by]


async def test_a_recipient_that_no_rule_wants_does_not_exist(tmp_path):
    told = await replayed(tmp_path, "    - {name: one, recipients: [one@ours.example], actions: [{drop: {}}]}\n")
    assert told["reply"]["enhanced"] == "5.1.1"


async def test_a_message_with_too_many_received_fields_has_gone_in_a_circle(tmp_path):
    told = await replayed(tmp_path, raw=b"Received: by x.example; now\r\n" * 101 + MAIL)
    assert (told["reply"]["code"], told["reply"]["enhanced"]) == (554, "5.4.6")
    assert told["steps"] == []


async def test_a_bare_line_end_is_answered_as_on_the_wire(tmp_path):
    raw = MAIL + b"and\na bare LF\r\n"
    told = await replayed(tmp_path, raw=raw)
    assert (told["reply"]["code"], told["reply"]["enhanced"], told["steps"]) == (554, "5.5.2", [])
    assert told["verdicts"]["spf"]["status"] == "PASS"
    told = await replayed(tmp_path, raw=raw, settings=Settings(smtp_bare_newline="normalise"))
    assert told["reply"]["code"] == 250
    assert told["message_id"] == (await replayed(tmp_path, raw=raw.replace(b"and\n", b"and\r\n")))["message_id"]


async def test_a_file_with_lf_alone_is_taken_for_a_file_and_not_for_the_wire(tmp_path):
    assert (await replayed(tmp_path, raw=MAIL.replace(b"\r\n", b"\n")))["reply"]["code"] == 250


async def test_a_bounce_of_everybody_is_the_reply(tmp_path):
    rules = bounce(554) + KEEP
    told = await replayed(tmp_path, rules)
    assert told["reply"] == {"code": 554, "enhanced": "5.0.0", "text": "Never"}


async def test_a_bounce_of_some_leaves_the_message_accepted(tmp_path):
    rules = bounce(554, recipients="recipients: [y@ours.example], ") + KEEP
    told = await replayed(tmp_path, rules, rcpt_to=["x@ours.example", "y@ours.example"])
    assert told["reply"]["code"] == 250
    assert ("no", "bounce", ["y@ours.example"], "would_run") in steps(told)


async def test_a_deferred_message_tells_why_and_runs_nothing(tmp_path):
    rules = "    - {name: spf, when: [{spf: PASS}], actions: [{drop: {}}]}\n" + KEEP
    told = await replayed(tmp_path, rules, mail_from="a@broken.example")
    assert (told["reply"]["code"], told["reply"]["enhanced"]) == (451, "4.7.0")
    assert [(rule["name"], rule["matched"]) for rule in told["rules"]] == [("spf", None), ("keep", True)]
    assert told["steps"] == []


async def test_a_temporary_bounce_is_a_deferral(tmp_path):
    rules = bounce(450) + KEEP
    told = await replayed(tmp_path, rules)
    assert (told["reply"]["code"], told["reply"]["text"]) == (450, "Never")
    assert told["steps"] == []


async def test_recipients_with_other_rules_wait_for_their_own_transaction_if_the_settings_say_so(tmp_path):
    rules = KEEP + "    - {name: more, recipients: [y@ours.example], actions: [{disk: {path: more}}]}\n"
    settings = Settings(hostname="mx.ours.example", data=tmp_path / "var", verdicts_split_recipients=True)
    told = await replayed(tmp_path, rules, settings=settings, rcpt_to=["x@ours.example", "y@ours.example"])
    assert [(each["recipient"], each["reply"]["code"]) for each in told["refused"]] == [("y@ours.example", 452)]


async def test_a_recipient_named_twice_is_one(tmp_path):
    told = await replayed(tmp_path, rcpt_to=["x@ours.example", "x@OURS.example"])
    assert steps(told) == [("keep", "disk", ["x@ours.example"], "would_run")]


async def test_the_null_sender_is_null(tmp_path):
    told = await replayed(tmp_path, mail_from="<>")
    assert told["envelope"]["mail_from"] is None
    assert told["prepended"][0] == "Return-Path: <>"


async def test_forged_fields_are_told_as_cut(tmp_path):
    told = await replayed(tmp_path, raw=b"X-SES-Spam-Verdict: PASS\r\n" + MAIL)
    assert told["cut"] == ["X-SES-Spam-Verdict: PASS"]


async def test_without_a_client_address_spf_is_none_and_says_why(tmp_path):
    told = await replayed(tmp_path, client_ip=None)
    (result,) = told["verdicts"]["spf"]["results"]
    assert (result["result"], result["reason"]) == ("none", "no client address")


async def test_with_run_the_actions_really_run(tmp_path):
    told = await replayed(tmp_path, run=True)
    assert steps(told) == [("keep", "disk", ["x@ours.example"], "done")]
    (stored,) = (tmp_path / "var" / "mail").iterdir()
    assert stored.name == told["message_id"]
    assert stored.read_bytes().endswith(MAIL)
    assert told["file"].endswith("mail.eml")


async def test_with_run_what_fails_is_told_as_it_stands_after_one_attempt(tmp_path):
    rules = "    - {name: hook, actions: [{webhook: {url: 'http://127.0.0.1:9/'}}, {disk: {path: mail}}]}\n"
    told = await replayed(tmp_path, rules, run=True)
    assert [(step["action"], step["outcome"]) for step in told["steps"]] == [("webhook", "retrying"), ("disk", "done")]


async def test_with_run_a_refused_message_runs_nothing(tmp_path):
    rules = bounce(554, more=", {stop: {}}") + KEEP
    told = await replayed(tmp_path, rules, run=True)
    assert told["reply"]["code"] == 554
    assert not (tmp_path / "var").exists()


async def test_a_step_that_has_no_target_here_is_unmapped_and_says_which(tmp_path):
    arn = "arn:aws:workmail:eu-west-1:123456789012:organization/m-1"
    bucket = {"S3Action": {"BucketName": "mail"}}
    actions = [{"WorkmailAction": {"OrganizationArn": arn}}, {"LambdaAction": {"FunctionArn": FUNCTION}}, bucket]
    rule = {"Name": "a", "Enabled": True, "Recipients": ["ours.example"], "Actions": actions}
    told = await replayed(tmp_path, json.dumps({"Metadata": {"Name": "production"}, "Rules": [rule]}))
    assert [(step["action"], step["outcome"]) for step in told["steps"]] == [
        ("workmail", "unmapped"),
        ("lambda", "would_run"),
        ("s3", "would_run"),
    ]
    assert told["steps"][0]["detail"] == f"{arn} has no local target"
