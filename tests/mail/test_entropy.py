"""Random bytes come in order from what was drawn, and none comes twice."""

from itertools import count

from mail.entropy import entropy


def test_what_is_taken_is_what_was_drawn_each_byte_once() -> None:
    drawn: list[bytes] = []
    numbers = count()

    def draw(octets: int) -> bytes:
        drawn.append(b"".join((next(numbers) % 2**16).to_bytes(2, "big") for _ in range(octets // 2)))
        return drawn[-1]

    take = entropy(draw)
    pieces = [take(17) for _ in range(1000)]
    assert all(len(piece) == 17 for piece in pieces)
    whole = b"".join(drawn)
    position = -1
    for piece in pieces:
        found = whole.find(piece, position + 1)
        assert found > position
        position = found
    assert len(set(pieces)) == 1000


def test_more_than_a_draw_can_be_asked_for() -> None:
    assert len(entropy(bytes)(10_000)) == 10_000


def test_the_system_is_asked_once_for_many_ids() -> None:
    asked: list[int] = []
    take = entropy(lambda octets: asked.append(octets) or bytes(octets))
    for _ in range(200):
        take(17)
    assert len(asked) == 1
