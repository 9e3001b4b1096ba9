"""What docs/known-issues.md calls known is still so. A test that fails here is good news: take the line out of the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from console import ROOT

from gatepost.cli import COMMANDS, main
from gatepost.settings import Settings
from gatepost.wire import effects_of, now
from rules.schema_actions import ACTIONS, AVAILABLE, COMMON

PAGE = " ".join((ROOT / "docs" / "known-issues.md").read_text().split())
README = " ".join((ROOT / "README.md").read_text().split())


def said(*phrases: str) -> None:
    for phrase in phrases:
        assert phrase in PAGE, f"known-issues.md no longer says: {phrase}"


def test_the_same_actions_of_ses_are_missing() -> None:
    missing = {schema.ses for name, schema in ACTIONS.items() if name not in AVAILABLE}
    assert missing == {"S3Action", "SNSAction", "WorkmailAction", "ConnectAction"}
    said("S3, SNS, WorkMail and Connect actions do not run.")
    assert "S3, SNS, WorkMail and Connect actions" in README


def test_nothing_encrypts_what_is_stored() -> None:
    said("There is no key store")
    assert effects_of(Settings(), now).ports.encryption is None


def test_on_failure_of_an_action_is_read_for_nothing() -> None:
    said("`on_failure` in an action is accepted and has no effect.")
    assert "on_failure" in COMMON
    assert 'parameters.get("on_failure")' not in "".join(path.read_text() for path in (ROOT / "rules").glob("*.py"))


def test_wait_wants_whole_ids(tmp_path: Path) -> None:
    said("`gatepost wait` wants whole ids.")
    with pytest.raises(SystemExit) as left:
        main(["wait", "06gvsgk5r808", "--data", str(tmp_path)])
    assert left.value.code == 2


def test_there_is_no_command_that_sends_or_tests() -> None:
    assert not {"send", "test", "backtest", "quarantine", "doctor"} & set(COMMANDS)
