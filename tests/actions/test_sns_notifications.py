"""The topic of an action is told after it was done: on its own, once, in SES's words, and never in the way of the walk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from acting import (
    BOUNCE,
    ID,
    STOP,
    House,
    Make,
    Told,
    add_header,
    book_of,
    disk,
    failed,
    function,
    receipt_of,
    reopen,
    rule,
    webhook,
)
from sns_world import ARN, Fixed, topics_over

from actions.http_port import HttpReply
from actions.topic_notification import TELLING, TopicNotification, notification_step, notifies
from mail.outcome import Outcome, Result
from rules.machine import Evaluation
from rules.model import ActionSpec
from rules.schema_actions import ACTIONS
from spool.ports import JobQuery, JobState, MessageState

TOPICS = {"inbound": {"arn": ARN, "subscribers": [{"url": "https://h.example/a", "confirmed": True}]}}
STORED = Outcome(result=Result.DONE, data={"object_key": f"in/{ID}", "object_key_prefix": "in/"})


def of(spec: ActionSpec, **more: Any) -> ActionSpec:
    return ActionSpec(type=spec.type, parameters={**spec.parameters, "topic_arn": "inbound", **more})


def telling(make: Make, tmp_path: Path, *specs: ActionSpec, http: Fixed, **actions: Any) -> House:
    notification = TopicNotification(topics_over(http, tmp_path).publishing)
    given = {"topic_notification": notification, "disk": Told(STORED), **actions}
    return make(rule("support", *specs), book={"topics": TOPICS}, **given)


def told(http: Fixed) -> list[dict[str, Any]]:
    return [json.loads(json.loads(body)["Message"]) for _, _, body in http.to("a")]


async def test_a_stored_message_is_told_in_the_words_of_ses(make: Make, tmp_path: Path) -> None:
    http = Fixed()
    house = telling(make, tmp_path, of(disk("mail"), object_key_prefix="in/"), http=http)
    await house.deliver()
    (message,) = told(http)
    assert list(message) == ["notificationType", "mail", "receipt"], "there is no content"
    assert message["receipt"]["action"] == {
        "type": "S3",
        "topicArn": ARN,
        "bucketName": "mail",
        "objectKeyPrefix": "in/",
        "objectKey": f"in/{ID}",
    }
    assert json.loads(http.to("a")[0][2])["Subject"] == "Amazon SES Email Receipt Notification"
    assert await house.state() is MessageState.DONE
    assert await house.jobs() == []
    rows = await house.ledger()
    assert [(row.action, row.recipient, row.result.value) for row in rows] == [
        ("disk", "", "done"),
        ("topic_notification", "topic", "done"),
    ]


async def test_each_action_has_its_own_words(make: Make, tmp_path: Path) -> None:
    http = Fixed()
    house = telling(
        make,
        tmp_path,
        of(function("RequestResponse")),
        of(BOUNCE, status_code="5.1.1", sender="postmaster@example.com"),
        of(STOP),
        http=http,
        function=Told(),
        bounce=Told(),
    )
    await house.deliver()
    assert [message["receipt"]["action"] for message in told(http)] == [
        {"type": "Lambda", "topicArn": ARN, "functionArn": "python:m:f", "invocationType": "RequestResponse"},
        {
            "type": "Bounce",
            "topicArn": ARN,
            "smtpReplyCode": "550",
            "statusCode": "5.1.1",
            "message": "no",
            "sender": "postmaster@example.com",
        },
        {"type": "Stop", "topicArn": ARN},
    ]


async def test_an_action_that_was_not_done_tells_nobody(make: Make, tmp_path: Path) -> None:
    http = Fixed()
    suppressed = Told(Outcome(result=Result.SUPPRESSED))
    house = telling(
        make, tmp_path, of(BOUNCE), of(function()), disk("x"), http=http, bounce=suppressed, function=Told(failed())
    )
    await house.deliver()
    assert http.sent == []


async def test_it_is_told_when_the_action_was_done_after_retries_of_its_own(make: Make, tmp_path: Path) -> None:
    http = Fixed()
    house = telling(make, tmp_path, of(disk("x")), http=http, disk=Told(failed(), STORED))
    await house.deliver()
    assert http.sent == []
    await house.pass_time(2)
    assert len(told(http)) == 1
    assert await house.state() is MessageState.DONE


async def test_a_dead_topic_is_retried_alone_and_holds_up_nothing(make: Make, tmp_path: Path) -> None:
    http, last = Fixed(a=HttpReply(status=500)), Told()
    house = telling(make, tmp_path, of(disk("x")), add_header("X-A", "b"), webhook(), http=http, webhook=last)
    await house.deliver()
    assert len(last.seen) == 1
    assert await house.results() == ["done", "retrying", "done", "done"]
    assert await house.state() is MessageState.RETRYING
    (job,) = await house.jobs()
    assert (job.key, job.destination) == (f"{ID}/0/support/0/topic", "inbound")
    http.answers.clear()
    await house.pass_time(2)
    assert await house.results() == ["done", "done", "done", "done"]
    assert await house.state() is MessageState.DONE
    assert len({json.loads(body)["MessageId"] for _, _, body in http.to("a")}) == 1


async def test_what_is_given_up_is_dead_and_can_be_redriven(make: Make, tmp_path: Path) -> None:
    http = Fixed(a=HttpReply(status=410))
    house = telling(make, tmp_path, of(disk("x")), http=http)
    await house.deliver()
    assert await house.state() is MessageState.DEAD
    (job,) = await house.spool.jobs(JobQuery(rule="support", action="topic_notification"))
    assert job.state is JobState.DEAD
    http.answers.clear()
    await house.spool.change_jobs([job.id], JobState.READY, house.clock())
    await house.pass_time(1)
    assert await house.results() == ["done", "done"]
    assert await house.state() is MessageState.DONE


async def test_after_a_crash_the_topic_is_told_and_the_action_is_not_repeated(make: Make, tmp_path: Path) -> None:
    http, store = Fixed(a=HttpReply(status=500)), Told(STORED)
    house = telling(make, tmp_path, of(disk("x")), function(), http=http, disk=store, function=Told())
    await house.deliver()
    await house.stop()
    await reopen(house)
    http.answers.clear()
    house.start()
    await house.pass_time(10)
    assert len(store.seen) == 1
    assert await house.results() == ["done", "done", "done"]


async def test_what_a_stranger_wrote_is_never_read_for_variables(make: Make, tmp_path: Path) -> None:
    http = Fixed()
    stored = Told(Outcome(result=Result.DONE, data={"object_key": "in/${SECRET}", "object_key_prefix": "in/"}))
    house = telling(make, tmp_path, of(disk("x")), http=http, disk=stored)
    house.environment["SECRET"] = "hunter2"
    await house.deliver()
    assert told(http)[0]["receipt"]["action"]["objectKey"] == "in/${SECRET}"


async def test_a_topic_that_nothing_stands_for_is_said_to_be_unmapped(make: Make, tmp_path: Path) -> None:
    house = telling(make, tmp_path, of(disk("x"), topic_arn="arn:aws:sns:eu-west-1:1:other"), http=Fixed())
    await house.deliver()
    assert await house.results() == ["done", "unmapped"]
    assert await house.state() is MessageState.DONE


@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_whatever_takes_a_topic_to_be_told_has_its_words(kind: str) -> None:
    telling_ = "topic_arn" in ACTIONS[kind].fields and kind not in ("sns", "webhook")
    assert (kind in TELLING) == telling_


def test_a_notification_has_no_notification() -> None:
    step = Evaluation.start(book_of(rule("support", of(disk("x")))), receipt_of()).step
    assert step is not None
    assert notifies(step)
    assert not notifies(notification_step(step))
    assert not notification_step(step).holds
