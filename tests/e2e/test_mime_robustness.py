"""Every message of four MIME suites over SMTP to the real server: odd, broken and hostile mail is stored as it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from gateway_process import ROOT, Start

from mail.crlf import has_bare_newline, normalise
from spool.reader import open_reader

VECTORS = ROOT / "tests" / "vectors"
SUITES = {"mime-cpython": 48, "mime-mime4j": 32, "mime-ruby": 52, "mime-stalwart": 33}

# Each condition that reads MIME is asked, so that every part of every message is looked at.
RULES = """\
version: 1
rule_sets:
  default:
    - name: looks-at-everything
      when:
        - any:
            - attachment: {name: "*.never", type: "x/never", size: {gt: 1GB}}
            - {line_too_long: true}
            - {auto_generated: true}
            - {mailing_list: true}
            - {encrypted: true}
            - {header: {name: X-Never, matches: "^never$"}}
            - {subject: {contains: never}}
            - {from: {ends_with: never}}
            - {to: {contains: never}}
      actions: [disk: {path: odd}]
    - name: inbox
      actions: [add_header: {header_name: X-Seen, header_value: "yes"}, disk: {path: mail}]
"""


def messages(suite: str) -> list[Path]:
    found = (VECTORS / suite).rglob("*")
    return sorted(
        path
        for path in found
        if path.suffix in (".eml", ".msg", ".txt") and path.name not in ("LICENSE.txt", "MIT.txt")
    )


def sent(path: Path) -> bytes:
    """As a client sends the file: line ends that stand alone made CRLF, and one at the end."""
    raw = path.read_bytes()
    raw = normalise(raw) if has_bare_newline(raw) else raw
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def exceptions_of(data: Path) -> list[str]:
    """What the history says of failures of our own."""
    found = []
    for file in data.glob("shards/*/spool.db"):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            found += [line for line in connection.iterdump() if "Traceback" in line]
    return found


def test_every_message_of_the_mime_suites_is_stored_as_it_was_sent(gateway: Start, tmp_path: Path) -> None:
    """One session for all; no exception in any log (the fixture looks at the output), none in the history."""
    zone = tmp_path / "zone.yaml"
    zone.write_text("{}\n")
    process = gateway(rules=RULES, dns=zone)
    stored: dict[str, bytes] = {}
    with process.connected() as wire:
        for suite, count in SUITES.items():
            paths = messages(suite)
            assert len(paths) == count, suite
            for path in paths:
                raw = sent(path)
                parameters = "" if raw.isascii() else " BODY=8BITMIME"
                reply = wire.transaction("a@b.example", ["c@d.example"], raw, parameters)
                assert reply.code == 250, (path, reply)
                assert wire.command("NOOP").code == 250
                stored[reply.text.split()[-1]] = raw
            print(f"{suite}: {len(paths)}/{count} stored")
        assert wire.command("QUIT").code == 221
    process.wait_done(*stored, seconds=60)

    async def differing() -> list[str]:
        reader = open_reader(process.data)
        return [each for each, raw in stored.items() if await reader.body(each) != raw]

    assert asyncio.run(differing()) == []
    stories = list(process.stories(stored))
    assert {story["state"] for story in stories} == {"done"}
    crashed = [
        (story["message_id"], verdict)
        for story in stories
        for verdict in story["verdicts"].items()
        if "crashed" in str(verdict)
    ]
    assert crashed == []
    assert exceptions_of(process.data) == []
    print(f"exceptions: none; {len(stored)} messages in one session, byte for byte")
