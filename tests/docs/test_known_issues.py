"""What docs/known-issues.md calls known is still so. A test that fails here is good news: take the line out of the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from console import ROOT

from gatepost.cli import COMMANDS, main
from inbound.rate_table import create_rate_table
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


def test_rates_count_in_fixed_windows_and_a_restart_forgets_them(tmp_path: Path) -> None:
    said("Rates count in fixed windows", "A restart forgets them.")
    column = create_rate_table(tmp_path / "limits.cells", workers=1).column(0)
    assert [column.add("ip", 59.9, 60), column.add("ip", 60.0, 60)] == [1, 1]
    assert create_rate_table(tmp_path / "limits.cells", workers=1).column(0).count("ip", 59.9, 60) == 0


def test_wait_wants_whole_ids(tmp_path: Path) -> None:
    said("`gatepost wait` wants whole ids.")
    with pytest.raises(SystemExit) as left:
        main(["wait", "06gvsgk5r808", "--data", str(tmp_path)])
    assert left.value.code == 2


def test_there_is_no_command_that_sends_or_tests() -> None:
    said("No mail is sent but bounce messages")
    assert not {"send", "test", "backtest"} & set(COMMANDS)
