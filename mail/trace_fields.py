"""The fields that we put above a message, in SES's order and form (SES: headers of a received message; ses-compat.md).

*Standards.* RFC 5321 §4.4 (Return-Path, Received), RFC 7208 §9.1 (Received-SPF).
*Trust.* HELO, addresses and reverse names are hostile text: what is not a plain word is quoted, controls are dropped.
They are kept beside the message and never mixed into its bytes.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from datetime import datetime

from mail.headers import header_field
from mail.receipt import Receipt
from mail.verdict import AuthResult, Status

_SPF_TEXT = {
    "pass": "domain of {domain} designates {ip} as permitted sender",
    "fail": "domain of {domain} does not designate {ip} as permitted sender",
    "softfail": "transitioning domain of {domain} does not designate {ip} as permitted sender",
    "neutral": "{ip} is neither permitted nor denied by domain of {domain}",
    "none": "{ip} is neither permitted nor denied by domain of {domain}",
    "permerror": "Error in processing SPF Record",
    "temperror": "Error in retrieving data from DNS",
}
_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@:\[\]\u00a0-\U0010ffff-]+\Z")
_HOST = re.compile(r"[^A-Za-z0-9._:\[\]\u00a0-\U0010ffff-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def rfc5322_date(when: datetime) -> str:
    """`Thu, 13 Jan 2022 21:02:45 +0000`; `when` is UTC. No locale takes part."""
    day, month = _DAYS[when.weekday()], _MONTHS[when.month - 1]
    clock = f"{when.hour:02}:{when.minute:02}:{when.second:02}"  # strftime costs five times as much
    return f"{day}, {when.day:02} {month} {when.year:04} {clock} +0000"


def prepended_fields(
    receipt: Receipt,
    *,
    hostname: str,
    authentication_results: bytes,
    scanned: bool,
    added: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return-Path, Received, the verdicts that this rule sees, Received-SPF, Authentication-Results, X-SES-RECEIPT, then `added`.
    What was not judged has no field.

    `authentication_results` is the finished field; `added` are add_header's, oldest first.
    """
    reverse_path = receipt.envelope.reverse_path
    fields = [
        header_field("Return-Path", f"<{reverse_path or ''}>"),
        _received(receipt, hostname),
    ]
    if scanned:
        for name in ("spam", "virus"):
            status = receipt.verdicts.status(name)
            if status is not Status.DISABLED:
                fields.append(header_field(f"X-SES-{name.title()}-Verdict", status.value))
    if receipt.verdicts.status("spf") is not Status.DISABLED:
        fields.append(header_field("Received-SPF", received_spf_text(receipt)))
    fields.append(authentication_results)
    fields.append(header_field("X-SES-RECEIPT", receipt_token(receipt)))
    fields.extend(header_field(name, value) for name, value in added)
    return b"".join(fields)


def _received(receipt: Receipt, hostname: str) -> bytes:
    client = receipt.client
    helo = _HOST.sub("?", client.helo or "unknown")
    peer = f"{client.name or 'unknown'} [{client.ip or 'unknown'}]"
    lines = [f"from {helo} ({peer})", f"by {hostname} with SMTP id {receipt.message_id}"]
    recipients = receipt.envelope.recipients
    # With several recipients the field would show each of them to all the others (RFC 5321 §7.2).
    if len(recipients) == 1:
        lines.append(f"for {recipients[0].mailbox};")
    else:
        lines[-1] += ";"
    lines.append(f"{rfc5322_date(receipt.received_at)} (UTC)")
    return header_field("Received", lines[0])[:-2] + b"".join(f"\r\n {line}".encode() for line in lines[1:]) + b"\r\n"


def received_spf_text(receipt: Receipt) -> str:
    """`RESULT (spfCheck: TEXT) client-ip=IP; envelope-from=MAILFROM; helo=HELO;`, which SES repeats in its spf clause."""
    spf, client = receipt.verdicts.spf, receipt.client
    reverse_path = receipt.envelope.reverse_path
    sender = _value(str(reverse_path)) if reverse_path else "<>"
    ip = client.ip or "unknown"
    parts = f"client-ip={ip}; envelope-from={sender}; helo={_value(client.helo or 'unknown')};"
    return f"{spf.result} (spfCheck: {spf_text(spf, ip)}) {parts}"


def spf_text(spf: AuthResult, ip: str) -> str:
    """jSPF's sentence for a result, which SES prints (SES: Received-SPF)."""
    identity = spf.properties.get("smtp.mailfrom") or spf.properties.get("smtp.helo", "")
    # A parenthesis or a quote in a domain would end the comment early.
    domain = _HOST.sub("?", identity.rpartition("@")[2]) or "unknown"
    return _SPF_TEXT.get(spf.result, _SPF_TEXT["permerror"]).format(domain=domain, ip=ip)


def _value(text: str) -> str:
    """A word as it is, anything else as a quoted string (RFC 5322 §3.2.4) without controls."""
    if _WORD.match(text):
        return text
    return '"' + _CONTROL.sub("", text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def receipt_token(receipt: Receipt) -> str:
    """An opaque token of SES's shape (base64 over a zero octet and base64), derived from id and digest: it proves nothing."""
    sealed = b"\0" * 12 + hashlib.shake_256(f"{receipt.message_id}/{receipt.digest}".encode()).digest(238)
    return base64.b64encode(b"\0" + base64.b64encode(sealed)).decode("ascii")
