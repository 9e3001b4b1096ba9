"""Replies: code and class agree, and text cannot become a second reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail import reply as replies
from mail.errors import Misuse
from mail.reply import Reply, reply_from

TABLE = [value for value in vars(replies).values() if isinstance(value, Reply)]


@pytest.mark.parametrize("reply", TABLE, ids=str)
def test_the_class_digit_follows_from_the_code(reply):
    assert reply.enhanced is None or reply.enhanced.startswith(f"{reply.code // 100}.")


@given(st.integers(200, 599), st.text(), st.lists(st.text(), max_size=3))
def test_a_reply_is_lines_of_printable_ascii_within_512_octets(code, text, lines):
    wire = bytes(Reply(code=code, detail="1.1", text=text, lines=tuple(lines)))
    rows = wire.split(b"\r\n")
    assert rows.pop() == b""
    assert len(rows) == 1 + len(lines)
    assert all(row.isascii() and b"\n" not in row and b"\r" not in row and len(row) <= 510 for row in rows)
    assert [row[3:4] for row in rows] == [b"-"] * len(lines) + [b" "]


def test_configured_codes_must_agree():
    assert str(reply_from("550", "5.1.1", "no")) == "550 5.1.1 no"
    assert str(reply_from(450, None, "later")) == "450 4.0.0 later"
    with pytest.raises(Misuse):
        reply_from("450", "5.1.1", "no")
