"""Makes `samples/messages` and `samples/dns` from `tools/drafts` and the published test keys; the same bytes each time.

    python tools/make_samples.py [--into DIRECTORY]

A draft is a text file of three parts, divided by lines that are exactly `---`:

1. the side file `NAME.eml.yaml` as it will stand beside the message: a comment, the envelope, and the time `now`;
2. what happens to the message on its way, YAML: `steps`, in order (see `STEPS`), and `charset` if it is not UTF-8;
3. the message as its author wrote it, with LF. A line `{{name}}` stands for generated content (`sample_parts.PARTS`).

RSA (PKCS #1 v1.5) and Ed25519 signatures are deterministic, and the signing time is the Date field and `after` seconds
(default 1) of the step, so that running this twice, or on another machine, changes nothing.
"""

from __future__ import annotations

import argparse
import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dkim
import nacl.signing
import yaml
from cryptography.hazmat.primitives import serialization
from sample_parts import PARTS

ROOT = Path(__file__).resolve().parent.parent
DRAFTS = ROOT / "tools" / "drafts"
KEYS = ROOT / "samples" / "keys"
PLACEHOLDER = re.compile(rb"^\{\{([a-z0-9-]+)\}\}$", re.MULTILINE)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One sample before its journey. `message` has CRLF line ends; `side_file` is text as it will be written."""

    name: str
    side_file: str
    sent: datetime
    steps: list[dict[str, Any]]
    message: bytes


def crlf(octets: bytes) -> bytes:
    """The octets with every line end as CRLF."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def private_key(name: str) -> bytes:
    """The key file without the comment that warns its reader: PEM for RSA, base64 of the seed for Ed25519."""
    lines = (KEYS / name).read_text(encoding="ascii").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#")).encode("ascii")


def key_record(name: str) -> str:
    """The TXT record of the key's public half (RFC 6376 §3.6.1, RFC 8463 §4.2)."""
    if name.endswith(".key"):
        public = bytes(nacl.signing.SigningKey(private_key(name), encoder=nacl.encoding.Base64Encoder).verify_key)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode('ascii')}"
    loaded = serialization.load_pem_private_key(private_key(name), password=None)
    public = loaded.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode('ascii')}"


def sign(message: bytes, at: int, step: dict[str, Any]) -> bytes:
    """The message with a DKIM-Signature on top. `at` is the value of t=, Unix seconds."""
    # dkimpy asks the wall clock for t=; it gets ours, and only dkimpy: the time module itself stays as it is.
    dkim.time = SimpleNamespace(time=lambda: at)
    key = step.get("key", "sender-rsa.pem")
    signature = dkim.sign(
        message,
        selector=step["selector"].encode("ascii"),
        domain=step["domain"].encode("ascii"),
        privkey=private_key(key),
        canonicalize=tuple(step.get("canonicalize", "relaxed/relaxed").encode("ascii").split(b"/")),
        signature_algorithm=b"ed25519-sha256" if key.endswith(".key") else b"rsa-sha256",
    )
    return bytes(signature) + message


def seal(message: bytes, at: int, step: dict[str, Any]) -> bytes:
    """The message with one more ARC set on top (RFC 8617 §5.1), over the Authentication-Results of `authserv_id`."""
    fields = dkim.arc_sign(
        message,
        selector=step["selector"].encode("ascii"),
        domain=step["domain"].encode("ascii"),
        privkey=private_key(step.get("key", "relay-rsa.pem")),
        srv_id=step["authserv_id"].encode("ascii"),
        timestamp=at,
    )
    if not fields:
        raise SystemExit(f"no Authentication-Results of {step['authserv_id']} to seal")
    return b"".join(fields) + message


def prepend(message: bytes, _at: int, step: dict[str, Any]) -> bytes:
    """The message with header fields of a host on its way on top."""
    return crlf(step["fields"].rstrip("\n").encode("utf-8") + b"\n") + message


def replace(message: bytes, _at: int, step: dict[str, Any]) -> bytes:
    """The message with one piece of text exchanged: what a list or a gateway does to a signed message."""
    old, new = crlf(step["old"].encode("utf-8")), crlf(step["new"].encode("utf-8"))
    if message.count(old) != 1:
        raise SystemExit(f"{step['old']!r} occurs {message.count(old)} times, not once")
    return message.replace(old, new)


def append(message: bytes, _at: int, step: dict[str, Any]) -> bytes:
    """The message with lines added below its body: a list's footer."""
    return message + crlf(step["text"].encode("utf-8"))


STEPS: dict[str, Callable[[bytes, int, dict[str, Any]], bytes]] = {
    "sign": sign,
    "seal": seal,
    "prepend": prepend,
    "replace": replace,
    "append": append,
}


def read_draft(path: Path) -> Draft:
    """The draft in `path`. Ends the program on a Date whose weekday is wrong or that is not near `now`."""
    side_file, journey, text = path.read_text(encoding="utf-8").split("\n---\n", 2)
    envelope, plan = yaml.safe_load(side_file), yaml.safe_load(journey) or {}
    now = datetime.fromisoformat(envelope["now"])
    octets = PLACEHOLDER.sub(lambda found: PARTS[found[1].decode("ascii")](), text.encode(plan.get("charset", "utf-8")))
    message = crlf(octets)
    date = re.search(rb"^Date: (.+)\r$", message, re.MULTILINE)
    if date is None:
        raise SystemExit(f"{path.name}: no Date")
    written = date[1].decode("ascii")
    sent = parsedate_to_datetime(written)
    if WEEKDAYS[sent.weekday()] != written[:3] or not timedelta(0) <= now - sent <= timedelta(days=2):
        raise SystemExit(f"{path.name}: {written} is not a date shortly before {now}")
    return Draft(name=path.stem, side_file=side_file + "\n", sent=sent, steps=plan.get("steps", []), message=message)


def finish(draft: Draft) -> bytes:
    """The message as the last host on its way hands it to us."""
    message, sent = draft.message, int(draft.sent.timestamp())
    for step in draft.steps:
        message = STEPS[step["do"]](message, sent + step.get("after", 1), step)
    return message


def make(into: Path) -> int:
    """Writes `messages/` and `dns/` below `into`; returns how many messages there are."""
    messages, zones = into / "messages", into / "dns"
    for directory in (messages, zones):
        directory.mkdir(parents=True, exist_ok=True)
    drafts = [read_draft(path) for path in sorted(DRAFTS.glob("*.txt"))]
    for draft in drafts:
        (messages / f"{draft.name}.eml").write_bytes(finish(draft))
        (messages / f"{draft.name}.eml.yaml").write_text(draft.side_file, encoding="utf-8", newline="\n")
    zone = (DRAFTS / "zone.yaml").read_text(encoding="utf-8")
    for key in sorted(path.name for path in KEYS.iterdir() if path.suffix in {".pem", ".key"}):
        zone = zone.replace(f"{{{{{key}}}}}", key_record(key))
    (zones / "zone.yaml").write_text(zone, encoding="utf-8", newline="\n")
    return len(drafts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make samples/messages and samples/dns again.")
    parser.add_argument("--into", type=Path, default=ROOT / "samples", help="directory that gets messages/ and dns/")
    into = parser.parse_args().into
    print(f"{make(into)} messages in {into / 'messages'}")


if __name__ == "__main__":
    main()
