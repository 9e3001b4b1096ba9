from typing import Any

import pytest
from rule_examples import TLS, condition, mailbox, receipt, scan, status, string, verdicts

from mail.client import Client, Tls
from mail.receipt import Attachment, Receipt
from mail.values import changed
from mail.verdict import CHECKS, switched_off
from rules.conditions import CONDITIONS, all_of, any_of, compile_condition
from rules.conditions_strings import AddressLists
from rules.facts import Facts, Seen
from rules.model import Condition

LISTS = AddressLists(
    {"partners": ("acme.example", ".beta.example", "vip@mail.example"), "nets": ("192.0.2.0/24", "2001:db8::/32")}
)


def seen(one: Condition, message: Receipt, address: str | None = "a@example.com") -> Seen:
    test = compile_condition(one, LISTS).test
    return test(Facts.of(message), None if address is None else mailbox(address))


def result(name: str, value: Any, message: Receipt) -> bool | None:
    return seen(condition(name, value), message).result


VERDICTS = [
    ("spf", "fail", ["FAIL"], True),
    ("spf", "softfail", ["GRAY", "FAIL"], True),
    ("spf", "pass", ["FAIL"], False),
    ("spf", "permerror", ["FAIL"], False),
    ("spf", "permerror", ["PROCESSING_FAILED"], True),
    ("spf", "temperror", ["FAIL"], None),
    ("spf", "temperror", ["PASS"], None),
    ("spf", "temperror", ["PROCESSING_FAILED"], True),
    ("dmarc", "temperror", ["FAIL"], None),
    ("dmarc", "temperror", ["FAIL", "PROCESSING_FAILED"], True),
    ("dmarc", "permerror", ["FAIL"], False),
    ("dmarc", "none", ["GRAY"], True),
    ("arc", "temperror", ["PASS"], None),
    ("dkim", "", ["GRAY"], True),
    ("dkim", "fail temperror", ["FAIL"], None),
    ("dkim", "pass temperror", ["PASS"], True),
    ("dkim", "pass temperror", ["FAIL"], False),
    ("dkim", "permerror", ["PROCESSING_FAILED"], True),
    ("dkim", "permerror", ["FAIL"], False),
]


@pytest.mark.parametrize(("method", "word", "wanted", "expected"), VERDICTS)
def test_status_of_a_verdict_that_may_still_change_is_unknown(
    method: str, word: str, wanted: list[str], expected: bool | None
) -> None:
    answer = seen(status(method, *wanted), receipt(verdicts=verdicts(**{method: word})))
    assert answer.result is expected
    assert answer.is_temporary is (expected is None)


@pytest.mark.parametrize(
    ("method", "word", "wanted", "expected"),
    [
        ("spf", "softfail", "softfail", True),
        ("spf", "neutral", "softfail", False),
        ("spf", "temperror", "softfail", None),
        ("spf", "temperror", "temperror", True),
        ("dkim", "", "none", True),
        ("dkim", "pass fail", "fail", True),
        ("dkim", "pass temperror", "fail", None),
    ],
)
def test_result_asks_for_the_word_of_rfc_8601(method: str, word: str, wanted: str, expected: bool | None) -> None:
    message = receipt(verdicts=verdicts(**{method: word}))
    assert result(method, {"result": [wanted]}, message) is expected


OFF = receipt(
    verdicts=changed(
        verdicts(),
        **{check: switched_off(check) for check in ("spf", "dmarc", "arc")},
        dkim=(switched_off("dkim"),),
    )
)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        *((status(check, "PASS", "FAIL", "GRAY", "PROCESSING_FAILED"), False) for check in CHECKS),
        *((status(check, "DISABLED"), True) for check in CHECKS),
        *((condition(check, {"result": ["none", "pass", "temperror"]}), False) for check in CHECKS),
        (condition("arc", {"trusted": True}), False),
        (condition("arc", {"trusted": False}), True),
        (condition("dmarc_policy", {"policy": ["none", "quarantine", "reject"]}), False),
        (condition("authenticated_domain", string("equals", "from.example")), False),
    ],
)
def test_a_check_that_is_off_is_an_answer_and_never_unknown(one: Condition, expected: bool) -> None:
    """A message taken under other settings may be walked by any rules: nobody will ever judge it."""
    assert seen(one, OFF).result is expected


