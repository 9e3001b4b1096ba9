"""A stranger's first mail: sent with swaks, found on disk, delivered to the web application, explained."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import subprocess
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start
from sample_gateway import MESSAGES, ZONE, sample_bytes, small_settings
from webhook_sink import Sink

RULES = """\
version: 1
domains: [example.com]
filters:
  - {name: bad-neighbours, policy: Block, cidr: 198.51.100.0/24}
rule_sets:
  default:
    - name: invoices
      recipients: [support@example.com]
      actions:
        - disk: {path: mail, object_key_prefix: invoices/}
        - lambda: {function_arn: "python:invoices:handler", invocation_type: RequestResponse}
        - webhook: {url: SINK, secret: whsec_YSBwdWJsaXNoZWQgc2FtcGxlIHNlY3JldCE=, format: ses}
    - name: marked-only
      recipients: [support@example.com]
      when: [{header: {name: X-Never, exists: true}}]
      actions: [{drop: {}}]
"""
SECRET = b"a published sample secret!"


@pytest.fixture
def small(gateway: Start, sink: Sink, tmp_path: Path) -> GatewayProcess:
    return gateway(rules=RULES.replace("SINK", sink.url), dns=ZONE, config=small_settings(tmp_path))


def swaks(gateway: GatewayProcess, *arguments: str) -> str:
    """What swaks and the server said to each other."""
    host, port = gateway.address
    command = ["swaks", "--server", f"{host}:{port}", "--from", "a@b.example", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


def swaks_id(said: str) -> str:
    match = re.search(r"^<-  250 2\.0\.0 Ok ([0-9a-v]{40})$", said, re.MULTILINE)
    assert match, said
    return match.group(1)


def stored(gateway: GatewayProcess, message_id: str) -> bytes:
    """The object of a message, which is there once."""
    (path,) = (gateway.data / "mail").rglob(message_id)
    return path.read_bytes()


@pytest.mark.engine("swaks")
def test_a_mail_sent_with_swaks_is_stored_processed_posted_explained_and_found(
    small: GatewayProcess, sink: Sink
) -> None:
    invoice = next(path for path in MESSAGES if path.name == "invoice.eml")
    message_id = swaks_id(swaks(small, "--to", "support@example.com", "--data", f"@{invoice}"))
    small.wait_done(message_id)

    # swaks sends a line end more than the file has.
    raw = small.cli("show", message_id, "--raw").stdout
    assert raw.rstrip(b"\r\n") == sample_bytes("invoice.eml").rstrip(b"\r\n")
    above = stored(small, message_id).removesuffix(raw)
    assert stored(small, message_id) == above + raw
    names = re.findall(rb"^([A-Za-z0-9-]+):", above, re.MULTILINE)
    assert names == [b"Return-Path", b"Received", b"Received-SPF", b"Authentication-Results", b"X-SES-RECEIPT"]
    assert f"by mx.example.com with SMTP id {message_id}".encode() in above.replace(b"\r\n", b"")

    (call,) = sink.calls
    assert call.headers["webhook-id"] == f"{message_id}/0/invoices/2"
    signed = b".".join([call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body])
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert call.headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(call.body)
    assert told["mail"]["messageId"] == message_id
    assert told["receipt"]["dkimVerdict"] == {"status": "PASS"}
    assert told["content"].encode() == stored(small, message_id)

    (explained,) = small.objects("explain", message_id)
    assert [(rule["name"], rule["matched"]) for rule in explained["rules"]] == [
        ("invoices", True),
        ("marked-only", False),
    ]
    assert all(rule["reason"] for rule in explained["rules"])
    assert [(step["action"], step["outcome"]) for step in explained["steps"]] == [
        ("disk", "done"),
        ("lambda", "done"),
        ("webhook", "done"),
    ]
    shown = small.cli("explain", message_id).stdout.decode()
    assert "marked-only  not matched because header" in shown

    (found,) = small.objects("find", "--from", "a@b.example", "--to", "support@example.com", "--subject", "88213")
    assert (found["id"], found["state"]) == (message_id, "done")
    assert re.search(
        rf" 250  a@b\.example → support@example\.com .*dkim PASS.* {message_id}$", small.output, re.MULTILINE
    )


def test_the_function_has_read_the_message_itself(small: GatewayProcess) -> None:
    message_id = small.deliver(sample_bytes("invoice.eml"), rcpt_to=["support@example.com"])
    small.wait_done(message_id)
    (shown,) = small.objects("show", message_id)
    assert "invoice-2026-0317.pdf" in json.dumps(shown), "the line that the function printed"


def test_a_function_that_finds_no_invoice_ends_its_rule(small: GatewayProcess, sink: Sink) -> None:
    message_id = small.deliver(sample_bytes("personal.eml"), rcpt_to=["support@example.com"])
    small.wait_done(message_id)
    (explained,) = small.objects("explain", message_id)
    assert [step["action"] for step in explained["steps"]] == ["disk", "lambda"]
    assert sink.calls == []


def test_forged_fields_are_missing_from_the_object_and_nothing_else_is(small: GatewayProcess) -> None:
    raw = sample_bytes("forged-fields.eml")
    message_id = small.deliver(raw, rcpt_to=["support@example.com"])
    small.wait_done(message_id)
    (explained,) = small.objects("explain", message_id)
    left = raw
    assert len(explained["cut"]) >= 3
    for span in explained["cut"]:
        octets = span.encode() + b"\r\n"
        assert left.count(octets) == 1
        left = left.replace(octets, b"")
    assert stored(small, message_id).endswith(b"\r\n" + left)
    above = stored(small, message_id).removesuffix(left)
    names = [name.lower() for name in re.findall(rb"^([A-Za-z0-9-]+):", above, re.MULTILINE)]
    assert names == [b"return-path", b"received", b"received-spf", b"authentication-results", b"x-ses-receipt"]
    for forged in (b"x-ses-spam-verdict", b"x-ses-virus-verdict", b"x-ses-receipt"):
        assert re.search(rb"(?mi)^" + forged + rb"\s*:", left.partition(b"\r\n\r\n")[0]) is None
    assert small.cli("show", message_id, "--raw").stdout == raw


@pytest.mark.engine("swaks")
def test_refused_sessions_are_found_and_say_who_refused(small: GatewayProcess) -> None:
    assert "550 5.7.1 Relaying denied" in swaks(small, "--to", "x@elsewhere.example")
    assert "550 5.1.1" in swaks(small, "--to", "nobody@example.com")
    blocked = ["--xclient-addr", "198.51.100.7", "--xclient-name", "vps.bad.example"]
    assert "550 5.7.1" in swaks(small, "--to", "support@example.com", *blocked)
    rows = small.objects("find", "--outcome", "refused")
    assert [(row["rcpt_to"], row["phase"], row["by"]) for row in rows] == [
        (["support@example.com"], "rcpt", "bad-neighbours"),
        (["nobody@example.com"], "rcpt", ""),
        (["x@elsewhere.example"], "rcpt", ""),
    ]
    assert rows[0]["client_ip"] == "198.51.100.7"
    assert small.objects("find", "--ip", "198.51.100.7") == rows[:1]
    (told,) = small.objects("explain", rows[0]["session"])
    assert "bad-neighbours" in json.dumps(told)
    assert "bad-neighbours" in small.cli("explain", rows[0]["session"]).stdout.decode()


def test_wait_tells_that_an_action_is_still_tried(small: GatewayProcess, sink: Sink) -> None:
    sink.status = 503
    message_id = small.deliver(sample_bytes("invoice.eml"), rcpt_to=["support@example.com"])
    assert small.cli("wait", message_id, "--for", "stored").returncode == 0
    assert small.cli("wait", message_id, "--timeout", "300ms").returncode == 4
    (found,) = small.objects("find", "--outcome", "retrying")
    assert found["id"] == message_id


@pytest.mark.engine("swaks")
def test_a_mail_over_starttls_says_so_in_its_received_field(small: GatewayProcess) -> None:
    said = swaks(small, "--tls", "--to", "support@example.com")
    assert "TLS started with cipher TLSv1.3" in said
    message_id = re.findall(r"250 2\.0\.0 Ok ([0-9a-v]{40})", said)[0]
    (told,) = small.objects("explain", message_id)
    assert told["reply"]["code"] == 250
    (shown,) = small.objects("show", message_id)
    assert "TLSv1.3" in json.dumps(shown)


def test_a_message_from_ipv6_is_judged_by_its_address(gateway: Start) -> None:
    live = gateway(rules="version: 1\ndomains: [example.com]\nrule_sets: {default: [{name: all, actions: [{drop: {}}]}]}\n",
                   dns=ZONE, listen="[::1]:0")  # fmt: skip
    message_id = live.deliver(sample_bytes("invoice.eml"), rcpt_to=["x@example.com"])
    (told,) = live.stories([message_id])
    assert told["envelope"]["client_ip"] == "::1"
