"""What every test may rely on: real engines by marker, hypothesis by profile, and how hard to try.

`engine(name)`: the test runs a real program that `make engines` installs. Without it the test is skipped and counted at the end;
with REQUIRE_ENGINES=1 (CI) any skip of such a test is a failure, whoever asked for it.

`TORTURE` (1..100, default 5): how many kills, rounds or random cases the tests that take the fixture `torture` go through. Up
to 5 the random cases are the same at each run; above, hypothesis searches anew, and longer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["pytester"]
# Where AWS credentials are looked for, an instance's metadata service is not asked: it would be waited for.
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

# The program that shows that the engine is there.
ENGINES = {
    "swaks": "swaks",
    "openssl": "openssl",
    "dovecot": "dovecot",
    "postfix": "postfix",
    "clamd": "clamd",
    "rspamd": "rspamd",
    "spamd": "spamd",
    "s3-encryption-client": str(Path(__file__).parent.parent / ".cache/interop/bin/python"),  # make interop
    "powertools": str(Path(__file__).parent.parent / ".cache/interop/bin/python"),
}
DEFAULT_TORTURE = 5


def torture_level() -> int:
    """TORTURE as a number. Raises `UsageError` outside 1..100."""
    text = os.environ.get("TORTURE", "") or str(DEFAULT_TORTURE)
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise pytest.UsageError(f"TORTURE is {text!r}; expected a number from 1 to 100")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Choose hypothesis's profile before any test is imported."""
    level = torture_level()
    settings.register_profile("ci", derandomize=True, deadline=None)
    settings.register_profile("torture", max_examples=20 * level, deadline=None)
    default = "ci" if level <= DEFAULT_TORTURE else "torture"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "") or default)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose engine is not on this machine."""
    for marker in item.iter_markers("engine"):
        name = marker.args[0] if marker.args else ""
        if name not in ENGINES:
            pytest.fail(f"engine({name!r}) is not one of {', '.join(ENGINES)} (tests/conftest.py, tools/engines.sh)")
        # Debian keeps daemons out of a user's path.
        if shutil.which(ENGINES[name], path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            pytest.skip(f"engine {name} is not installed; run: make engines interop")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count skipped engine tests, and where engines are required make a failure of each."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("engine"):
        report.user_properties.append(("engine_skipped", True))
        if os.environ.get("REQUIRE_ENGINES") == "1":
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: skipped, but REQUIRE_ENGINES=1: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of real engines did not run."""
    reports = [report for kind in ("skipped", "failed", "error") for report in terminalreporter.stats.get(kind, [])]
    count = sum(("engine_skipped", True) in map(tuple, getattr(report, "user_properties", [])) for report in reports)
    terminalreporter.write_line(f"engine tests skipped: {count}")


@pytest.fixture(scope="session")
def torture() -> int:
    """How hard to try: 1 to 100, by the variable TORTURE."""
    return torture_level()
