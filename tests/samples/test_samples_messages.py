"""The sample messages give the verdicts that their side files promise, by stock dkimpy and pyspf over the sample zone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import dkim
import pytest
import spf
import yaml

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
MESSAGES = sorted((SAMPLES / "messages").glob("*.eml"))
RULES = sorted((SAMPLES / "rules").glob("*.yaml"))
ZONE: dict[str, Any] = yaml.safe_load((SAMPLES / "dns" / "zone.yaml").read_text(encoding="utf-8"))
RECORD_TYPES = {"TXT", "A", "AAAA", "MX", "CNAME", "PTR"}
ACTIONS = {"add_header", "disk", "webhook", "lambda", "bounce", "drop", "stop"}

# message: SPF result, result of each DKIM signature from the top, ARC result
EXPECTED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "auto-reply": ("pass", ("pass",), "none"),
    "bounce": ("pass", (), "none"),
    "deep-mime": ("pass", ("pass",), "none"),
    "dns-trouble": ("temperror", ("temperror",), "none"),
    "double-signed": ("pass", ("pass", "pass"), "none"),
    "eight-bit": ("pass", ("pass",), "none"),
    "empty-body": ("pass", ("pass",), "none"),
    "forged-fields": ("pass", ("pass",), "none"),
    "forwarded-arc": ("fail", ("fail",), "pass"),
    "gtube": ("pass", (), "none"),
    "huge-header": ("pass", ("pass",), "none"),
    "invitation": ("pass", ("pass",), "none"),
    "invoice": ("pass", ("pass",), "none"),
    "large-attachment": ("pass", ("pass",), "none"),
    "list-broken-dkim": ("pass", ("fail",), "none"),
    "list-resigned": ("pass", ("pass", "fail"), "none"),
    "long-line": ("pass", ("pass",), "none"),
    "mail-loop": ("fail", (), "none"),
    "marked-spam": ("softfail", (), "none"),
    "newsletter": ("pass", ("pass", "pass"), "none"),
    "no-dmarc": ("pass", (), "none"),
    "null-sender": ("pass", ("pass",), "none"),
    "personal": ("pass", ("pass",), "none"),
    "phish-dmarc-fail": ("pass", (), "none"),
    "smtputf8": ("pass", ("pass",), "none"),
    "softfail": ("softfail", (), "none"),
    "ticket-reply": ("pass", ("pass",), "none"),
    "utf8-headers": ("pass", ("pass",), "none"),
    "winmail": ("pass", (), "none"),
}


def side_file(message: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(message.with_name(message.name + ".yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def sample(name: str) -> bytes:
    return (SAMPLES / "messages" / f"{name}.eml").read_bytes()


class ZoneFailure(Exception):
    """The zone says that this name cannot be looked up."""


def records(name: str, record_type: str) -> list[tuple[str, str, Any]]:
    """(owner, type, value) as a resolver answers: a CNAME, then what stands at its end."""
    owner = name.rstrip(".").lower()
    entry = ZONE.get(owner, {})
    if isinstance(entry, str):
        raise ZoneFailure(f"{owner}: {entry}")
    if "CNAME" in entry and record_type != "CNAME":
        return [(name, "CNAME", entry["CNAME"][0]), *records(entry["CNAME"][0], record_type)]
    return [(name, record_type, value) for value in entry.get(record_type, [])]


def key_text(name: bytes, timeout: int = 5) -> bytes | None:
    try:
        found = [value for _, kind, value in records(name.decode("ascii"), "TXT") if kind == "TXT"]
    except ZoneFailure as failure:
        raise dkim.DnsTimeoutError(str(failure)) from failure
    return found[0].encode("ascii") if found else None


def spf_answers(name: str, record_type: str, tcpfallback: bool = True, timeout: int = 30) -> list[Any]:
    try:
        found = records(name, record_type)
    except ZoneFailure as failure:
        raise spf.TempError(str(failure)) from failure
    shaped = {"TXT": lambda value: (value.encode("ascii"),), "MX": tuple}
    return [((owner, kind), shaped.get(kind, str)(value)) for owner, kind, value in found]


def dkim_results(message: bytes) -> tuple[str, ...]:
    count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.DKIM(message).headers)
    return tuple(dkim_result(message, index) for index in range(count))


def dkim_result(message: bytes, index: int) -> str:
    """dkimpy answers False for a key that cannot be fetched; the key lookup seen from here tells the two apart."""
    failures = []

    def fetch(name: bytes, timeout: int = 5) -> bytes | None:
        try:
            return key_text(name)
        except dkim.DnsTimeoutError:
            failures.append(name)
            raise

    try:
        passed = dkim.DKIM(message).verify(idx=index, dnsfunc=fetch)
    except dkim.ValidationError:
        passed = False
    return "pass" if passed else "temperror" if failures else "fail"


def as_a_labels(mail_from: str) -> str:
    local_part, _, domain = mail_from.rpartition("@")
    return f"{local_part}@{domain.encode('idna').decode('ascii')}"


def test_every_sample_has_an_expectation_and_there_are_enough_of_them() -> None:
    assert {message.stem for message in MESSAGES} == set(EXPECTED)
    assert len(MESSAGES) >= 22


@pytest.mark.parametrize("message", MESSAGES, ids=lambda path: path.stem)
def test_stock_libraries_give_the_promised_results(message: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spf, "DNSLookup", spf_answers)
    side, octets = side_file(message), message.read_bytes()
    reverse_path = as_a_labels(side["mail_from"]) if side["mail_from"] else ""
    spf_result = spf.check2(side["client_ip"], reverse_path, side["helo"])[0]
    arc_result = dkim.arc_verify(octets, dnsfunc=key_text)[0].decode("ascii")
    assert (spf_result, dkim_results(octets), arc_result) == EXPECTED[message.stem]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda path: path.stem)
def test_every_line_ends_with_crlf(message: Path) -> None:
    octets = message.read_bytes()
    assert octets.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", octets)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda path: path.stem)
def test_side_file_says_what_the_mail_is_for_and_how_it_came(message: Path) -> None:
    text = message.with_name(message.name + ".yaml").read_text(encoding="utf-8")
    side = side_file(message)
    assert text.startswith("# ")
    assert set(side) == {"mail_from", "rcpt_to", "client_ip", "helo", "now"}
    assert all(recipient.endswith("@example.com") for recipient in side["rcpt_to"])


def test_generator_makes_the_committed_bytes_again(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "tools" / "make_samples.py"), "--into", str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = [path for part in ("messages", "dns") for path in (SAMPLES / part).iterdir()]
    assert made == {path.relative_to(SAMPLES): path.read_bytes() for path in kept}


def test_zone_has_only_known_record_types_and_names_that_nobody_owns() -> None:
    for name, entry in ZONE.items():
        assert entry in ("SERVFAIL", "TIMEOUT") or set(entry) <= RECORD_TYPES, name
        assert re.search(r"(^|\.)(example|example\.(com|org|net)|in-addr\.arpa|ip6\.arpa)$", name), name


def test_every_client_that_resolves_has_a_confirmed_reverse_name() -> None:
    for name, entry in ZONE.items():
        if isinstance(entry, dict) and "PTR" in entry:
            forward = ZONE[entry["PTR"][0]]
            assert "A" in forward or "AAAA" in forward, name


def test_invoice_carries_a_pdf_whose_cross_references_are_exact() -> None:
    attachment = next(message_from_bytes(sample("invoice"), policy=policy.default).iter_attachments())
    pdf = attachment.get_content()
    table = int(pdf[pdf.rindex(b"startxref") :].split()[1])
    assert pdf.startswith(b"%PDF-1.4")
    assert pdf[table : table + 4] == b"xref"
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n ", pdf), start=1):
        assert pdf[int(offset) :].startswith(b"%d 0 obj" % number)


def test_samples_have_the_extremes_they_are_named_for() -> None:
    assert len(sample("huge-header").split(b"\r\n\r\n")[0]) > 10 * 1024
    assert max(map(len, sample("long-line").split(b"\r\n"))) > 998
    assert 190_000 < len(sample("large-attachment")) < 250_000
    assert sample("empty-body").endswith(b"\r\n\r\n")
    assert not sample("eight-bit").isascii()
    with pytest.raises(UnicodeDecodeError):
        sample("eight-bit").decode("utf-8")
    assert "bœuf" in sample("smtputf8").split(b"\r\n\r\n")[0].decode("utf-8")
    winmail = list(message_from_bytes(sample("winmail"), policy=policy.default).iter_attachments())[-1]
    assert winmail.get_content().startswith(b"\x78\x9f\x3e\x22")


def test_forged_fields_stand_beside_one_that_must_stay() -> None:
    header = sample("forged-fields").split(b"\r\n\r\n")[0].lower()
    assert header.count(b"\r\nauthentication-results:") == 3
    assert b"\r\nauthentication-results: mail.tennis.example;" in header
    assert all(name in header for name in (b"x-ses-spam-verdict:", b"x-ses-virus-verdict:", b"x-ses-receipt:"))


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.stem)
def test_rules_use_the_actions_that_exist_and_say_how_to_try_them(rules: Path) -> None:
    text = rules.read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    tried = re.search(r"^# Try it: +gatepost replay (\S+) --rules (\S+) --dns (\S+)", text, re.MULTILINE)
    assert text.startswith("# ")
    assert tried is not None
    assert all((ROOT / path).is_file() for path in tried.groups())
    assert tried[2] == rules.relative_to(ROOT).as_posix()
    for rule in loaded["rule_sets"][loaded["active"]]:
        names = [name for action in rule["actions"] for name in action]
        assert set(names) <= ACTIONS
        assert "stop" not in names[:-1], "SES refuses a stop that is not last"
        assert all(
            not action["path"].startswith(("/", "."))
            for step in rule["actions"]
            for action in [step.get("disk")]
            if action
        )


def test_every_function_that_a_rule_names_is_there() -> None:
    named = {match for rules in RULES for match in re.findall(r"python:(\w+):handler", rules.read_text("utf-8"))}
    assert named == {path.stem for path in (SAMPLES / "functions").glob("*.py")}


def test_ses_rules_have_the_shape_of_the_aws_command_line() -> None:
    loaded = json.loads((SAMPLES / "ses" / "rules.json").read_text(encoding="utf-8"))
    assert set(loaded) == {"Metadata", "Rules"}
    kinds = {kind for rule in loaded["Rules"] for action in rule["Actions"] for kind in action}
    assert kinds == {"S3Action", "SNSAction", "LambdaAction", "BounceAction", "AddHeaderAction", "StopAction"}
    for rule in loaded["Rules"]:
        assert set(rule) == {"Name", "Enabled", "TlsPolicy", "Recipients", "Actions", "ScanEnabled"}
        assert rule["Recipients"] == sorted(rule["Recipients"])
