"""The marker `engine(name)` and the variables TORTURE and REQUIRE_ENGINES do what tests/conftest.py says."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = (Path(__file__).parent.parent / "conftest.py").read_text()
NEEDS_SWAKS = "import pytest\n@pytest.mark.engine('swaks')\ndef test_it(): pass\n"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty suite under our conftest, on a machine without any engine."""
    pytester.makeconftest(CONFTEST.replace('pytest_plugins = ["pytester"]', ""))
    pytester.makeini("[pytest]\nmarkers =\n    engine(name): needs an engine\n")
    for variable in ("REQUIRE_ENGINES", "TORTURE", "HYPOTHESIS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(pytester.mkdir("empty")))
    return pytester


def run(suite: pytest.Pytester) -> pytest.RunResult:
    """Run in a process of its own: profiles of hypothesis are global."""
    return suite.runpytest_subprocess("-q")


def test_a_missing_engine_skips_and_is_counted(suite: pytest.Pytester) -> None:
    suite.makepyfile(NEEDS_SWAKS)
    result = run(suite)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["engine tests skipped: 1"])


def test_a_missing_engine_fails_where_engines_are_required(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_ENGINES", "1")
    suite.makepyfile(NEEDS_SWAKS)
    result = run(suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*skipped, but REQUIRE_ENGINES=1*", "engine tests skipped: 1"])


def test_a_skip_inside_an_engine_test_is_no_way_around(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_ENGINES", "1")
    suite.makefile("", **{"empty/swaks": ""})
    (suite.path / "empty" / "swaks").chmod(0o755)
    suite.makepyfile(NEEDS_SWAKS.replace("pass", "pytest.skip('not today')"))
    assert run(suite).ret == pytest.ExitCode.TESTS_FAILED


def test_an_engine_nobody_installs_is_an_error(suite: pytest.Pytester) -> None:
    suite.makepyfile(NEEDS_SWAKS.replace("swaks", "sendmail"))
    assert run(suite).ret == pytest.ExitCode.TESTS_FAILED


def test_without_engine_tests_the_count_is_zero(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_it(torture): assert torture == 5\n")
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["engine tests skipped: 0"])


@pytest.mark.parametrize("level", ["0", "101", "many"])
def test_torture_outside_its_bounds_is_refused(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setenv("TORTURE", level)
    suite.makepyfile("def test_it(): pass\n")
    assert run(suite).ret == pytest.ExitCode.USAGE_ERROR
