"""What a rules file means once it is loaded: defaults, kept forms, and words that YAML would like to take for something else."""

from pathlib import Path

import pytest

from rules.load import load_book, load_text
from rules.model import Condition, Filter

GOOD = Path(__file__).parents[1] / "cases" / "rules_good"


def load(text, **options):
    return load_text(text.encode(), "rules.yaml", Path("/nowhere"), **options)


def book(text, **options):
    loaded = load(text, **options)
    assert loaded.errors == (), [str(error) for error in loaded.errors]
    return loaded.book


def rule(body, **options):
    return book(f"rule_sets: {{default: [{{name: a, {body}}}]}}", **options).rule_set.rules[0]


def condition(text, **options):
    (kept,) = rule(f"when: [{{{text}}}]", **options).when
    return kept.name, kept.value


def parameters(text):
    (spec,) = rule(f"actions: [{text}]").actions
    return dict(spec.parameters)


def errors(text, **options):
    return [finding.code for finding in load(text, **options).errors]


def test_a_rule_has_the_defaults_of_yaml_and_not_of_the_api():
    kept = rule("actions: []")
    assert (kept.enabled, kept.tls_policy, kept.scan_enabled, kept.recipients) == (True, "Optional", False, ())
    assert (kept.on_unknown, kept.on_failure, kept.ordered) == (None, "continue", False)


def test_the_only_rule_set_is_active_and_among_several_the_default():
    assert book("rule_sets: {winter: [{name: a}]}").active == "winter"
    assert book("rule_sets: {winter: [{name: a}], default: []}").active == "default"
    assert book("active: winter\nrule_sets: {winter: [{name: a}], default: []}").active == "winter"


def test_without_domains_they_are_those_that_the_recipients_name_in_order():
    kept = book(
        "rule_sets: {default: [{name: a, recipients: [a@Z.example, .b.example]}, {name: b, recipients: [z.example]}]}"
    )
    assert kept.domains == ("z.example", ".b.example")
    assert book("rule_sets: {default: [{name: a}]}").domains == ()


def test_recipients_are_kept_in_lower_case_with_a_labels_and_each_once():
    kept = rule(
        'recipients: [Support@Example.COM, support@example.com, bücher.example, \'"a b"@example.com\', "Ä@example.com"]'
    )
    assert kept.recipients == ("support@example.com", "xn--bcher-kva.example", '"a b"@example.com', "ä@example.com")


@pytest.mark.parametrize(
    ("domains", "recipient", "is_inside"),
    [
        ("example.com", "a@example.com", True),
        ("example.com", "a@EU.example.com", False),
        (".example.com", "a@eu.example.com", True),
        (".example.com", "a@deep.eu.example.com", True),
        (".example.com", ".eu.example.com", True),
        (".example.com", "example.com", False),
        (".eu.example.com", ".example.com", False),
        ("example.com", ".example.com", False),
        ("le.com", "a@example.com", False),
        (".le.com", "a@example.com", False),
    ],
)
def test_a_recipient_is_inside_domains_or_an_error(domains, recipient, is_inside):
    text = (
        f'domains: ["{domains}"]\nrule_sets: {{default: [{{name: a, recipients: ["{recipient}"], actions: [drop]}}]}}'
    )
    assert errors(text) == ([] if is_inside else ["foreign-recipient"])


def test_filters_hold_canonical_networks_also_those_of_a_file():
    kept = load_book(GOOD / "every-action.yaml").book
    assert kept.filters == (
        Filter(name="office", policy="Allow", cidrs=("192.0.2.1/32",)),
        Filter(
            name="ranges", policy="Block", cidrs=("192.0.2.0/24", "198.51.100.7/32"), recipients=("sales@example.com",)
        ),
        Filter(name="more", policy="Block", cidrs=("2001:db8::/32",)),
    )
    assert (kept.bounce, kept.on_unhandled) == ("always", "reject")


