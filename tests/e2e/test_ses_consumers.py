"""Code that was written for SES, unchanged, behind a gateway that serves the rules of SES."""

from __future__ import annotations

import base64
import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from urllib.request import urlopen

import pytest
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE, sample_bytes
from webhook_sink import Sink

sys.path.append(str(Path(__file__).parents[1] / "actions"))
from function_server import Reply, Server, function_server

FUNCTIONS = Path(__file__).parents[1] / "cases" / "functions"
INTEROP = Path(__file__).parents[2] / ".cache/interop/bin/python"
LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:"
# As `aws ses describe-receipt-rule-set` prints it.
SES_RULES: dict[str, Any] = {
    "Metadata": {"Name": "default"},
    "Rules": [
        {
            "Name": "filter",
            "Enabled": True,
            "Recipients": ["example.com"],
            "Actions": [{"LambdaAction": {"FunctionArn": LAMBDA + "filter", "InvocationType": "RequestResponse"}}],
            "ScanEnabled": True,
        },
        {
            "Name": "forward",
            "Enabled": True,
            "Recipients": ["info@example.com"],
            "Actions": [
                {"S3Action": {"BucketName": "example-com-inbound", "ObjectKeyPrefix": "emails/"}},
                {"LambdaAction": {"FunctionArn": LAMBDA + "forward", "InvocationType": "Event"}},
            ],
            "ScanEnabled": True,
        },
    ],
}
SETTINGS = f"""\
version: 1
functions: {{path: ['{FUNCTIONS}'], environment: [AWS_ENDPOINT_URL_SES]}}
arns:
  '{LAMBDA}filter': 'python:spam_filter:handler'
  '{LAMBDA}forward': 'python:forwarder:handler'
  'arn:aws:s3:::example-com-inbound': 'disk:mail'
"""
SENT = b"""<SendRawEmailResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><SendRawEmailResult>
<MessageId>000001</MessageId></SendRawEmailResult></SendRawEmailResponse>"""


@pytest.fixture
def ses() -> Iterator[Server]:
    with function_server() as made:
        made.reply = Reply(body=SENT, headers={"content-type": "text/xml"})
        yield made


def ledger(gateway: GatewayProcess, message_id: str) -> list[dict[str, Any]]:
    (story,) = gateway.stories([message_id])
    steps: list[dict[str, Any]] = story["steps"]
    return steps


def test_filter_and_forwarder_of_the_wild_run_unchanged(gateway: Start, ses: Server, tmp_path: Path) -> None:
    rules, config = tmp_path / "rules.json", tmp_path / "gatepost.yaml"
    rules.write_text(json.dumps(SES_RULES))
    config.write_text(SETTINGS)
    running = gateway(rules=rules, config=config, dns=ZONE, variables={"AWS_ENDPOINT_URL_SES": ses.url})
    raw = sample_bytes("personal.eml")

    good = running.deliver(raw, rcpt_to=["info@example.com"])
    running.wait_done(good)
    assert [(step["action"], step["outcome"]) for step in ledger(running, good)] == [
        ("lambda", "done"),
        ("disk", "done"),
        ("lambda", "done"),
    ]
    ((_, _, body),) = ses.seen
    form = dict(parse_qsl(body.decode()))
    assert form["Action"] == "SendRawEmail"
    assert [form[f"Destinations.member.{number}"] for number in (1, 2)] == [
        "example.john@example.net",
        "example.jen@example.net",
    ]
    forwarded = base64.b64decode(form["RawMessage.Data"])
    assert b"<info@example.com>\r\n" in forwarded
    assert b"\r\nReply-To: " in forwarded
    assert b"Return-Path:" not in forwarded
    assert forwarded.endswith(raw[raw.index(b"\r\n\r\n") :][-40:])

    spam = running.deliver(raw, mail_from="billing@acme.example", rcpt_to=["info@example.com"])  # SPF fails
    running.wait_done(spam)
    assert [(step["action"], step["detail"]) for step in ledger(running, spam)] == [
        ("lambda", "python:spam_filter:handler answered STOP_RULE_SET"),
    ]
    assert len(ses.seen) == 1


