"""A gateway with what stands in samples/."""

from __future__ import annotations

import re
from pathlib import Path

from gateway_process import SAMPLES
from webhook_sink import Sink

from mail.crlf import wire_bytes

TOUR = SAMPLES / "rules" / "tour.yaml"
ZONE = SAMPLES / "dns" / "zone.yaml"
MESSAGES = tuple(sorted((SAMPLES / "messages").glob("*.eml")))


def sample_bytes(name: str) -> bytes:
    """A sample as a client sends it."""
    return wire_bytes((SAMPLES / "messages" / name).read_bytes())[0]


def rules_for(directory: Path, sink: Sink, rules: Path = TOUR) -> Path:
    """Rules of samples/, their web application this sink."""
    path = directory / rules.name
    path.write_text(re.sub(r"http://127\.0\.0\.1:8025/\w+", sink.url, rules.read_text()))
    for other in rules.parent.glob("*.txt"):
        (directory / other.name).write_bytes(other.read_bytes())
    return path


def small_settings(directory: Path, **sections: str) -> Path:
    """A settings file as samples/gatepost.yaml, with more lines."""
    path = directory / "settings.yaml"
    lines = ["version: 1", "hostname: mx.example.com", f"functions: {{path: [{SAMPLES / 'functions'}]}}"]
    path.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in sections.items())]) + "\n")
    return path
