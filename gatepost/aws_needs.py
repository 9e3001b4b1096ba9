"""What a rule book wants of AWS, said before mail comes where the machine has no credentials for it (semantics.md §1)."""

from collections.abc import Iterator

from actions.topics import find_topic
from gatepost.arns import TOPIC_ACTIONS, arn_of
from gatepost.aws import has_credentials
from gatepost.settings import Settings
from rules.model import ActionSpec, RuleBook

_NONE = "and there are no AWS credentials here"
_PARKS = f"goes to AWS, {_NONE}, so its step will park; set them"
_INSTEAD = ", or name a local target in the setting arns"
_DEAD = f"is AWS's, {_NONE}, so what is for it will be dead; set them"


def aws_warnings(book: RuleBook, settings: Settings) -> list[str]:
    """A sentence for each action, or queue, that would have to wait for credentials. They are looked for only if something does.

    Looking may ask the instance's metadata service, which takes a second or two where there is none.
    """
    needs = [*_of_rules(book, settings), *_of_queues(book)]
    return needs if needs and not has_credentials() else []


def _of_rules(book: RuleBook, settings: Settings) -> Iterator[str]:
    for rule in book.rule_set.rules:
        for spec in rule.actions if rule.enabled else ():
            for name, instead in dict(_wants(book, spec, settings)).items():
                yield f'rule "{rule.name}": {spec.type} {name} {_PARKS}{instead}'


def _wants(book: RuleBook, spec: ActionSpec, settings: Settings) -> Iterator[tuple[str, str]]:
    """What an action names of AWS's, and what could be done instead."""
    if spec.type == "s3" or (spec.type == "lambda" and arn_of(spec).startswith("arn:")):
        yield arn_of(spec), _INSTEAD
    key = str(spec.parameters.get("kms_key_arn") or "")
    if key and settings.keys_provider == "aws":
        yield key, ""
    topic = str(spec.parameters.get("topic_arn") or "")
    if topic.startswith("arn:") and spec.type in TOPIC_ACTIONS and not find_topic(book.topics, topic):
        yield topic, _INSTEAD


def _of_queues(book: RuleBook) -> Iterator[str]:
    for name, topic in book.topics.items():
        for each in topic.get("subscribers", ()):
            if each.get("sqs"):
                yield f"topic {name}: queue {each['sqs']} {_DEAD}"
