"""Training: the same messages give the same model, byte for byte, whatever their order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spam_corpus import COMMON, HAMMY, SPAMMY, corpus, mail, trained

from mail.errors import Permanent
from mail.headers import parse_header
from verdicts.token_model import SHARES, ModelFile, TokenModel, encode
from verdicts.token_text import LINK_DOMAINS, read_text
from verdicts.token_training import Tally, share_of
from verdicts.token_words import TOKENS, token_hash, tokens_of

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
MESSAGES = st.lists(st.tuples(st.lists(st.sampled_from(COMMON[:9]), max_size=6), st.booleans()), max_size=30)


def model_of(labelled: list[tuple[bytes, bool]]) -> bytes:
    tally = Tally()
    for raw, is_spam in labelled:
        tally.add(raw, is_spam=is_spam)
    return encode(tally.trained())


def tokens(raw: bytes) -> tuple[str, ...]:
    return tokens_of(parse_header(raw), read_text(raw))


@settings(deadline=None)
@given(MESSAGES, st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_and_repetition_change_no_byte(messages: list, draw: random.Random, repeated: int) -> None:
    labelled = [(mail(words), is_spam) for words, is_spam in messages]
    again = [*labelled, *labelled[:repeated]]
    draw.shuffle(again)
    assert model_of(again) == model_of(labelled)


def test_what_is_called_spam_and_ham_is_left_out() -> None:
    spam, ham = list(corpus(20, is_spam=True)), list(corpus(20, is_spam=False))
    disputed = mail(SPAMMY)
    for labels in ([True, False], [False, True], [True, False, True, False]):
        tally = Tally()
        for raw, is_spam in (
            *((s, True) for s in spam),
            *((h, False) for h in ham),
            *((disputed, each) for each in labels),
        ):
            tally.add(raw, is_spam=is_spam)
        assert encode(tally.trained()) == trained(spam, ham)
        assert (tally.contradicted, tally.messages[True], tally.messages[False]) == (1, 20, 20)


def test_a_model_holds_what_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "model"
    spam, ham = list(corpus(60, is_spam=True)), list(corpus(30, is_spam=False))
    path.write_bytes(trained(spam, ham))
    model = TokenModel(path)
    assert (model.spam_messages, model.ham_messages) == (60, 30)
    for word in (SPAMMY[0], HAMMY[0], COMMON[0]):
        counts = model.counts(token_hash(word))
        assert counts is not None
        assert sum(counts[::2]) == sum(word in raw.decode().split() for raw in spam)
        assert sum(counts[1::2]) == sum(word in raw.decode().split() for raw in ham)
    assert model.counts(token_hash("never seen")) is None
    assert model.counts(0) is None
    assert model.counts(2**64 - 1) is None
    model.close()


def test_a_word_of_one_message_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(trained(list(corpus(30, is_spam=True)), []))
    assert TokenModel(path).counts(token_hash("unique1True3".casefold())) is None


def test_an_empty_model_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(trained([], []))
    model = TokenModel(tmp_path / "model")
    assert (model.spam_messages, model.ham_messages, model.counts(1)) == (0, 0, None)


def test_every_share_gets_its_part() -> None:
    from hashlib import sha256  # noqa: PLC0415

    shares = [share_of(sha256(raw).digest()) for raw in corpus(500, is_spam=True)]
    assert all(shares.count(share) > 60 for share in range(SHARES))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in (b"", b"GPSPAM0\n" + bytes(200), trained([], [])[:-1]):
        path.write_bytes(content)
        with pytest.raises(Permanent, match="train again"):
            TokenModel(path)
    assert ModelFile(tmp_path / "missing").current() is None


# Tokens


@pytest.mark.parametrize(
    ("raw", "wanted", "unwanted"),
    [
        (b"Subject: =?utf-8?q?Caf=C3=A9_sale?=\r\n\r\n", {"subject:café", "subject:sale"}, set()),
        (b'From: "Big Bank" <x@Shop.Example>\r\n\r\n', {"name:big", "name:bank", "from:shop.example"}, set()),
        (
            b"Content-Type: text/html\r\n\r\n<p>V<b></b>iagra<br>now<!-- hidden --> <style>css</style>end",
            {"viagra", "now", "end"},
            {"hidden", "css", "style"},
        ),
        (b"Content-Type: text/html\r\n\r\n&#86;iagra &amp; more", {"viagra", "more"}, {"amp"}),
        (b"Content-Type: text/html; charset=koi8-r\r\n\r\n\xf0\xf2\xe9\xf7\xe5\xf4", {"привет"}, set()),
        (b"Content-Transfer-Encoding: base64\r\n\r\nc2VjcmV0IHdvcmRz\r\n", {"secret", "words"}, {"c2vjcmv0ihdvcmrz"}),
        ("\r\n特価販売".encode(), {"特価", "価販", "販売"}, {"特価販売"}),
        (b"\r\n" + b"a" * 300 + b" 12345 it", {"long:aa:10", "digits:5"}, {"it", "12345"}),
        (b"Content-Type: text/plain; charset=punycode\r\n\r\nplain words-here", {"plain", "words-here"}, set()),
        (b"Content-Type: text/plain; charset=no-such\r\n\r\nplain", {"plain"}, set()),
        (b"\r\nsee https://user:pw@www.Shop.example:8080/path?q#f", {"link:shop.example"}, set()),
    ],
)  # fmt: skip
def test_a_message_is_read_as_a_person_would(raw: bytes, wanted: set[str], unwanted: set[str]) -> None:
    found = set(tokens(raw))
    assert wanted <= found
    assert not unwanted & found


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("http://a.b.example.com/x https://example.com", ("example.com",)),
        ("www.shop.co.uk, (http://x.example).", ("shop.co.uk", "x.example")),
        ("HTTP://UPPER.EXAMPLE", ("upper.example",)),
        ("http:\\\\back.example\\x", ("back.example",)),
        ("https://good.example@bad.example/", ("bad.example",)),
        ("http://192.0.2.1/ http://[2001:db8::1]/ http:///x http://-/", ()),
        ("https://bücher.example/", ("xn--bcher-kva.example",)),
        ("ftp://x.example mailto:a@y.example", ()),
    ],
)
def test_links_lead_to_registrable_domains(text: str, domains: tuple[str, ...]) -> None:
    assert read_text(f"\r\n{text}".encode()).domains == domains


def test_links_of_html_count_whether_or_not_they_are_shown() -> None:
    raw = b'Content-Type: text/html\r\n\r\n<a href="https&#58;//h.example/">x</a><!-- http://c.example -->'
    assert read_text(raw).domains == ("h.example", "c.example")


def test_of_too_many_links_the_first_and_the_last_are_kept() -> None:
    text = " ".join(f"http://d{number}.example" for number in range(5000))
    domains = read_text(f"\r\n{text}".encode()).domains
    assert len(domains) == LINK_DOMAINS
    assert (domains[0], domains[-1]) == ("d0.example", "d4999.example")


def test_a_message_has_a_bounded_number_of_tokens() -> None:
    assert len(tokens(mail([f"w{number}x" for number in range(50_000)]))) == TOKENS


HOSTILE = {
    "open tags": b"<" * 200_000,
    "open comments": b"<!--" * 50_000,
    "scripts": b"<script" * 30_000,
    "entities": b"&#" + b"9" * 200_000 + b";",
    "entity words": b"&amp" * 50_000,
    "at signs": b"http://" + b"a@" * 100_000,
    "links": b"http://a" * 25_000,
    "dashes": b"a" + b"-" * 200_000,
    "apostrophes": b"a'" * 100_000,
    "one word": b"a" * 250_000,
    "dots": b"www." + b"a." * 100_000,
    "surrogates": b"\xed\xa0\x80" * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_linear_time(name: str) -> None:
    import time  # noqa: PLC0415

    raw = b"Content-Type: text/html\r\n\r\n" + HOSTILE[name]
    began = time.process_time()
    assert len(tokens(raw)) <= TOKENS
    assert time.process_time() - began < 2.0  # what is quadratic takes minutes


def test_public_mail_is_read_without_an_exception() -> None:
    samples = (VECTORS / "scan-spamassassin", VECTORS / "auth-rspamd" / "messages")
    files = sorted(path for folder in samples for path in folder.rglob("*") if path.is_file())
    counts = [len(tokens(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))) for path in files]
    assert len(counts) >= 160
    assert sum(counts) > 50 * len(counts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read(raw: bytes) -> None:
    for token in tokens(raw):
        assert token == token.strip()
        assert 0 <= token_hash(token) < 1 << 64
