"""What docs/known-issues.md calls known is still so. A test that fails here is good news: take the line out of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from console import ROOT

from gatepost.cli import COMMANDS, main
from rules.load import load_text
from rules.schema_actions import ACTIONS, AVAILABLE

PAGE = " ".join((ROOT / "docs" / "known-issues.md").read_text().split())
README = " ".join((ROOT / "README.md").read_text().split())


def said(*phrases: str) -> None:
    for phrase in phrases:
        assert phrase in PAGE, f"known-issues.md no longer says: {phrase}"


def test_the_same_actions_of_ses_are_missing() -> None:
    missing = {schema.ses for name, schema in ACTIONS.items() if name not in AVAILABLE}
    assert missing == {"WorkmailAction", "ConnectAction"}
    said("WorkMail and Connect actions run only as the local target")
    assert "Connect actions" in README


@pytest.mark.parametrize("subscriber", ["{email: me@example.com}", "{url: 'mailto:me@example.com'}", "{lambda: x}"])
def test_a_subscriber_is_an_endpoint_or_a_queue(subscriber: str) -> None:
    said("A topic's subscribers are HTTP and HTTPS endpoints and SQS queues")
    text = f"topics: {{t: {{subscribers: [{subscriber}]}}}}\nrule_sets: {{a: []}}"
    assert load_text(text.encode(), "rules.yaml", ROOT).errors


def test_help_lists_neither_starttls_nor_bdat() -> None:
    said("HELP does not list STARTTLS and BDAT.")
    dialogue = (ROOT / "tests" / "dialogues" / "a20-banner-and-help.txt").read_text()  # tests/smtp plays it
    (answer,) = re.findall(r"^<- 250 2.0.0 Supported commands: (.*)$", dialogue, re.MULTILINE)
    assert not {"STARTTLS", "BDAT"} & set(answer.split())


def test_wait_wants_whole_ids(tmp_path: Path) -> None:
    said("`gatepost wait` wants whole ids.")
    with pytest.raises(SystemExit) as left:
        main(["wait", "06gvsgk5r808", "--data", str(tmp_path)])
    assert left.value.code == 2


def test_there_is_no_command_that_sends_or_tests() -> None:
    said("No mail is sent but bounce messages")
    assert not {"send", "test", "backtest", "doctor"} & set(COMMANDS)
