"""What is said of rules that need AWS on a machine without credentials, and how `arns` turns their topics to local ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actions.topics import find_topic, topic_of
from gatepost import aws_needs
from gatepost.arns import arn_of, mapped
from gatepost.publishing import needs_listener
from gatepost.settings import Settings
from mail.errors import Malformed
from rules.load import load_book, load_text
from rules.model import RuleBook, decode_book

TOPIC = "arn:aws:sns:eu-west-1:123456789012:support-mail"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:mail"
ROOT = Path(__file__).parents[2]
PARKS = "and there are no AWS credentials here, so its step will park; set them"
INSTEAD = ", or name a local target in the setting arns"


def book_of(*actions: dict[str, Any], topics: dict[str, Any] | None = None, enabled: bool = True) -> RuleBook:
    rule = {"name": "support", "enabled": enabled, "actions": list(actions)}
    text = json.dumps({"version": 1, "topics": topics or {}, "rule_sets": {"default": [rule]}})
    loaded = load_text(text.encode(), "rules.yaml", Path())
    assert loaded.book is not None, loaded.findings
    return loaded.book


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    def tell(book: RuleBook, *, found: bool = False, **settings: Any) -> list[str]:
        monkeypatch.setattr(aws_needs, "has_credentials", lambda: found)
        return aws_needs.aws_warnings(book, Settings(**settings))

    return tell


DISK = {"disk": {"path": "mail", "topic_arn": TOPIC}}
S3 = {"s3": {"bucket_name": "mail"}}


def test_each_action_that_needs_credentials_is_named_with_what_to_do(told: Any) -> None:
    function = "arn:aws:lambda:eu-west-1:123456789012:function:f"
    book = book_of(S3, DISK, {"sns": {"topic_arn": TOPIC}}, {"lambda": {"function_arn": function}})
    assert told(book) == [
        f'rule "support": {named} goes to AWS, {PARKS}{INSTEAD}'
        for named in ("s3 arn:aws:s3:::mail", f"disk {TOPIC}", f"sns {TOPIC}", f"lambda {function}")
    ]


def test_queues_of_local_topics_and_keys_of_kms_need_them_too(told: Any) -> None:
    local = {"t": {"subscribers": [{"sqs": QUEUE}, {"url": "https://a.example/"}]}}
    book = book_of({"disk": {"path": "mail", "kms_key_arn": "alias/mail", "topic_arn": "t"}}, topics=local)
    assert told(book) == [
        f"topic t: queue {QUEUE} is AWS's, and there are no AWS credentials here, so what is for it will be dead; set them"
    ]
    assert told(book, keys_provider="aws")[0] == f'rule "support": disk alias/mail goes to AWS, {PARKS}'


@pytest.mark.parametrize(
    "book",
    [
        book_of(S3, enabled=False),
        book_of({"disk": {"path": "mail", "topic_arn": "t"}}, topics={"t": {}}),
        book_of(DISK, topics={"t": {"arn": TOPIC}}),
        book_of({"webhook": {"url": "https://a.example/", "topic_arn": TOPIC}}),
    ],
)
def test_what_stays_here_needs_none_and_nobody_is_asked(book: RuleBook, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> bool:
        raise AssertionError

    monkeypatch.setattr(aws_needs, "has_credentials", never)
    assert aws_needs.aws_warnings(book, Settings()) == []


def test_with_credentials_nothing_is_said(told: Any) -> None:
    assert told(book_of(S3, DISK), found=True) == []


def topic_told(book: RuleBook) -> Any:
    (spec,) = book.rule_set.rules[0].actions
    found = find_topic(book.topics, spec.parameters["topic_arn"])
    assert found is not None
    return topic_of(*found)


@pytest.mark.parametrize("action", [DISK, {"sns": {"topic_arn": TOPIC}}, {"stop": {"topic_arn": TOPIC}}])
def test_a_topic_of_ses_becomes_one_of_the_rules(action: dict[str, Any]) -> None:
    book = book_of(action, topics={"inbound": {"arn": TOPIC + "-2", "subscribers": [{"url": "https://a.example/"}]}})
    topic = topic_told(mapped(book, {TOPIC: "topic:inbound"}))
    assert (topic.name, topic.arn) == ("inbound", TOPIC + "-2")


@pytest.mark.parametrize(
    ("target", "subscriber", "listens"),
    [
        ("topic:https://a.example/sns", {"endpoint": "https://a.example/sns"}, True),
        (f"topic:{QUEUE}", {"endpoint": QUEUE, "queue": True, "confirmed": True}, True),
        ("https://a.example/in", {"endpoint": "https://a.example/in", "raw": True, "confirmed": True}, False),
    ],
)
def test_a_topic_of_ses_goes_to_one_subscriber_under_its_own_arn(
    target: str, subscriber: dict[str, Any], listens: bool
) -> None:
    book = mapped(book_of(DISK), {TOPIC: target})
    topic = topic_told(book)
    assert topic.arn == TOPIC
    (found,) = topic.subscribers
    assert {name: getattr(found, name) for name in ("endpoint", "queue", "raw", "confirmed")} == {
        "queue": False,
        "raw": False,
        "confirmed": False,
        **subscriber,
    }
    assert needs_listener(book) is listens
    assert decode_book(book.content) == book


def test_the_webhook_in_place_of_a_topic_says_what_its_notification_said() -> None:
    book = mapped(book_of({"sns": {"topic_arn": TOPIC, "encoding": "Base64"}}), {TOPIC: "https://a.example/in"})
    (spec,) = book.rule_set.rules[0].actions
    assert spec.type == "webhook"
    assert (spec.parameters["topic_arn"], spec.parameters["encoding"]) == (TOPIC, "Base64")


@pytest.mark.parametrize(
    "target", ["disk:mail", "python:m:f", "topic:nobody", "topic:", "topic:arn:aws:sns:x", "gopher:x"]
)
def test_what_cannot_be_told_is_refused(target: str) -> None:
    with pytest.raises(Malformed, match="is no target for the topic"):
        mapped(book_of(DISK), {TOPIC: target})


def test_the_rules_of_ses_run_without_aws(told: Any) -> None:
    book = load_book(ROOT / "samples" / "ses" / "rules.json").book
    assert book is not None
    topics = {
        str(spec.parameters["topic_arn"])
        for rule in book.rule_set.rules
        for spec in rule.actions
        if spec.parameters.get("topic_arn")
    }
    assert topics
    buckets = {spec.parameters["bucket_name"] for r in book.rule_set.rules for spec in r.actions if spec.type == "s3"}
    arns = dict.fromkeys(topics, "https://app.example.com/inbound")
    arns |= {f"arn:aws:s3:::{each}": "disk:mail" for each in buckets}
    functions = {arn_of(s) for r in book.rule_set.rules for s in r.actions if s.type == "lambda"}
    arns |= dict.fromkeys(functions, "python:handlers:handler")
    assert told(book) != []
    assert told(mapped(book, arns)) == []
