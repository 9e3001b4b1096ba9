"""Our HTTP listener for a topic's subscribers: the certificate, and SNS's API as links and as an SDK use it."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import boto3
import pytest
from acting import NOW, Clock, Told, failed, rule, webhook
from botocore.exceptions import ClientError
from http_rig import Rig, serving
from sns_world import ARN, topic, verify

from gatepost.publishing import Publishing, keep_noticing
from gatepost.sns_signer import SnsSigner
from rules.load import load_text
from rules.model import ActionSpec
from spool.subscriptions import SubscriptionState, open_subscriptions

URL = "https://h.example/a"
NAMESPACE = "{http://sns.amazonaws.com/doc/2010-03-31/}"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(tmp_path) as made:
        made.topics = [topic({"url": URL})]
        yield made


def state(rig: Rig) -> SubscriptionState:
    return rig.subscriptions.of(ARN, URL, rig.clock()).state


def sdk(rig: Rig) -> Any:
    return boto3.client(
        "sns",
        endpoint_url=rig.base,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


async def asked(rig: Rig) -> dict[str, str]:
    """What the subscriber was sent to confirm."""
    await rig.publishing.ask(rig.topics[0], rig.topics[0].subscribers[0], rig.clock())
    body: dict[str, str] = json.loads(rig.http.to("a", "SubscriptionConfirmation")[-1][2])
    return body


async def test_visiting_the_subscribe_url_confirms(rig: Rig) -> None:
    status, headers, body = await rig.get((await asked(rig))["SubscribeURL"])
    assert (status, headers["content-type"]) == (200, "text/xml")
    document = ElementTree.fromstring(body)
    assert document.tag == f"{NAMESPACE}ConfirmSubscriptionResponse"
    arn = document.findtext(f"{NAMESPACE}ConfirmSubscriptionResult/{NAMESPACE}SubscriptionArn")
    assert arn == rig.subscriptions.of(ARN, URL, rig.clock()).arn
    assert document.findtext(f"{NAMESPACE}ResponseMetadata/{NAMESPACE}RequestId")
    assert state(rig) is SubscriptionState.CONFIRMED


async def test_the_sdk_confirms_too(rig: Rig) -> None:
    token = (await asked(rig))["Token"]
    answer = await asyncio.to_thread(sdk(rig).confirm_subscription, TopicArn=ARN, Token=token)
    assert answer["SubscriptionArn"].startswith(f"{ARN}:")
    assert state(rig) is SubscriptionState.CONFIRMED


async def test_a_wrong_token_confirms_nothing(rig: Rig) -> None:
    token = (await asked(rig))["Token"]
    for wrong in ("", "x", token[:-1], token.upper(), token + "0"):
        with pytest.raises(ClientError) as caught:
            await asyncio.to_thread(sdk(rig).confirm_subscription, TopicArn=ARN, Token=wrong)
        assert caught.value.response["Error"]["Code"] == "InvalidParameter"
    status, _, _ = await rig.get(f"/?Action=ConfirmSubscription&TopicArn={quote(ARN)}x&Token={token}")
    assert status == 400
    assert state(rig) is SubscriptionState.PENDING


async def test_the_unsubscribe_url_ends_it_and_the_farewell_takes_it_back(rig: Rig) -> None:
    await rig.get((await asked(rig))["SubscribeURL"])
    arn = rig.subscriptions.of(ARN, URL, rig.clock()).arn
    status, _, body = await rig.get(f"/?Action=Unsubscribe&SubscriptionArn={arn}")
    assert (status, b"UnsubscribeResponse" in body) == (200, True)
    assert state(rig) is SubscriptionState.ENDED
    ((_, headers, sent),) = rig.http.to("a", "UnsubscribeConfirmation")
    farewell = json.loads(sent)
    assert farewell["Type"] == "UnsubscribeConfirmation"
    assert headers["x-amz-sns-subscription-arn"] == arn
    verify(farewell, (await rig.get(farewell["SigningCertURL"]))[2])
    await rig.get(farewell["SubscribeURL"])
    assert state(rig) is SubscriptionState.CONFIRMED


async def test_a_queue_is_ended_without_a_farewell(rig: Rig) -> None:
    queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/mail"
    rig.topics = [topic({"sqs": queue})]
    arn = rig.subscriptions.of(ARN, queue, rig.clock()).arn
    assert (await rig.get(f"/?Action=Unsubscribe&SubscriptionArn={arn}"))[0] == 200
    assert rig.subscriptions.of(ARN, queue, rig.clock()).state is SubscriptionState.ENDED
    assert rig.http.sent == []


async def test_an_old_token_does_not_bring_back_who_left(rig: Rig) -> None:
    url = (await asked(rig))["SubscribeURL"]
    await rig.get(url)
    await rig.get(f"/?Action=Unsubscribe&SubscriptionArn={rig.subscriptions.of(ARN, URL, rig.clock()).arn}")
    assert (await rig.get(url))[0] == 400
    assert state(rig) is SubscriptionState.ENDED


async def test_nobody_ends_a_subscription_whose_arn_he_cannot_know(rig: Rig) -> None:
    await asked(rig)
    for guess in ("", ARN, f"{ARN}:%25", "' OR 1=1 --", f"{ARN}:00000000-0000-0000-0000-000000000000"):
        status, _, body = await rig.get(f"/?Action=Unsubscribe&SubscriptionArn={quote(guess)}")
        assert (status, b"<Code>NotFound</Code>" in body) == (404, True)
    assert state(rig) is SubscriptionState.PENDING


async def test_a_subscription_that_was_confirmed_with_authentication_is_ended_by_the_rules_alone(rig: Rig) -> None:
    token = (await asked(rig))["Token"]
    confirmed = sdk(rig).confirm_subscription
    answer = await asyncio.to_thread(confirmed, TopicArn=ARN, Token=token, AuthenticateOnUnsubscribe="true")
    # Whoever saw the token in a log takes nothing back with it.
    await asyncio.to_thread(confirmed, TopicArn=ARN, Token=token)
    status, _, body = await rig.get(f"/?Action=Unsubscribe&SubscriptionArn={answer['SubscriptionArn']}")
    assert (status, b"<Code>AuthorizationError</Code>" in body) == (403, True)
    assert state(rig) is SubscriptionState.CONFIRMED
    assert rig.http.to("a", "UnsubscribeConfirmation") == []


async def test_what_waits_for_a_subscriber_is_due_when_it_confirms(tmp_path: Path) -> None:
    waits = Told(failed("has not confirmed its subscription yet"), destination="inbound")
    other = Told(failed(), destination="elsewhere")
    sns = ActionSpec(type="sns", parameters={"topic_arn": "inbound"})
    async with serving(tmp_path, rule("a", sns, webhook()), sns=waits, webhook=other) as rig:
        rig.topics = [topic({"url": URL})]
        await rig.house.deliver()
        assert (len(waits.seen), len(other.seen)) == (1, 1)
        before = {job.key: job.expires_at for job in await rig.house.jobs()}
        rig.clock.now += timedelta(seconds=1)
        await rig.get((await asked(rig))["SubscribeURL"])
        await rig.house.pass_time(1)
        assert (len(waits.seen), len(other.seen)) == (2, 1)
        assert {job.key: job.expires_at for job in await rig.house.jobs()} == before


async def test_each_process_notices_what_another_was_told(tmp_path: Path) -> None:
    book = load_text(
        f"topics: {{t: {{arn: '{ARN}', subscribers: [{{url: '{URL}'}}]}}}}\nrule_sets: {{a: []}}".encode(),
        "r",
        tmp_path,
    ).book
    assert book is not None
    subscriptions, told = open_subscriptions(tmp_path / "topics.db"), asyncio.Queue[str]()
    publishing = Publishing(
        topics=None, links=None, signer=None, subscriptions=lambda: subscriptions, close=lambda: None
    )  # type: ignore[arg-type]
    noticing = asyncio.create_task(keep_noticing(publishing, lambda: book, told.put, Clock(), look_seconds=0))
    other = open_subscriptions(tmp_path / "topics.db")
    for _ in range(5):
        await asyncio.sleep(0)
    assert told.empty()
    other.confirm(ARN, other.of(ARN, URL, NOW).token, NOW)
    assert await told.get() == ARN
    for _ in range(5):
        await asyncio.sleep(0)
    assert told.empty(), "once"
    noticing.cancel()
    for each in (subscriptions, other):
        each.close()


async def test_subscribe_begins_again_for_an_endpoint_of_the_rules(rig: Rig) -> None:
    rig.subscriptions.end(rig.subscriptions.of(ARN, URL, rig.clock()).arn, rig.clock())
    answer = await asyncio.to_thread(sdk(rig).subscribe, TopicArn=ARN, Protocol="https", Endpoint=URL)
    assert answer["SubscriptionArn"] == "pending confirmation"
    assert state(rig) is SubscriptionState.PENDING
    assert len(rig.http.to("a", "SubscriptionConfirmation")) == 1


@pytest.mark.parametrize(
    ("arn", "endpoint"),
    [
        (ARN, "https://mallory.example/"),
        (ARN, "http://169.254.169.254/latest/meta-data/"),
        (ARN, f"{URL}/../b"),
        ("arn:aws:sns:eu-west-1:123456789012:../inbound", URL),
        ("", URL),
    ],
)
async def test_nobody_subscribes_himself_and_nothing_is_fetched_for_him(rig: Rig, arn: str, endpoint: str) -> None:
    status, _, body = await rig.ask(
        "POST", "/", data={"Action": "Subscribe", "TopicArn": arn, "Protocol": "https", "Endpoint": endpoint}
    )
    assert (status, b"AuthorizationError" in body) == (403, True)
    assert rig.http.sent == []


async def test_the_certificate_is_served_under_its_name_alone(rig: Rig, tmp_path: Path) -> None:
    url = await rig.signer.certificate_url()
    status, headers, body = await rig.get(url)
    assert (status, headers["content-type"]) == (200, "application/x-pem-file")
    assert body.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in body
    for path in (
        "/sns-signing.pem",
        "/../sns-signing.pem",
        "/%2e%2e/sns-signing.pem",
        "/x/SimpleNotificationService-.pem",
    ):
        assert (await rig.get(path))[0] == 404
    assert stat.S_IMODE((tmp_path / "sns-signing.pem").stat().st_mode) == 0o600


# What validators in use ask of the certificate's URL before they fetch it.
VALIDATORS = {
    "sns-validator (npm), aws-sdk-sns (Ruby), aws-php-sns-message-validator, .NET: host": (
        r"https://sns\.[a-zA-Z0-9\-]{3,}\.amazonaws\.com(\.cn)?/[^?#]*\.pem"
    ),
    "go.sns: host and name": (
        r"https://sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?/SimpleNotificationService-[a-zA-Z0-9]{32}\.pem"
    ),
    "validatesns, sns-message-validator (Python)": r"https://sns\.[-a-z0-9]+\.amazonaws\.com(?:\.cn)?/[^?#]*\.pem",
}


@pytest.mark.parametrize("pattern", VALIDATORS.values(), ids=VALIDATORS)
async def test_validators_in_use_trust_the_certificates_url_where_it_is_set_to_amazons(
    tmp_path: Path, pattern: str
) -> None:
    signer = SnsSigner(tmp_path, "https://sns.eu-west-1.amazonaws.com", "mx.example.com", Clock())
    assert re.fullmatch(pattern, await signer.certificate_url())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 400),
        ("GET", "/?Action=DeleteTopic", 400),
        ("GET", "/?Action=%3Cscript%3E", 400),
        ("GET", "/nothing", 403),
        ("POST", "/attachments/x/0", 404),
        ("PUT", "/", 405),
        ("DELETE", "/?Action=Unsubscribe", 405),
        ("HEAD", "/nothing", 403),
    ],
)
async def test_there_is_nothing_else(rig: Rig, method: str, path: str, status: int) -> None:
    found, headers, body = await rig.ask(method, path)
    assert found == status
    assert headers["server"] == "gatepost"
    assert b"<script>" not in body


@pytest.mark.parametrize("query", ["a&" * 101, "%ff=%00&" * 10, "a=%ed%b3%bf"])
async def test_noise_as_parameters_is_a_fault_of_whoever_asks(
    rig: Rig, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await rig.ask("GET", f"/?{query}"))[0] == 400
    assert (await rig.ask("POST", "/", data=query))[0] == 400
    assert not caplog.records


async def test_a_large_request_is_refused(rig: Rig) -> None:
    assert (await rig.ask("POST", "/", data=b"x" * 100_000))[0] == 413


async def test_our_urls_never_come_from_the_host_of_a_request(rig: Rig) -> None:
    await rig.ask(
        "POST",
        "/",
        data={"Action": "Subscribe", "TopicArn": ARN, "Protocol": "https", "Endpoint": URL},
        headers={"Host": "mallory.example", "X-Forwarded-Host": "mallory.example"},
    )
    ((_, _, body),) = rig.http.to("a", "SubscriptionConfirmation")
    assert b"mallory" not in body
    assert json.loads(body)["SubscribeURL"].startswith(f"{rig.base}/?")
