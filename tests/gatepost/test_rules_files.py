"""What the settings add to a rules file: variables, ARNs, zone files."""

from pathlib import Path

import pytest

from gatepost import aws_needs
from gatepost.arns import mapped, unmapped
from gatepost.aws_needs import aws_warnings
from gatepost.built_in import TEXT
from gatepost.settings import Settings
from gatepost.variables import unset_variables
from gatepost.zone_file import read_zone
from mail.errors import Malformed
from rules.load import load_book, load_text

ROOT = Path(__file__).parent.parent.parent


def test_an_unset_variable_is_an_error_where_it_stands():
    text = "rule_sets:\n  a:\n  - name: x\n    # ${NO}\n    actions: [webhook: {url: 'https://${HOST}/', secret: '${SECRET}'}]\n"
    assert [str(finding) for finding in unset_variables(text, "r.yaml", {"HOST": "h"})] == [
        "r.yaml:5:58: error: ${SECRET} is not set in the environment"
    ]


def test_the_built_in_rules_are_good():
    loaded = load_text(TEXT.encode(), "built-in", Path())
    assert not loaded.errors
    assert [spec.type for rule in loaded.book.rule_set.rules for spec in rule.actions] == ["disk"]


def test_ses_rules_run_on_local_targets(monkeypatch):
    monkeypatch.setattr(aws_needs, "has_credentials", lambda: False)
    book = load_book(ROOT / "samples/ses/rules.json").book
    assert aws_warnings(book, Settings())
    arns = {}
    for rule in book.rule_set.rules:
        for spec in rule.actions:
            if spec.parameters.get("topic_arn"):
                arns[spec.parameters["topic_arn"]] = "https://app.example.com/hook"
            if spec.type == "s3":
                arns[f"arn:aws:s3:::{spec.parameters['bucket_name']}"] = "disk:mail"
            elif spec.type == "lambda":
                arns[spec.parameters["function_arn"]] = "python:invoices:handler"
    local = mapped(book, arns)
    assert unmapped(local) == []
    assert aws_warnings(local, Settings()) == []
    functions = [spec for rule in local.rule_set.rules for spec in rule.actions if spec.type == "lambda"]
    assert {spec.parameters["function_arn"] for spec in functions} == {"python:invoices:handler"}
    assert {spec.parameters["arn"] for spec in functions} == {name for name in arns if ":lambda:" in name}
    assert {spec.type for rule in local.rule_set.rules for spec in rule.actions} <= {
        "disk",
        "webhook",
        "lambda",
        "bounce",
        "add_header",
        "stop",
    }
    prefixes = [
        spec.parameters["object_key_prefix"]
        for rule in local.rule_set.rules
        for spec in rule.actions
        if spec.type == "disk"
    ]
    assert prefixes == [
        spec.parameters["object_key_prefix"]
        for rule in book.rule_set.rules
        for spec in rule.actions
        if spec.type == "s3"
    ]


def test_an_object_stays_encrypted_wherever_its_bucket_is_mapped_to():
    text = (
        "rule_sets: {a: [{name: x, actions: [s3: {bucket_name: b, kms_key_arn: alias/mail, object_key_prefix: in}]}]}"
    )
    book = mapped(load_text(text.encode(), "r.yaml", Path()).book, {"arn:aws:s3:::b": "disk:mail"})
    (spec,) = book.rule_set.rules[0].actions
    assert (spec.type, spec.parameters["kms_key_arn"], spec.parameters["object_key_prefix"]) == (
        "disk",
        "alias/mail",
        "in",
    )


def test_a_target_of_no_known_form_is_refused():
    book = load_book(ROOT / "samples/ses/rules.json").book
    bucket = next(spec for rule in book.rule_set.rules for spec in rule.actions if spec.type == "s3").parameters[
        "bucket_name"
    ]
    with pytest.raises(Malformed, match="gopher"):
        mapped(book, {f"arn:aws:s3:::{bucket}": "gopher:x"})


@pytest.mark.parametrize(
    "text",
    ["a.example: {TXTS: [x]}", "a.example: BROKEN", "- a", "a.example: {MX: [x]}", "a: {A: [b]", "a: {A: [not-an-ip]}"],
)
def test_a_broken_zone_file_says_what_is_wrong(tmp_path, text):
    path = tmp_path / "zone.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Malformed, match=r"zone\.yaml"):
        read_zone(path)


async def test_a_zone_file_answers(tmp_path):
    path = tmp_path / "zone.yaml"
    path.write_text(
        "a.example: {TXT: ['v=spf1 -all'], MX: [[10, mx.a.example]]}\nb.example: SERVFAIL\n", encoding="utf-8"
    )
    zone = read_zone(path)
    assert (await zone.lookup("A.example", "TXT")).records == ("v=spf1 -all",)
    assert (await zone.lookup("a.example", "MX")).records == ("10 mx.a.example",)
    assert (await zone.lookup("b.example", "TXT")).outcome == "temporary"
    assert (await zone.lookup("c.example", "TXT")).outcome == "none"
