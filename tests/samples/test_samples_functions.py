"""The sample functions do what their docstrings say, called as the function host calls them."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def handler(name: str) -> Callable[[dict[str, Any], Any], dict[str, str]]:
    namespace = runpy.run_path(str(SAMPLES / "functions" / f"{name}.py"))
    return namespace["handler"]  # type: ignore[no-any-return]


def context(message: str) -> SimpleNamespace:
    return SimpleNamespace(gatepost=SimpleNamespace(message_path=str(SAMPLES / "messages" / f"{message}.eml")))


def event(*received: str) -> dict[str, Any]:
    mail = {
        "messageId": "s08vnjngg8o82cpus2084722eiate3c6ig885f01",
        "headers": [{"name": "Received", "value": value} for value in received],
        "commonHeaders": {"from": ["ACME Billing <billing@acme.example>"], "subject": "Invoice"},
    }
    return {"Records": [{"ses": {"mail": mail, "receipt": {"dmarcVerdict": {"status": "PASS"}}}}]}


def test_invoice_is_printed_as_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert handler("invoices")(event(), context("invoice")) == {"disposition": "CONTINUE"}
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    line = json.loads(printed)
    assert (line["file"], line["dmarc"]) == ("invoice-2026-0317.pdf", "PASS")
    assert line["octets"] > 900


def test_message_without_a_pdf_stops_the_rule_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    assert handler("invoices")(event(), context("personal")) == {"disposition": "STOP_RULE"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("hops", "disposition"), [(0, "CONTINUE"), (30, "CONTINUE"), (31, "STOP_RULE_SET")])
def test_more_than_thirty_hops_stop_the_rule_set(hops: int, disposition: str) -> None:
    answer = handler("loops")(event(*["by relay.example"] * hops), context("personal"))
    assert answer == {"disposition": disposition}
