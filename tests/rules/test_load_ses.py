"""SES's own JSON as rules: the same meaning as in YAML, the API's defaults, and what has no target here."""

import json
from pathlib import Path

import pytest

from rules.load import load_book, load_text
from rules.object_keys import parse_template

CASE = Path(__file__).parents[1] / "cases" / "rules_good" / "ses-describe.json"


def load(value):
    return load_text(json.dumps(value, indent=4).encode(), "rules.json", Path("/nowhere"))


def test_the_rule_set_is_active_under_its_own_name():
    book = load_book(CASE).book
    assert (book.active, [rule.name for rule in book.rule_set.rules]) == (
        "main.set",
        ["support", "not-enabled-by-default"],
    )


def test_absent_fields_have_the_defaults_of_the_api():
    (_, rule) = load_book(CASE).book.rule_set.rules
    assert (rule.enabled, rule.tls_policy, rule.scan_enabled, rule.recipients, rule.actions) == (
        False,
        "Optional",
        False,
        (),
        (),
    )


def test_every_action_of_ses_is_read_with_its_fields_in_snake_case():
    (rule, _) = load_book(CASE).book.rule_set.rules
    kept = {spec.type: spec.parameters for spec in rule.actions}
    assert list(kept) == ["add_header", "s3", "sns", "lambda", "workmail", "connect", "bounce", "stop"]
    assert kept["add_header"]["header_value"] == "support \N{GRINNING FACE}"
    assert kept["s3"]["kms_key_arn"].startswith("arn:aws:kms:")
    assert kept["sns"]["encoding"] == "UTF-8"
    assert kept["lambda"]["invocation_type"] == "Event"
    assert kept["connect"]["iam_role_arn"].endswith("role/connect")
    assert kept["stop"] == {"scope": "RuleSet"}


def test_what_has_no_target_here_is_a_warning():
    found = {finding.code for finding in load_book(CASE).findings}
    assert found == {"unmapped-action"}


def test_a_rule_means_the_same_in_both_forms():
    ses = {
        "Metadata": {"Name": "default"},
        "Rules": [
            {
                "Name": "a",
                "Enabled": True,
                "TlsPolicy": "Require",
                "Recipients": ["a@b.example"],
                "Actions": [
                    {"BounceAction": {"SmtpReplyCode": "550", "Message": "no", "Sender": "m@b.example"}},
                    {"StopAction": {"Scope": "RuleSet"}},
                ],
                "ScanEnabled": True,
            }
        ],
    }
    yaml = b"""
rule_sets:
  default:
    - name: a
      tls_policy: Require
      recipients: [a@b.example]
      scan_enabled: true
      actions:
        - bounce: {smtp_reply_code: 550, message: "no", sender: m@b.example}
        - stop
"""
    assert load(ses).book == load_text(yaml, "rules.yaml", Path("/nowhere")).book


def test_a_rules_file_may_be_json_too():
    book = load({"version": 1, "rule_sets": {"default": [{"name": "a", "actions": [{"drop": {}}]}]}}).book
    assert book.rule_set.rules[0].enabled


@pytest.mark.parametrize(
    "wrong",
    [
        '{"Rules": [1,]}',
        '{"Rules": [01]}',
        '{"Rules": "\n"}',
        '{"a" 1}',
        '{"Rules": []} x',
        "{" * 100,
        '{"Rules": "\\ud800"}',
    ],
)
def test_what_is_not_json_is_one_finding(wrong):
    loaded = load_text(wrong.encode(), "rules.json", Path("/nowhere"))
    assert [finding.code for finding in loaded.findings] == ["syntax"]


def test_json_nested_without_end_is_refused():
    loaded = load_text(b'{"Rules": ' + b"[" * 100_000, "rules.json", Path("/nowhere"))
    assert [finding.code for finding in loaded.findings] == ["syntax"]


def test_braces_in_a_prefix_of_ses_are_no_template():
    action = {"S3Action": {"BucketName": "b", "ObjectKeyPrefix": "{date}/in"}}
    book = load({"Rules": [{"Name": "a", "Enabled": True, "Actions": [action]}]}).book
    assert parse_template(book.rule_set.rules[0].actions[0].parameters["object_key_prefix"]) == (
        "{",
        "date",
        "}",
        "/in",
    )