def test_scanner_that_failed_is_unknown_and_one_that_is_not_there_is_not() -> None:
    failed = receipt(verdicts=verdicts(spam=scan("PROCESSING_FAILED", reason="timeout")))
    assert seen(status("spam", "FAIL"), failed) == Seen(None, "PROCESSING_FAILED (timeout)", True)
    assert result("spam", {"score": {"gte": 6.0}}, failed) is None
    assert result("spam", {"symbol": ["GTUBE"]}, failed) is None
    assert result("spam", {"status": ["PROCESSING_FAILED"]}, failed) is True
    assert result("virus", {"status": ["FAIL"]}, failed) is False  # DISABLED
    assert result("spam", {"score": {"gte": 6.0}}, receipt()) is False


def test_a_message_that_cannot_be_scanned_ever_is_unknown_for_good() -> None:
    too_large = receipt(verdicts=verdicts(spam=scan("PROCESSING_FAILED", reason="too large", is_temporary=False)))
    assert seen(status("spam", "FAIL"), too_large) == Seen(None, "PROCESSING_FAILED (too large)", False)
    for value in ({"score": {"gte": 6.0}}, {"symbol": ["GTUBE"]}):
        assert seen(condition("spam", value), too_large) == Seen(None, "too large", False)


def test_score_and_symbol_are_those_of_the_scan() -> None:
    message = receipt(verdicts=verdicts(spam=scan("GRAY", score=6.0, symbols=("BAYES_99", "GTUBE"))))
    assert result("spam", {"score": {"gte": 6.0, "lt": 7.0}}, message) is True
    assert result("spam", {"score": {"gt": 6.0}}, message) is False
    assert result("spam", {"symbol": ["gtube"]}, message) is True
    assert result("spam", {"symbol": ["OTHER"]}, message) is False


@pytest.mark.parametrize(
    ("word", "trusted", "expected"),
    [
        ("pass", "true", True),
        ("pass", "", False),
        ("fail", "true", False),
        ("none", "", False),
        ("temperror", "true", None),
    ],
)
def test_arc_is_trusted_only_where_a_valid_chain_has_a_trusted_sealer(
    word: str, trusted: str, expected: bool | None
) -> None:
    message = receipt(verdicts=verdicts(arc=word, properties={"arc": {"policy.trusted": trusted}}))
    assert result("arc", {"trusted": True}, message) is expected
    assert result("arc", {"trusted": False}, message) is (None if expected is None else not expected)


def test_dmarc_policy_of_a_domain_without_record_is_not_none() -> None:
    assert result("dmarc_policy", {"policy": ["none"]}, receipt()) is False
    assert result("dmarc_policy", {"policy": ["reject", "none"]}, receipt(verdicts=verdicts(dmarc_policy="reject")))
    assert result("dmarc_policy", {"policy": ["none"]}, receipt(verdicts=verdicts(dmarc="temperror"))) is None


def test_authenticated_domain_is_any_that_passed_and_unknown_while_more_may_pass() -> None:
    passed = {"spf": {"smtp.mailfrom": "a@acme.example"}, "dkim": {"header.d": "x.beta.example"}}
    known = receipt(verdicts=verdicts(spf="pass", dkim="temperror", properties=passed))
    assert result("authenticated_domain", string("in_list", "partners"), known) is True
    assert result("authenticated_domain", string("equals", "other.example"), known) is None
    assert result("authenticated_domain", string("not_equals", "other.example"), known) is None
    assert result("authenticated_domain", string("not_equals", "acme.example"), known) is False
    assert result("spf_domain", string("equals", "acme.example"), known) is True
    assert result("spf_domain", string("equals", "other.example"), known) is False
    assert result("dkim_domain", string("equals", "acme.example"), known) is None
    signed = receipt(verdicts=verdicts(dkim="pass", properties=passed))
    assert result("dkim_domain", string("in_list", "partners"), signed) is True
    failed = receipt(
        verdicts=verdicts(spf="fail", dkim="fail", dmarc="fail", from_domain="acme.example", properties=passed)
    )
    assert result("authenticated_domain", string("in_list", "partners"), failed) is False
    assert result("from_domain_aligned", string("equals", "acme.example"), failed) is False


