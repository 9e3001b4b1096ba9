"""Message ids have SES's form and sort by time."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import Malformed
from mail.ids import is_message_id, message_id, message_id_of_file, received_at_of, shard_of

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@given(TIMES, st.integers(0, 255), st.binary(min_size=17, max_size=17))
def test_an_id_has_ses_s_form_and_tells_shard_and_time(when, shard, entropy):
    made = message_id(when, shard, entropy)
    assert is_message_id(made)
    assert len(made) == 40
    assert made[-2:] in ("01", "81", "g1", "o1")
    assert shard_of(made) == shard
    assert when - received_at_of(made) < timedelta(milliseconds=1)


@given(TIMES, st.integers(0, 255), st.binary(min_size=17, max_size=17))
def test_an_id_is_the_standard_library_s_base32hex(when, shard, entropy):
    milliseconds = int(when.timestamp() * 1000).to_bytes(6, "big")
    packed = milliseconds + bytes((shard,)) + entropy + b"\x01"
    assert (
        message_id(received_at_of(message_id(when, shard, entropy)), shard, entropy)[10:]
        == (base64.b32hexencode(packed).decode().lower()[10:])
    )


@given(TIMES, st.integers(1, 10**9), st.binary(min_size=17, max_size=17), st.binary(min_size=17, max_size=17))
def test_a_later_id_sorts_later(when, milliseconds, first, second):
    assert message_id(when, 0, first) < message_id(when + timedelta(milliseconds=milliseconds), 0, second)


def test_a_file_s_id_follows_from_bytes_and_envelope():
    first = message_id_of_file(b"a", "x")
    assert is_message_id(first)
    assert shard_of(first) == 255
    assert first == message_id_of_file(b"a", "x")
    assert (
        len({first, message_id_of_file(b"b", "x"), message_id_of_file(b"a", "y"), message_id_of_file(b"", "ax")}) == 4
    )


@pytest.mark.parametrize("text", ["", "x" * 40, "0" * 40, "0" * 39 + "1x", "0" * 38 + "1", "A" * 39 + "1"])
def test_anything_else_is_no_id(text):
    assert not is_message_id(text)
    with pytest.raises(Malformed):
        shard_of(text)
