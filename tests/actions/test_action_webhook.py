"""webhook: what is sent, how it is signed, what each reply means."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from acting import ID, NOW, RAW, context_of, receipt_of
from hypothesis import given
from hypothesis import strategies as st

from actions.http_port import HttpReply
from actions.ses_payload import compact_json
from actions.webhook import TIMEOUT_SECONDS, Webhook, host_and_port, judge_reply, retry_after, signature
from mail.errors import Permanent
from mail.outcome import Result


class Receiver:
    """An HTTP client that keeps what it was to send."""

    def __init__(self, reply: HttpReply = HttpReply(status=200)) -> None:  # noqa: B008
        self._reply = reply
        self.url = ""
        self.headers: Mapping[str, str] = {}
        self.body = b""
        self.timeout_seconds = 0.0

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> HttpReply:
        self.url, self.headers, self.body, self.timeout_seconds = url, headers, body, timeout_seconds
        return self._reply


async def sent(raw: bytes = RAW, **parameters: Any) -> Receiver:
    receiver = Receiver()
    outcome = await Webhook(receiver).run(
        context_of("webhook", {"url": "https://hooks.example/in", **parameters}, raw=raw)
    )
    assert outcome.result is Result.DONE
    assert (receiver.url, receiver.timeout_seconds) == ("https://hooks.example/in", TIMEOUT_SECONDS)
    return receiver


async def test_ses_form_is_the_notification_with_content() -> None:
    receiver = await sent()
    assert receiver.headers["content-type"] == "application/json"
    body = json.loads(receiver.body)
    assert list(body) == ["notificationType", "mail", "receipt", "content"]
    assert body["content"] == "X-Ours: yes\r\n" + RAW.decode()
    assert body["mail"]["messageId"] == ID
    assert body["mail"]["headers"][0] == {"name": "X-Ours", "value": "yes"}
    assert body["receipt"]["recipients"] == ["support@example.com"]
    assert body["receipt"]["processingTimeMillis"] == 1432
    assert body["receipt"]["action"] == {"type": "SNS", "topicArn": "", "encoding": "UTF8"}


async def test_bytes_that_are_no_utf8_are_sent_as_base64_and_not_replaced() -> None:
    raw = RAW + b"\xff\xfe\r\n"
    body = json.loads((await sent(raw)).body)
    assert body["receipt"]["action"]["encoding"] == "BASE64"
    assert base64.b64decode(body["content"]) == b"X-Ours: yes\r\n" + raw


async def test_raw_form_is_the_message_itself() -> None:
    receiver = await sent(format="raw")
    assert receiver.headers["content-type"] == "message/rfc822"
    assert receiver.body == b"X-Ours: yes\r\n" + RAW


async def test_fields_that_only_we_may_write_are_not_sent() -> None:
    forged = b"X-SES-Spam-Verdict: PASS\r\n"
    receiver = Receiver()
    raw = forged + RAW
    receipt = receipt_of(raw, cut=((0, len(forged)),))
    await Webhook(receiver).run(
        context_of("webhook", {"url": "https://h.example/", "format": "raw"}, raw=raw, receipt=receipt)
    )
    assert receiver.body == b"X-Ours: yes\r\n" + RAW


async def test_unknown_format_is_refused_and_not_guessed() -> None:
    with pytest.raises(Permanent):
        await Webhook(Receiver()).run(context_of("webhook", {"url": "https://h.example/", "format": "cloudmailin"}))


async def test_signature_is_the_standard_webhooks_one() -> None:
    receiver = await sent(secret="whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode())
    assert receiver.headers["webhook-id"] == f"{ID}/0/support/0"
    assert receiver.headers["webhook-timestamp"] == str(int(NOW.timestamp()) + 1)
    signed = f"{ID}/0/support/0.{int(NOW.timestamp()) + 1}.".encode() + receiver.body
    expected = hmac.new(b"0123456789abcdef01234567", signed, hashlib.sha256).digest()
    assert receiver.headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()


def test_signature_agrees_with_the_published_example() -> None:
    """The example of the Standard Webhooks specification and its reference libraries."""
    assert (
        signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_secret_without_its_mark_is_used_as_it_is_and_a_broken_one_is_refused() -> None:
    assert signature("secret", "i", "1", b"") != signature("whsec_c2VjcmV0Cg==", "i", "1", b"")
    assert signature("secret", "i", "1", b"") == signature("whsec_c2VjcmV0", "i", "1", b"")
    with pytest.raises(Permanent) as caught:
        signature("whsec_!!!", "i", "1", b"")
    assert "!!!" not in str(caught.value)


async def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in (await sent()).headers


async def test_configured_headers_are_sent_but_never_in_place_of_ours() -> None:
    receiver = await sent(headers={"Authorization": "Bearer x", "Webhook-Id": "forged", "Content-Type": "text/html"})
    assert receiver.headers["authorization"] == "Bearer x"
    assert receiver.headers["webhook-id"] == f"{ID}/0/support/0"
    assert receiver.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.DONE),
        (204, Result.DONE),
        (299, Result.DONE),
        (301, Result.FAILED),
        (307, Result.FAILED),
        (400, Result.FAILED),
        (403, Result.DEAD),
        (404, Result.FAILED),
        (410, Result.DEAD),
        (429, Result.FAILED),
        (500, Result.FAILED),
        (503, Result.FAILED),
    ],
)
def test_status_decides(status: int, result: Result) -> None:
    outcome = judge_reply(HttpReply(status=status), NOW)
    assert outcome.result is result
    assert outcome.data == {"status": str(status)}


@pytest.mark.parametrize(("status", "wait"), [(429, 30.0), (503, 30.0), (500, None)])
def test_retry_after_counts_where_it_means_something(status: int, wait: float | None) -> None:
    assert judge_reply(HttpReply(status=status, headers={"retry-after": "30"}), NOW).retry_after_seconds == wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Tue, 13 Jan 2026 21:03:45 GMT", 59.559),
        ("Tue, 13 Jan 2026 20:03:45 GMT", 0.0),
        ("Tue, 13 Jan 2026 21:03:45 -0000", None),
        ("Tue, 13 Jan " + "9" * 25 + " 21:03:45 GMT", None),
        ("Tue, 13 Jan 2026 21:03:45 +" + "9" * 25, None),
        ("Tue, 13 Jan " + "9" * 5000 + " 21:03:45 GMT", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, 999_999_999.0),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_retry_after_never_raises(value: str) -> None:
    wait = retry_after(value, NOW)
    assert wait is None or wait >= 0


def test_reply_text_reaches_the_detail_on_one_line_and_short() -> None:
    outcome = judge_reply(HttpReply(status=500, body=b"no\r\nsuch\x1b[31m\xff" + b"x" * 9000), NOW)
    assert outcome.detail.startswith("HTTP 500: no  such [31m")
    assert len(outcome.detail) < 250
    assert outcome.detail.isprintable()


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://hooks.example/in?token=secret", "hooks.example:443"),
        ("http://user:pass@hooks.example:8080/", "hooks.example:8080"),
        ("http://[::1]/", "::1:80"),
        ("http://hooks.example:99999/", ""),
        ("nonsense", ""),
        ("http://[::1/", ""),
    ],
)
def test_destination_is_host_and_port_and_never_a_secret(url: str, destination: str) -> None:
    assert host_and_port(url) == destination


def test_lone_surrogate_in_hostile_text_is_still_json() -> None:
    assert compact_json({"subject": "a\ud800b"}) == b'{"subject":"a?b"}'