YAML_RULES = """\
version: 1
domains: [example.com]
topics:
  inbound: {arn: "arn:aws:sns:eu-west-1:123456789012:inbound", subscribers: [{url: "SINK"}]}
rule_sets:
  default:
    - name: parse
      scan_enabled: true
      actions:
        - disk: {path: mail, object_key_prefix: in, topic_arn: inbound}
        - lambda: {function_arn: "python:powertools:parsed"}
        - lambda: {function_arn: "python:powertools:wrapped", invocation_type: RequestResponse}
        - drop: {}
"""
PARSE_NOTIFICATION = """
import json, sys
from aws_lambda_powertools.utilities.parser.models import SnsModel, SnsNotificationModel
from aws_lambda_powertools.utilities.data_classes import SNSEvent
envelope = json.load(sys.stdin)
record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": envelope["TopicArn"] + ":1", "Sns": envelope}
message = json.loads(SNSEvent({"Records": [json.loads(json.dumps(record))]}).sns_message)
assert message["notificationType"] == "Received", message
SnsNotificationModel.model_validate(dict(envelope))
print(json.loads(SnsModel.model_validate({"Records": [record]}).Records[0].Sns.Message)["mail"]["messageId"])
"""


class _Clamd(socketserver.StreamRequestHandler):
    """Finds every message clean."""

    def handle(self) -> None:
        while command := self._until_nul():
            while command == b"zINSTREAM" and (octets := int.from_bytes(self.rfile.read(4), "big")):
                self.rfile.read(octets)
            self.wfile.write(b"stream: OK\0" if command == b"zINSTREAM" else b"ClamAV 1.4.3\0")

    def _until_nul(self) -> bytes:
        found = b""
        while (octet := self.rfile.read(1)) and octet != b"\0":
            found += octet
        return found


@pytest.fixture
def clamd() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Clamd) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def envelopes(sink: Sink, kind: str) -> list[dict[str, str]]:
    found = [json.loads(call.body) for call in list(sink.calls)]
    return [envelope for envelope in found if envelope["Type"] == kind]


@pytest.mark.engine("powertools")
def test_models_of_aws_powertools_take_our_events(gateway: Start, sink: Sink, clamd: str, tmp_path: Path) -> None:
    config = tmp_path / "gatepost.yaml"
    # Models refuse DISABLED, so the mail is scanned; the interpreter has the packages that the function needs.
    config.write_text(
        f"version: 1\nspam: {{engine: builtin}}\nvirus: {{clamd: ['tcp:{clamd}']}}\nhttp: {{listen: [127.0.0.1:0]}}\n"
        f"functions: {{path: ['{FUNCTIONS}'], python: '{INTEROP}'}}\n"
    )
    running = gateway(rules=YAML_RULES.replace("SINK", sink.url), config=config, dns=ZONE)
    asked = until(lambda: envelopes(sink, "SubscriptionConfirmation"), "the handshake")[0]
    with urlopen(asked["SubscribeURL"], timeout=10) as reply:
        assert reply.status == 200
    message_id = running.deliver(sample_bytes("personal.eml"), rcpt_to=["info@example.com"])
    running.wait_done(message_id)
    # STOP_RULE of the last function, which saw a SESEvent, kept the drop from running.
    steps = [(step["action"], step["outcome"]) for step in ledger(running, message_id)]
    assert steps == [("disk", "done"), ("lambda", "done"), ("lambda", "done"), ("topic_notification", "done")]
    envelope = until(lambda: envelopes(sink, "Notification"), "the notification")[0]
    command = [INTEROP, "-c", PARSE_NOTIFICATION]
    read = subprocess.run(command, input=json.dumps(envelope).encode(), capture_output=True, check=False, timeout=60)
    assert read.stdout.decode().strip() == message_id, read.stderr.decode()
