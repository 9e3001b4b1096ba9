"""Tag lists are read by one pattern; what it finds is what RFC 6376 §3.2 says, part by part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import Malformed
from verdicts.tag_list import WHITE_SPACE, parse_tags


def by_the_letter(text: str) -> dict[str, str] | None:
    parts = text.split(";")
    if not parts[-1].strip(WHITE_SPACE):
        parts.pop()
    tags: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip(WHITE_SPACE)
        is_name = name[:1].isalpha() and name.isascii() and name.replace("_", "a").isalnum()
        if not equals or not is_name or name in tags:
            return None
        tags[name] = value.strip(WHITE_SPACE)
    return tags


PIECES = st.sampled_from(["a", "b1", "_", "=", "=", ";", ";", " ", "\r\n ", "\t", "1", "é", "x_y", "\v", "-", "\n", ""])


@given(st.lists(PIECES, max_size=20).map("".join))
def test_the_pattern_reads_what_the_grammar_says(text: str) -> None:
    expected = by_the_letter(text)
    if expected is None:
        with pytest.raises(Malformed):
            parse_tags(text)
    else:
        found = parse_tags(text)
        assert list(found.items()) == list(expected.items())


def test_a_tag_that_is_given_twice_is_named() -> None:
    with pytest.raises(Malformed, match="tag b= given twice"):
        parse_tags("a=1; b=2; b=3")