HEADER = (
    'From: "Boss, the" <Boss@Acme.Example>, other@x.beta.example\nTo: A <a@example.com>\nCc: c+tag@example.com\n'
    "Reply-To: evil@elsewhere.example\nSender: list@lists.example\nSubject: =?utf-8?q?Rechnung_M=C3=A4rz?=\n"
    "X-Tag: one\nX-Tag: TWO three\n"
)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("from", string("equals", "boss@acme.example"), True),
        ("from", string("equals", "acme.example"), True),
        ("from", string("equals", ".beta.example"), True),
        ("from", string("equals", "beta.example"), False),
        ("from", string("in_list", "partners"), True),
        ("from", string("not_equals", "boss@acme.example"), False),
        ("from", string("not_equals", "c@example.com"), True),
        ("from", string("contains", "boss, the"), False),  # display names are not compared
        ("from", string("starts_with", "BOSS@"), True),
        ("from", string("ends_with", ".example"), True),
        ("sender", string("equals", "lists.example"), True),
        ("reply_to", string("equals", "elsewhere.example"), True),
        ("to", string("equals", "a@example.com"), True),
        ("cc", string("equals", "c@example.com"), True),
        ("cc", string("equals", "c+other@example.com"), False),
        ("subject", string("equals", "rechnung märz"), True),
        ("subject", string("contains", "nothing", "MÄRZ"), True),
        ("subject", string("matches", "^rech.*m.rz$"), True),
        ("subject", string("matches", r"\d"), False),
        ("header", {"name": "x-tag", **string("equals", "two three")}, True),
        ("header", {"name": "X-Tag", **string("not_equals", "one")}, False),
        ("header", {"name": "X-Tag", "exists": True}, True),
        ("header", {"name": "X-None", "exists": False}, True),
        ("header", {"name": "X-None", **string("not_equals", "x")}, True),
        ("header", {"name": "X-None", **string("contains", "")}, False),
        ("helo", string("equals", ".sender.example"), True),
        ("helo", string("equals", "sender.example"), False),
        ("mail_from", string("equals", "sender.example"), True),
        ("mail_from", string("equals", ""), False),
        ("recipient", string("equals", "a@example.com"), True),
        ("recipient", string("matches", "^b@"), False),
        ("reverse_dns", string("ends_with", ".example"), False),
        ("size", {"gt": 999, "lte": 1000}, True),
        ("size", {"gt": 1000}, False),
        ("recipients_count", {"gte": 2}, False),
        ("source_ip", {"cidrs": ["192.0.2.0/25"]}, True),
        ("source_ip", {"in_list": ["nets"]}, True),
        ("source_ip", {"cidrs": ["198.51.100.0/24"]}, False),
        ("dnsbl", {"lists": ["zen.dnsbl.example"]}, True),
        ("dnsbl", {"lists": ["other.dnsbl.example"]}, False),
        ("tls", False, True),
        ("tls", {"min": "TLSv1"}, False),
        ("attachments_count", {"gt": 1}, True),
        ("attachment", {"name": ["*.EXE"]}, True),
        ("attachment", {"name": ["*.pdf"], "type": ["image/*"]}, False),
        ("attachment", {"name": ["*.exe"], "type": ["application/*"], "size": {"lt": 100}}, True),
        ("line_too_long", True, True),
        ("encrypted", False, True),
    ],
)
def test_condition_over_a_whole_message(name: str, value: Any, expected: bool) -> None:
    message = receipt(
        header=HEADER,
        dnsbl=("ZEN.dnsbl.example",),
        attachments=(
            Attachment(name="a.pdf", type="application/pdf", octets=500),
            Attachment(name=r"C:\x\Virus.exe", type="application/octet-stream", octets=50),
        ),
        longest_line=999,
    )
    assert result(name, value, message) is expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attachments_count", {"gt": 1}),
        ("attachment", {"name": ["*"]}),
        ("line_too_long", True),
    ],
)
def test_what_was_not_recorded_is_unknown_for_good(name: str, value: Any) -> None:
    assert seen(condition(name, value), receipt()) == Seen(None, "not recorded")


def test_without_client_address_its_conditions_are_unknown_for_good() -> None:
    assert seen(condition("source_ip", {"in_list": ["nets"]}), receipt(ip=None)) == Seen(None, "no client address")
    assert seen(condition("reverse_dns", string("equals", "a.example")), receipt(ip=None)).result is None


def test_null_reverse_path_is_the_empty_text() -> None:
    assert result("mail_from", string("equals", ""), receipt(reverse_path=None)) is True
    assert result("mail_from", string("contains", "@"), receipt(reverse_path=None)) is False