def test_address_lists_are_part_of_the_book_so_their_change_changes_its_digest(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("address_lists: {bad: {file: bad.list}}\nrule_sets: {default: [{name: a, actions: [drop]}]}\n")
    (tmp_path / "bad.list").write_text("a.example\n")
    first = load_book(path).book
    (tmp_path / "bad.list").write_text("a.example\n192.0.2.0/24 # a network\n")
    second = load_book(path).book
    assert second.address_lists == {"bad": ("a.example", "192.0.2.0/24")}
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("spf: pass", {"status": ["PASS"]}),
        ("dmarc: [FAIL, gray, fail]", {"status": ["FAIL", "GRAY"]}),
        ("spf: {result: [SoftFail]}", {"result": ["softfail"]}),
        ("spam: DISABLED", {"status": ["DISABLED"]}),
        ("arc: {trusted: true}", {"trusted": True}),
        ("dmarc_policy: Reject", {"policy": ["reject"]}),
        (
            "authenticated_domain: [Acme.example, .b.example]",
            {"op": "equals", "values": ["acme.example", ".b.example"]},
        ),
        ("mail_from: <>", {"op": "equals", "values": [""]}),
        ("mail_from: {not_equals: ''}", {"op": "not_equals", "values": [""]}),
        ("from: Ann@Example.com", {"op": "equals", "values": ["ann@example.com"]}),
        ("from: {starts_with: Ann}", {"op": "starts_with", "values": ["Ann"]}),
        ("subject: 'Hi: '", {"op": "equals", "values": ["Hi: "]}),
        ("subject: ''", {"op": "equals", "values": [""]}),
        ("subject: {matches: '^a+$'}", {"op": "matches", "values": ["^a+$"]}),
        ("helo: '[IPv6:2001:DB8::1]'", {"op": "equals", "values": ["[ipv6:2001:db8::1]"]}),
        ("header: {name: X-Tag, contains: [a, b]}", {"name": "X-Tag", "op": "contains", "values": ["a", "b"]}),
        ("header: {name: List-Id, exists: true}", {"name": "List-Id", "exists": True}),
        ("size: {gt: 5MB}", {"gt": 5_000_000}),
        ("size: {gte: 5MiB, lt: 1.5GiB}", {"gte": 5_242_880, "lt": 1_610_612_736}),
        ("size: {lte: 0.1kb}", {"lte": 100}),
        ("recipients_count: 1", {"gte": 1, "lte": 1}),
        ("attachments_count: {gt: 3}", {"gt": 3}),
        ("source_ip: [192.0.2.77/24, '::1']", {"cidrs": ["192.0.2.0/24", "::1/128"]}),
        ("dnsbl: ZEN.dnsbl.example", {"lists": ["zen.dnsbl.example"]}),
        ("tls: false", False),
        ("tls: {min: tlsv1.3}", {"min": "TLSv1.3"}),
        ("attachment: {name: '*.EXE', type: Image/*}", {"name": ["*.EXE"], "type": ["image/*"]}),
        ("mailing_list: false", False),
        ("not: {spf: PASS}", {"name": "spf", "value": {"status": ["PASS"]}}),
    ],
)
def test_every_condition_is_kept_in_its_one_form(text, value):
    assert condition(text) == (text.partition(":")[0], value)


@pytest.mark.parametrize(
    ("text", "made", "found"),
    [
        ("spf: FAIL", "dkim", ["no-check"]),
        ("spf: [FAIL, DISABLED]", "dkim", []),
        ("dkim: {result: pass}", "spf", ["no-check"]),
        ("arc: {trusted: true}", "spf dkim dmarc", ["no-check"]),
        ("dmarc_policy: reject", "spf dkim", ["no-check"]),
        ("from_domain_aligned: a.example", "spf dkim", ["no-check"]),
        ("spf_domain: a.example", "dkim", ["no-check"]),
        ("dkim_domain: a.example", "spf", ["no-check"]),
        ("authenticated_domain: a.example", "arc", ["no-check"]),
        ("authenticated_domain: a.example", "dkim", []),
        ("subject: spf", "", []),
    ],
)
def test_a_condition_on_a_check_that_nobody_makes_is_an_error(text, made, found):
    assert errors(f"rule_sets: {{a: [{{name: a, when: [{{{text}}}]}}]}}", engines=frozenset(made.split())) == found


