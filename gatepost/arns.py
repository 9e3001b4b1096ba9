"""Local targets for the ARNs of rules that come from SES (semantics.md §1, the setting `arns`).

A key is the ARN of a function, a topic, a bucket (`arn:aws:s3:::BUCKET`) or a WorkMail organization; a value is
`python:MODULE:FUNCTION`, the URL of a function's container, `disk:DIRECTORY`, the `https://…` URL of a webhook, or where mail is
delivered: `lmtp:unix:PATH`, `lmtp:HOST:PORT`, `smtp:HOST:PORT`, `maildir:DIRECTORY`, `forward:ADDRESS`. For a topic also
`topic:NAME` of the rules' `topics`, or `topic:URL` and `topic:arn:aws:sqs:…`: a topic that has this one subscriber. A topic that an
action tells takes these, or a URL, which gets the notification without SNS's envelope.
A function, topic or bucket that no key names is AWS's. WorkMail and Connect are an error of `serve`, `unmapped` in a replay.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actions.topic_notification import TELLING
from mail.address import parse_mailbox
from mail.errors import Malformed
from rules.model import ActionSpec, RuleBook
from rules.schema_delivery import DELIVER_TO, is_host
from rules.schema_fields import is_runtime_interface

TOPIC_ACTIONS = frozenset({*TELLING, "sns"})
"""The actions whose `topic_arn` is told; webhook only shows it."""

_FOREIGN = frozenset({"workmail", "connect"})
_OF_OBJECTS = ("object_key_prefix", "kms_key_arn", "metadata")
_KEPT = ("retry_for", "on_failure", "topic_arn", *_OF_OBJECTS)
_ORGANIZATION = "organization_arn"  # what a topic is told


def mapped(book: RuleBook, arns: Mapping[str, str]) -> RuleBook:
    """The book with every action whose ARN is named replaced by its local target. Raises `Malformed` for an unknown target."""
    if not arns:
        return book
    topics = dict(book.topics)
    rule_sets = tuple(
        replace(
            rule_set,
            rules=tuple(
                replace(rule, actions=tuple(_mapped(_telling(spec, arns, topics), arns) for spec in rule.actions))
                for rule in rule_set.rules
            ),
        )
        for rule_set in book.rule_sets
    )
    return replace(book, rule_sets=rule_sets, topics=topics)


def unmapped(book: RuleBook) -> list[str]:
    """A sentence for each action of an enabled rule of the active set that has no local target."""
    return [
        f'rule "{rule.name}": {spec.type} {arn_of(spec)} has no local target; name one in the setting arns'
        for rule in book.rule_set.rules
        if rule.enabled
        for spec in rule.actions
        if has_no_target(spec)
    ]


def has_no_target(spec: ActionSpec) -> bool:
    """Whether it names something of AWS's that nothing here stands for."""
    return spec.type in _FOREIGN


def arn_of(spec: ActionSpec) -> str:
    """The ARN that names an action's target; "" for one that has none."""
    parameters = spec.parameters
    match spec.type:
        case "s3":
            return f"arn:aws:s3:::{parameters['bucket_name']}"
        case "sns":
            return str(parameters["topic_arn"])
        case "lambda":
            return str(parameters["function_arn"])
        case "workmail":
            return str(parameters["organization_arn"])
        case "connect":
            return str(parameters["instance_arn"])
    return ""


def _telling(spec: ActionSpec, arns: Mapping[str, str], topics: dict[str, Any]) -> ActionSpec:
    """The action with its topic turned to a local one; `topics` gets those that only `arns` knows."""
    arn = str(spec.parameters.get("topic_arn") or "")
    target = arns.get(arn, "")
    scheme, _, place = target.partition(":")
    if not target or spec.type not in TOPIC_ACTIONS or (spec.type == "sns" and scheme != "topic"):
        return spec
    if scheme == "topic" and place in topics:
        return replace(spec, parameters={**spec.parameters, "topic_arn": place})
    if scheme == "topic" and place.startswith(("http://", "https://")):
        subscriber: dict[str, Any] = {"url": place, "raw": False}
    elif scheme == "topic" and place.startswith("arn:aws:sqs:"):
        subscriber = {"sqs": place, "raw": False}
    elif scheme in ("http", "https"):
        subscriber = {"url": target, "raw": True, "confirmed": True}
    else:
        expected = "expected topic:NAME of the rules' topics, topic:URL, topic:arn:aws:sqs:… or an http(s) URL"
        raise Malformed(f"arns: {target} is no target for the topic {arn}; {expected}")
    topics[arn] = {"arn": arn, "subscribers": [subscriber]}
    return spec


def _mapped(spec: ActionSpec, arns: Mapping[str, str]) -> ActionSpec:
    target = arns.get(arn_of(spec), "")
    if not target:
        return spec
    kept = {name: spec.parameters[name] for name in _KEPT if name in spec.parameters}
    scheme, _, rest = target.partition(":")
    if scheme == "topic" and spec.type == "sns":
        return spec
    if scheme == "python" or (spec.type == "lambda" and is_runtime_interface(target)):
        invocation = spec.parameters.get("invocation_type", "Event")
        kept = {name: value for name, value in kept.items() if name not in _OF_OBJECTS}
        told = {"arn": arn_of(spec)} if spec.type == "lambda" else {}  # what the event shows, as on AWS
        return ActionSpec(
            type="lambda", parameters={**kept, **told, "function_arn": target, "invocation_type": invocation}
        )
    if scheme == "disk" and rest:
        named = {"bucket_name": spec.parameters["bucket_name"]} if spec.type == "s3" else {}  # what functions call it
        return ActionSpec(type="disk", parameters={"object_key_prefix": "", **kept, **named, "path": rest})
    if scheme in ("http", "https"):
        # What stays of a topic's action is what its notification says.
        names = ("retry_for", "on_failure", *(("topic_arn", "encoding") if spec.type == "sns" else ()))
        common = {name: spec.parameters[name] for name in names if name in spec.parameters}
        return ActionSpec(type="webhook", parameters={**common, "url": target, "format": "ses"})
    if scheme in (*DELIVER_TO, "forward") and rest:
        common = {name: value for name, value in kept.items() if name not in _OF_OBJECTS}
        common |= {name: value for name, value in spec.parameters.items() if name == _ORGANIZATION}
        return _onward(scheme, rest, common)
    expected = (
        "python:MODULE:FUNCTION, disk:DIRECTORY, an http(s) URL, or lmtp:, smtp:, maildir: or forward: and a place"
    )
    raise Malformed(f"arns: {target} is no target; expected {expected}")


def _onward(scheme: str, place: str, common: Mapping[str, Any]) -> ActionSpec:
    if scheme == "forward":
        try:
            return ActionSpec(type="forward", parameters={**common, "to": [str(parse_mailbox(place))], "from": "keep"})
        except Malformed as error:
            raise Malformed(f"arns: forward:{place}: {error}") from None
    if not (scheme == "maildir" or is_host(place) or (scheme == "lmtp" and place.startswith("unix:"))):
        raise Malformed(f"arns: {scheme}:{place} names no host; expected HOST:PORT")
    return ActionSpec(type="deliver", parameters={**common, scheme: place})
