"""Log lines: ids as fields, one entry whatever a stranger wrote, no secret, and no address where the settings say so."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gatepost.live import entry_of, printer, speaker
from gatepost.log_lines import SECRET_SETTINGS, configure_logging, json_line, redactor
from gatepost.settings import Settings, table
from inbound.event import Event
from mail.reply import NO_SUCH_MAILBOX
from mail.values import changed

ROOT = Path(__file__).resolve().parent.parent.parent
ID = "06gvskgru803v38gqbvqqdv1ohpuvksahtks0v01"
EVENT = Event(
    at=datetime(2026, 11, 21, 12, 0, 41, 250_000, tzinfo=UTC),
    session="00ff00ff00ff00ff",
    client_ip="192.0.2.1",
    mail_from="mallory@evil.example",
    rcpt_to=("victor@example.com",),
    phase="rcpt",
    outcome="refused",
    reply=NO_SUCH_MAILBOX,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "var")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


def logged(settings: Settings, text: str, *values: object, error: BaseException | None = None) -> str:
    """What one entry looks like."""
    stream = io.StringIO()
    configure_logging(settings, stream)
    logging.getLogger("gatepost.test").error(text, *values, exc_info=error)
    return stream.getvalue()


def test_json_has_the_ids_that_a_line_names_as_fields(settings: Settings) -> None:
    line = logged(replace(settings, log_format="json"), "session %s: parked %s", "00ff00ff00ff00ff", f"{ID}/0/rule/1")
    entry = json.loads(line)
    assert entry["session"] == "00ff00ff00ff00ff"
    assert entry["message"] == ID
    assert entry["level"] == "error"
    assert entry["logger"] == "gatepost.test"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["at"])


def test_an_id_that_only_the_trace_names_is_a_field_too(settings: Settings) -> None:
    error = ValueError("broken")
    error.add_note("session 00ff00ff00ff00ff")
    entry = json.loads(logged(replace(settings, log_format="json"), "it failed", error=error))
    assert entry["session"] == "00ff00ff00ff00ff"
    assert "ValueError: broken" in entry["trace"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobody_forges_an_entry(settings: Settings, form: str) -> None:
    forged = "x\n2026-11-21 12:00:00,000 CRITICAL gatepost: all is lost\r\x0b\u2028 2026"
    text = logged(replace(settings, log_format=form), "it said %s", forged, error=ValueError(forged))
    lines = text.splitlines()
    if form == "json":
        assert len(lines) == 1
        json.loads(lines[0])
    else:
        assert not lines[0].startswith(" ")
        assert all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_terminal_acts_on_what_is_logged(settings: Settings, form: str) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\udcff\x7f"
    text = logged(replace(settings, log_format=form), "it said %s", hostile, error=ValueError(hostile))
    assert all(character.isprintable() for line in text.splitlines() for character in line)
    assert "owned" in text


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_of_the_settings_is_never_logged(settings: Settings, form: str) -> None:
    told = replace(settings, log_format=form, relay_password="hunter2!", srs_secret="s3cr3t")
    text = logged(told, "AUTH PLAIN hunter2! refused", error=ValueError("with s3cr3t"))
    assert "hunter2!" not in text
    assert "s3cr3t" not in text
    assert "***" in text


def test_every_setting_that_is_secret_is_known_as_one() -> None:
    suspects = {row.attribute for row in table() if re.search(r"passw|secret|token|credential", row.name)}
    assert suspects == set(SECRET_SETTINGS)


ADDRESSES = [
    ("to ana@example.com now", "example.com"),
    ('to "a b"@example.com', "example.com"),
    ("<ana+tag@sub.example.com>", "sub.example.com"),
    ("álvaro@münchen.example", "münchen.example"),
    ("ana@[192.0.2.1]", "[192.0.2.1]"),
    ("o'lvaro@example.com", "example.com"),
]


@pytest.mark.parametrize(("text", "domain"), ADDRESSES)
def test_redaction_leaves_the_domain_and_a_word_for_the_local_part(settings: Settings, text: str, domain: str) -> None:
    redact = redactor(replace(settings, log_redact="addresses"))
    masked = redact(text)
    assert re.search(rf"~[0-9a-f]{{10}}@{re.escape(domain)}", masked)
    for local in ("ana", "a b", "lvaro", "tag"):
        assert local not in masked.replace(domain, "")


def test_the_same_address_is_the_same_word_and_another_is_another(settings: Settings) -> None:
    told = replace(settings, log_redact="addresses")
    first, again, other = (redactor(told)(f"{name}@example.com") for name in ("ana", "ana", "bob"))
    assert first == again, "after a restart too: the key is kept"
    assert first != other
    elsewhere = redactor(replace(told, data=settings.data / "other"))
    assert elsewhere("ana@example.com") != first, "another installation has another key"
    assert (settings.data / "log-key").stat().st_mode & 0o777 == 0o600


def test_without_redaction_addresses_stay_and_no_key_is_made(settings: Settings) -> None:
    assert redactor(settings)("ana@example.com") == "ana@example.com"
    assert not settings.data.exists()


def test_a_long_text_without_an_address_is_read_in_no_time(settings: Settings) -> None:
    redact = redactor(replace(settings, log_redact="addresses"))
    hostile = "a" * 200_000 + "@" + '"' * 2000 + "\\" * 2000
    assert len(redact(hostile)) <= len(hostile)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_line_of_a_transaction_is_in_the_form_of_the_log(
    settings: Settings, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printer(replace(settings, log_format=form, log_redact="addresses"))(EVENT)
    line = capsys.readouterr().out
    assert "mallory" not in line
    assert "victor" not in line
    assert "@evil.example" in line
    if form == "json":
        entry = json.loads(line)
        assert entry["session"] == "00ff00ff00ff00ff"
        assert entry["outcome"] == "refused"
        assert entry["reply"].startswith("550 5.1.1")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("local", ["mallory\u202eb", '"mallory b"', '"mallory\\"b"', "mallory\u00a0b", "o'mallory"])
def test_no_spelling_of_an_address_gets_past_redaction_or_breaks_its_line(
    settings: Settings, form: str, local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = changed(EVENT, mail_from=f"{local}@evil.example", rcpt_to=(f"{local}@example.com",))
    printer(replace(settings, log_format=form, log_redact="addresses"))(hostile)
    line = capsys.readouterr().out
    assert "mallory" not in line
    word = re.search(r"(~[0-9a-f]{10})@evil\.example", line)
    assert word is not None
    assert f"{word[1]}@example.com" in line
    if form == "json":
        assert json.loads(line)["mail_from"] == f"{word[1]}@evil.example"


def test_a_transaction_without_a_message_has_its_fields_all_the_same() -> None:
    entry = entry_of(EVENT)
    assert entry["message"] is None
    assert entry["verdicts"] == {}
    assert entry["rules"] == []


def test_what_is_no_text_is_shown_as_its_escape() -> None:
    assert json.loads(json_line({"text": "bad \udcff octet"}))["text"] == "bad \\udcff octet"


def test_no_log_call_formats_before_it_is_asked() -> None:
    """Below the level nothing may be worked out: `log.debug("%s", x)`, never an f-string."""
    eager = []
    for package in ("verdicts", "smtp", "spool", "actions", "inbound", "gatepost"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if _is_log_call(node) and not isinstance(node.args[0], ast.Constant):
                    eager.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert eager == []


def _is_log_call(node: Any) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return False
    owner = getattr(node.func.value, "id", "")
    return owner in ("log", "_log") and node.func.attr in ("debug", "info", "warning", "error", "critical", "exception")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_serve_says_of_itself_is_in_the_form_of_the_log(
    settings: Settings, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    speaker(replace(settings, log_format=form))("gatepost stopped")
    line = capsys.readouterr().out
    if form == "json":
        assert json.loads(line)["text"] == "gatepost stopped"
    else:
        assert line == "gatepost stopped\n"