@pytest.mark.parametrize(("least", "expected"), [("TLSv1.2", True), ("TLSv1.3", False)])
def test_tls_version_is_at_least_the_one_asked_for(least: str, expected: bool) -> None:
    assert result("tls", {"min": least}, receipt(tls=Tls(version="TLSv1.2", cipher="x"))) is expected
    assert result("tls", True, receipt(tls=TLS)) is True


@pytest.mark.parametrize("forged", ["acme.example", ".beta.example", "<acme.example>", "@acme.example"])
def test_a_from_field_that_is_no_address_is_no_domain_either(forged: str) -> None:
    assert (
        result("from", string("equals", "acme.example", ".beta.example"), receipt(header=f"From: {forged}\n")) is False
    )


def test_a_helo_that_is_no_domain_equals_nothing() -> None:
    assert result("helo", string("equals", ".beta.example"), receipt(helo=".beta.example")) is False
    assert result("helo", string("equals", "[192.0.2.1]"), receipt(helo="[192.0.2.1]")) is True


TRAITS = [
    ("auto_generated", "Auto-Submitted: auto-replied (vacation)", True),
    ("auto_generated", "Auto-Submitted: no", False),
    ("auto_generated", "Auto-Submitted: No; x=y", False),
    ("auto_generated", "Precedence: BULK", True),
    ("auto_generated", "Precedence: list", False),
    ("auto_generated", "X-Autoreply: yes", True),
    ("auto_generated", "Content-Type: multipart/report; report-type=delivery-status", True),
    ("auto_generated", "Subject: Out of office", False),
    ("mailing_list", "List-Id: <a.example>", True),
    ("mailing_list", "List-Unsubscribe: <https://a.example>", True),
    ("mailing_list", "Precedence: list", True),
    ("mailing_list", "X-List: a", False),
    ("encrypted", 'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"', True),
    ("encrypted", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data", True),
    ("encrypted", "Content-Type: application/pkcs7-mime; name=smime.p7m", True),
    ("encrypted", "Content-Type: application/pkcs7-mime; smime-type=signed-data", False),
    ("encrypted", "Content-Type: multipart/signed", False),
]


@pytest.mark.parametrize(("name", "field", "expected"), TRAITS)
def test_trait_is_explained_by_the_field_that_made_it_so(name: str, field: str, expected: bool) -> None:
    answer = seen(condition(name, True), receipt(header=field + "\n"))
    assert answer == Seen(expected, field if expected else None)
    assert seen(condition(name, False), receipt(header=field + "\n")).result is not expected


def test_null_reverse_path_is_auto_generated() -> None:
    assert seen(condition("auto_generated", True), receipt(reverse_path=None)) == Seen(True, "null reverse-path")


KLEENE = [True, None, False]


@pytest.mark.parametrize("left", KLEENE)
@pytest.mark.parametrize("right", KLEENE)
def test_nesting_combines_by_kleenes_tables(left: bool | None, right: bool | None) -> None:
    words = {True: "fail", None: "temperror", False: "pass"}
    message = receipt(verdicts=verdicts(spf=words[left], dmarc=words[right]))
    parts = [{"name": method, "value": {"status": ["FAIL"]}} for method in ("spf", "dmarc")]
    rank = {False: 0, None: 1, True: 2}
    by_rank = {number: value for value, number in rank.items()}
    assert result("all", parts, message) is by_rank[min(rank[left], rank[right])]
    assert result("any", parts, message) is by_rank[max(rank[left], rank[right])]
    assert result("not", parts[0], message) is by_rank[2 - rank[left]]
    assert all_of([left, right]) is result("all", parts, message)
    assert any_of([left, right]) is result("any", parts, message)


def test_nested_condition_shows_what_each_part_saw() -> None:
    parts = [{"name": "spf", "value": {"status": ["FAIL"]}}, {"name": "subject", "value": string("contains", "hell")}]
    assert seen(condition("any", parts), receipt()).saw == [
        {"condition": "spf: FAIL", "saw": "GRAY", "result": False},
        {"condition": "subject: {contains: hell}", "saw": "hello", "result": True},
    ]


TEXTS = [
    (status("dmarc", "FAIL"), "dmarc: FAIL"),
    (status("dmarc", "FAIL", "GRAY"), "dmarc: [FAIL, GRAY]"),
    (condition("spf", {"result": ["softfail"]}), "spf: {result: softfail}"),
    (condition("spam", {"score": {"gte": 6.0}}), "spam: {score: {gte: 6}}"),
    (condition("arc", {"trusted": True}), "arc: {trusted: true}"),
    (condition("dmarc_policy", {"policy": ["reject"]}), "dmarc_policy: reject"),
    (condition("from", string("equals", "a@b.example")), "from: a@b.example"),
    (condition("from", string("equals", "", "true")), 'from: ["", "true"]'),
    (condition("subject", string("contains", "a b")), 'subject: {contains: "a b"}'),
    (condition("dkim_domain", string("in_list", "partners")), "dkim_domain: {in_list: partners}"),
    (condition("header", {"name": "List-Id", "exists": True}), "header: {name: List-Id, exists: true}"),
    (condition("header", {"name": "X", **string("equals", "y")}), "header: {name: X, equals: y}"),
    (condition("source_ip", {"cidrs": ["192.0.2.0/24"]}), "source_ip: 192.0.2.0/24"),
    (condition("source_ip", {"cidrs": ["2001:db8::/32"]}), 'source_ip: "2001:db8::/32"'),
    (condition("source_ip", {"in_list": ["nets"]}), "source_ip: {in_list: nets}"),
    (condition("size", {"gt": 5000000}), "size: {gt: 5000000}"),
    (condition("tls", {"min": "TLSv1.3"}), "tls: {min: TLSv1.3}"),
    (condition("tls", True), "tls: true"),
    (condition("attachment", {"name": ["*.exe"], "size": {"gt": 1}}), 'attachment: {name: "*.exe", size: {gt: 1}}'),
    (condition("not", {"name": "tls", "value": True}), "not: {tls: true}"),
    (condition("any", [{"name": "tls", "value": True}, {"name": "spf", "value": {"status": ["FAIL"]}}]),
     "any: [{tls: true}, {spf: FAIL}]"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "text"), TEXTS)
def test_condition_is_shown_as_its_owner_would_write_it(one: Condition, text: str) -> None:
    assert compile_condition(one, LISTS).text == text


def test_every_row_of_the_table_says_what_it_is() -> None:
    names = """spf dkim dmarc arc spam virus dmarc_policy authenticated_domain from_domain_aligned spf_domain dkim_domain
        mail_from from sender reply_to to cc subject helo recipient header size recipients_count attachments_count source_ip
        reverse_dns dnsbl tls attachment auto_generated mailing_list line_too_long encrypted all any not"""
    assert set(CONDITIONS) == set(names.split())
    assert all(kind.description for kind in CONDITIONS.values())


def test_added_field_stands_on_top_for_later_conditions() -> None:
    facts = Facts.of(receipt(header="X-Tag: theirs\n")).with_field("X-Tag", "ours")
    test = compile_condition(condition("header", {"name": "X-Tag", **string("equals", "ours")}), LISTS).test
    assert test(facts, None) == Seen(True, ["ours", "theirs"])


def test_at_rcpt_what_was_not_sent_yet_is_unknown() -> None:
    facts = Facts(client=Client(ip="192.0.2.1", helo="a.example"), reverse_path=mailbox("s@acme.example"))
    asked = {
        "mail_from": (string("in_list", "partners"), True),
        "source_ip": ({"in_list": ["nets"]}, True),
        "tls": (False, True),
        "helo": (string("equals", "b.example"), False),
        "auto_generated": (True, None),
        "reverse_dns": (string("equals", "a.example"), None),
        "size": ({"gt": 1}, None),
        "subject": (string("not_equals", "x"), None),
        "dnsbl": ({"lists": ["x"]}, None),
        "mailing_list": (False, None),
        "dmarc_policy": ({"policy": ["none"]}, None),
        "attachment": ({"name": ["*"]}, None),
    }
    for name, (value, expected) in asked.items():
        assert compile_condition(condition(name, value), LISTS).test(facts, None).result is expected, name


def test_long_header_is_not_repeated_in_the_trace() -> None:
    crowd = ", ".join(f"u{n}@example.net" for n in range(10_000))
    answer = seen(condition("to", string("equals", "u9999@example.net")), receipt(header=f"To: {crowd}\n"))
    assert answer.result is True
    assert len(answer.saw) == 21
    assert answer.saw[-1] == "and 9980 more"
    assert (
        len(seen(condition("subject", string("contains", "x")), receipt(header=f"Subject: {'x' * 10_000}\n")).saw)
        == 501
    )
