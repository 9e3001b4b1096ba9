"""Every target over its corpus and over mutations of it, as far as a test run has time; `make fuzz` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import OCTETS, TARGETS

CORPUS = Path(__file__).parent / "corpus"
SPICE = [
    b";",
    b"=",
    b":",
    b" ",
    b"\r\n",
    b"\r\n ",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b'"',
    b"\\",
    b"(",
    b")",
    b"@",
    b".",
    b"%",
    b"<",
    b">",
]


def seeds(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@st.composite
def mutated(draw: st.DrawFn, of: list[bytes]) -> bytes:
    """A seed with a few cuts, insertions and repetitions."""
    data = draw(st.sampled_from(of))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from([*SPICE, data[start:end] * 2]) | st.binary(max_size=6))
        data = data[:start] + new + data[end:]
    return data[:OCTETS]


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    """Seeds, and what fuzzers found: `found-*`."""
    found = seeds(name)
    assert len(found) >= 3
    for data in found:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_the_corpus_and_noise(name: str) -> None:
    target = TARGETS[name]
    # Each input of this one is a socket and, if the answer is not understood, a wait.
    limit = settings(max_examples=25) if name == "dns_wire" else settings()

    @limit
    @given(mutated(seeds(name)) | st.binary(max_size=300))
    def run(data: bytes) -> None:
        target(data)

    run()


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    counts = {path.name: len(list(path.iterdir())) for path in CORPUS.iterdir()}
    print("fuzz corpora:", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    assert counts.keys() == TARGETS.keys()
