"""The message that tells a topic of an action that was done (SES: TopicArn of every action; contents of notifications).

It is a part of its action with its own key, ledger row and job (semantics.md §4), so that it is retried, redriven and seen on its
own and never delays the walk; the job is recorded with the action's outcome, so a crash between the two loses nothing. It has no
`content`, and what it says of the action is in SES's words.
"""

from collections.abc import Callable, Mapping
from typing import Any

from actions.protocol import Context
from actions.reach import bucket_of
from actions.ses_payload import compact_json, ses_objects
from actions.topic_publishing import TopicPublishing
from mail.outcome import Outcome, Result
from mail.ses_json import notification
from mail.values import changed
from rules.model import ActionSpec
from rules.step import Step

TYPE = "topic_notification"
PART = "topic"
_OF = "of"

Told = dict[str, str]


def _object(parameters: Mapping[str, Any], facts: Mapping[str, str]) -> Told:
    """SES: objectKeyPrefix is there even if it is empty, and objectKey is the whole key."""
    prefix = facts.get("object_key_prefix", str(parameters.get("object_key_prefix", "")))
    return {
        "bucketName": bucket_of(parameters),
        "objectKeyPrefix": prefix,
        "objectKey": facts.get("object_key", ""),
    }


def _bounce(parameters: Mapping[str, Any], facts: Mapping[str, str]) -> Told:
    told = {"smtpReplyCode": str(parameters["smtp_reply_code"])}
    if parameters.get("status_code"):
        told["statusCode"] = str(parameters["status_code"])
    return {**told, "message": str(parameters["message"]), "sender": str(parameters.get("sender") or facts["sender"])}


def _function(parameters: Mapping[str, Any], facts: Mapping[str, str]) -> Told:  # noqa: ARG001
    return {
        "functionArn": str(parameters.get("arn") or parameters["function_arn"]),
        "invocationType": str(parameters.get("invocation_type", "Event")),
    }


def _organization(parameters: Mapping[str, Any], facts: Mapping[str, str]) -> Told:  # noqa: ARG001
    """What delivers here stands for SES's delivery to an organization; `arns` says for which (SES: WorkMail action)."""
    return {"organizationArn": str(parameters.get("organization_arn", ""))}


# SES's type of each action that tells a topic, and the rest of its action object.
TELLING: dict[str, tuple[str, Callable[[Mapping[str, Any], Mapping[str, str]], Told]]] = {
    "bounce": ("Bounce", _bounce),
    "deliver": ("WorkMail", _organization),
    "disk": ("S3", _object),
    "forward": ("WorkMail", _organization),
    "lambda": ("Lambda", _function),
    "quarantine": ("Quarantine", lambda parameters, facts: {"reason": str(parameters["reason"])}),  # noqa: ARG005
    "s3": ("S3", _object),
    "stop": ("Stop", lambda parameters, facts: {}),  # noqa: ARG005
    "workmail": ("WorkMail", _organization),
}


def notifies(step: Step) -> bool:
    """Whether a topic is told when this step is done."""
    return step.spec.type in TELLING and bool(step.spec.parameters.get("topic_arn"))


def notification_step(step: Step) -> Step:
    """The part of `step` that tells its topic. It holds nothing, whatever the action does."""
    spec = ActionSpec(type=TYPE, parameters={**step.spec.parameters, _OF: step.spec.type})
    return changed(
        step, spec=spec, part=f"{step.part}/{PART}" if step.part else PART, ordered=False, on_failure="continue"
    )


def told_part(step: Step) -> str:
    """The part whose outcome a notification tells."""
    return step.part.removesuffix(PART).removesuffix("/")


class TopicNotification:
    """Runs as the part `topic` of a step; `context.whole` is that step's own outcome."""

    def __init__(self, publishing: TopicPublishing) -> None:
        self._publishing = publishing

    def destination(self, parameters: Mapping[str, Any]) -> str:
        return str(parameters.get("topic_arn") or "")

    async def run(self, context: Context) -> Outcome:
        if context.whole is None or context.whole.result is not Result.DONE:
            return Outcome(result=Result.SKIPPED, detail="the action was not done")
        return await self._publishing.publish(context, _message)


def _message(context: Context) -> str:
    ses_type, tell = TELLING[str(context.parameters[_OF])]
    facts = {"sender": _default_sender(context), **(context.whole.data if context.whole is not None else {})}
    action = {"type": ses_type, "topicArn": context.topic_arn, **tell(context.parameters, facts)}
    return compact_json(notification(*ses_objects(context, action))).decode()


def _default_sender(context: Context) -> str:
    recipients = context.step.recipients
    return f"mailer-daemon@{recipients[0].domain}" if recipients else ""