def test_engines_make_spam_and_virus_comparable():
    engines = frozenset({"spam", "virus"})
    assert condition("spam: {score: {gte: 6}}", engines=engines) == ("spam", {"score": {"gte": 6.0}})
    assert condition("virus: {symbol: Eicar}", engines=engines) == ("virus", {"symbol": ["Eicar"]})
    assert errors("rule_sets: {a: [{name: a, when: [{spam: FAIL}]}]}", engines=frozenset({"virus"})) == ["no-engine"]


def test_several_keys_in_one_item_are_all_of_them():
    spf, dkim = ({"name": name, "value": {"status": ["PASS"]}} for name in ("spf", "dkim"))
    assert condition("spf: PASS, dkim: PASS") == ("all", [spf, dkim])
    kept = rule("unless: [{spf: PASS, dkim: PASS}]")
    assert kept.unless == (Condition(name="all", value=[spf, dkim]),)


def test_several_operators_are_all_of_them_and_mappings_in_a_list_any_of_them():
    a = {"name": "subject", "value": {"op": "starts_with", "values": ["a"]}}
    b = {"name": "subject", "value": {"op": "ends_with", "values": ["b"]}}
    assert condition("subject: {starts_with: a, ends_with: b}") == ("all", [a, b])
    assert condition("subject: [{starts_with: a}, {ends_with: b}]") == ("any", [a, b])


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "1:30", "017", "0o17", "1.10", "2026-01-02", "550", "true"]
)
def test_text_is_what_stands_in_the_file(word):
    assert condition(f"subject: {word}") == ("subject", {"op": "equals", "values": [word]})


def test_codes_that_yaml_takes_for_numbers_are_put_right():
    kept = parameters("{bounce: {smtp_reply_code: 550, status_code: 5.7.1, message: 42}}")
    assert (kept["smtp_reply_code"], kept["status_code"], kept["message"]) == ("550", "5.7.1", "42")


def test_actions_are_kept_with_their_defaults_and_without_what_is_absent():
    assert parameters("{disk: {path: ./mail}}") == {"path": "./mail", "object_key_prefix": "", "retry_for": 14_400}
    assert parameters('{lambda: {function_arn: "python:a.b:c"}}') == {
        "function_arn": "python:a.b:c",
        "invocation_type": "Event",
        "retry_for": 14_400,
    }
    assert parameters("{webhook: {url: 'https://a.example/', retry_for: 2d, on_failure: STOP}}") == {
        "url": "https://a.example/",
        "format": "ses",
        "encoding": "UTF-8",
        "retry_for": 172_800,
        "on_failure": "stop",
    }


@pytest.mark.parametrize("text", ["stop", "{stop: {}}", "{stop: }", "{stop: {scope: ruleset}}"])
def test_a_stop_without_scope_is_that_of_ses(text):
    assert parameters(text) == {"scope": "RuleSet"}


def test_a_variable_stays_what_it_is():
    kept = parameters("{webhook: {url: '${BASE}/in', secret: '${HOOK_SECRET}', headers: {X-Key: '${KEY}'}}}")
    assert (kept["url"], kept["secret"], kept["headers"]) == ("${BASE}/in", "${HOOK_SECRET}", {"X-Key": "${KEY}"})


@pytest.mark.parametrize("stop", ["stop", "{stop: {scope: Recipients}}"])
def test_a_stop_must_be_last(stop):
    assert errors(f"rule_sets: {{a: [{{name: a, actions: [{stop}, drop]}}]}}") == ["stop-not-last"]


def test_patterns_are_checked_by_whoever_will_match_them():
    text = "rule_sets: {a: [{name: a, when: [{subject: {matches: '(?=a)'}}], actions: [drop]}]}"
    assert errors(text) == ["bad-pattern"]
    assert errors(text, check_pattern=lambda _: None) == []


def test_aliases_stand_for_what_they_mark_and_a_finding_in_them_is_told_once():
    text = "rule_sets: {a: [{name: a, recipients: &team [a@b.example, ''], actions: [drop]}, {name: b, recipients: *team}]}"
    assert errors(text) == ["empty-text"]
    kept = book(text.replace(", ''", ""))
    assert kept.rule_set.rules[1].recipients == ("a@b.example",)
