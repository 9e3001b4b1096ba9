import pytest

from mail.errors import Malformed
from rules import patterns


def test_pattern_is_found_anywhere_and_without_regard_to_case() -> None:
    assert patterns.compile_pattern("b+c")("xxABBCxx")
    assert patterns.compile_pattern("m.rz")("Im MÄRZ")
    assert not patterns.compile_pattern("^b")("ab")
    assert patterns.compile_pattern("x")("\udc80x")  # a lone surrogate is no reason to fail


def test_wrong_pattern_is_told_in_re2s_words() -> None:
    assert patterns.pattern_error("(a") == "missing ): (a"
    assert patterns.pattern_error(r"(a)\1") is not None  # no backreferences
    assert patterns.pattern_error("a*") is None


def test_pattern_that_would_eat_the_memory_is_refused() -> None:
    assert patterns.pattern_error(r"((\pL{1,100}){1,100}){1,10}") is not None


def test_hostile_text_takes_linear_time() -> None:
    assert not patterns.compile_pattern("(a*)*b$")("a" * 200_000)


def test_without_google_re2_patterns_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "re2", None)
    with pytest.raises(Malformed, match="google-re2 is not installed"):
        patterns.compile_pattern("a")
    assert patterns.pattern_error("a") == patterns.MISSING
