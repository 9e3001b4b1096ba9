"""The built-in scorer: what it says, on how much mail, and how little one message can change of it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spam_corpus import COMMON, HAMMY, KNOWN, NEUTRAL, SPAMMY, corpus, mail, scored, scorer_of, trained

from mail.client import Client
from mail.verdict import Status
from verdicts.builtin_scorer import INFLUENCE, THRESHOLD, UNSURE, BuiltinScorer
from verdicts.builtin_scorer_features import MOST_LISTED, Found, features
from verdicts.builtin_scorer_fisher import combined, probability
from verdicts.dns_lists import parse_dns_lists
from verdicts.gtube import GTUBE

ROUNDING = 0.01
LISTS = parse_dns_lists(["dbl.example", "second.example"])


@pytest.fixture(scope="module")
def model() -> bytes:
    return trained(list(corpus(220, is_spam=True)), list(corpus(220, is_spam=False)))


@pytest.fixture
def scorer(tmp_path: Path, model: bytes) -> BuiltinScorer:
    return scorer_of(tmp_path / "model", model, lists=LISTS)


async def test_mail_like_the_spam_it_learnt_is_spam_and_mail_like_the_ham_is_not(scorer: BuiltinScorer) -> None:
    wrong = []
    for is_spam, wanted in ((True, Status.FAIL), (False, Status.PASS)):
        results = [await scored(scorer, raw) for raw in corpus(50, is_spam=is_spam, seed=2)]
        wrong += [result for result in results if result.status is not wanted]
    assert wrong == []


async def test_the_verdict_says_what_it_rests_on(scorer: BuiltinScorer) -> None:
    result = await scored(scorer, mail(SPAMMY[:8]))
    assert (result.engine, result.threshold, len(result.version), result.reason) == ("builtin", THRESHOLD, 16, "")
    assert result.score is not None
    assert THRESHOLD <= result.score <= 100
    assert {symbol for symbol in result.symbols if symbol.startswith("spam:")} >= {
        f"spam:{word}" for word in SPAMMY[:8]
    }


async def test_a_message_of_unknown_words_is_neither(scorer: BuiltinScorer) -> None:
    result = await scored(scorer, b"From: x@y.example\r\nSubject: qqq\r\n\r\nxyzzy plugh\r\n")
    assert result.status is Status.GRAY
    assert THRESHOLD - UNSURE <= (result.score or 0) < THRESHOLD


@pytest.mark.parametrize(
    ("spam", "ham", "reason"),
    [
        (199, 200, "trained with 199 spam and 200 ham messages; 200 of each are needed"),
        (200, 199, "trained with 200 spam and 199 ham messages; 200 of each are needed"),
        (200, 200, ""),
    ],
)
async def test_below_200_and_200_messages_everything_is_gray(tmp_path: Path, spam: int, ham: int, reason: str) -> None:
    model = trained(list(corpus(spam, is_spam=True)), list(corpus(ham, is_spam=False)))
    result = await scored(scorer_of(tmp_path / "model", model), mail(SPAMMY[:8]))
    assert (result.status, result.reason) == (Status.GRAY if reason else Status.FAIL, reason)


async def test_without_training_everything_is_gray(tmp_path: Path) -> None:
    worst = Found(client=Client(ip="192.0.2.1"), spf="fail", dmarc="fail", dnsbl=("a", "b", "c"))
    result = await scored(BuiltinScorer(tmp_path / "none"), mail(SPAMMY), worst)
    assert (result.status, result.reason) == (Status.GRAY, "not trained: see gatepost train")


async def test_a_model_that_is_none_is_a_failed_scan_and_never_clean(tmp_path: Path, model: bytes) -> None:
    for broken in (b"", b"hello", model[:200], model[:-1], model + b"x", model[:8] + model[15:7:-1] + model[16:]):
        result = await scored(scorer_of(tmp_path / "model", broken), mail(HAMMY))
        assert result.status is Status.PROCESSING_FAILED
        assert "train again" in result.reason


async def test_a_new_model_takes_effect_at_once(tmp_path: Path, model: bytes) -> None:
    scorer = scorer_of(tmp_path / "model", model)
    before = await scored(scorer, mail(SPAMMY[:8]))
    reversed_model = trained(list(corpus(220, is_spam=False)), list(corpus(220, is_spam=True)))
    (tmp_path / "new").write_bytes(reversed_model)
    (tmp_path / "new").replace(tmp_path / "model")
    after = await scored(scorer, mail(SPAMMY[:8]))
    assert (before.status, after.status) == (Status.FAIL, Status.PASS)
    assert before.version != after.version


async def test_the_threshold_of_the_settings_wins(tmp_path: Path, model: bytes) -> None:
    unknown = b"From: x@y.example\r\n\r\nxyzzy plugh\r\n"
    for threshold, wanted in ((50.0, Status.FAIL), (70.0, Status.GRAY), (90.0, Status.PASS)):
        result = await scored(scorer_of(tmp_path / "model", model, threshold=threshold), unknown)
        assert (result.score, result.threshold, result.status) == (50.0, threshold, wanted)


async def test_gtube_is_spam_however_it_is_encoded(scorer: BuiltinScorer) -> None:
    import base64  # noqa: PLC0415

    encoded = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(GTUBE).replace(b"\n", b"\r\n")
    for raw in (mail(GTUBE.decode()), encoded):
        result = await scored(scorer, raw)
        assert (result.status, result.symbols, result.engine) == (Status.FAIL, ("GTUBE",), "builtin")


# One message


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_hostile_training_message_moves_no_score_by_more_than_its_bound(
    tmp_path: Path, data: st.DataObject
) -> None:
    draw = random.Random(data.draw(st.integers(0, 1 << 30)))
    size = data.draw(st.sampled_from([0, 1, 4, 10, 30]))
    spam = list(corpus(size, is_spam=True, seed=draw.randrange(9)))
    ham = list(corpus(size, is_spam=False, seed=draw.randrange(9)))
    victim = mail(draw.sample(COMMON + SPAMMY + HAMMY, draw.randrange(1, 60)))
    # The worst that can be sent: all words that any mail has, or just the victim's, under either label.
    hostile = [mail(COMMON + SPAMMY + HAMMY, f"{draw.random()}"), victim, mail(SPAMMY), *spam[:1], *ham[:1]]
    attack, is_spam = data.draw(st.sampled_from(hostile)), data.draw(st.booleans())
    before = scorer_of(tmp_path / "before", trained(spam, ham))
    after = scorer_of(
        tmp_path / "after", trained([*spam, attack] if is_spam else spam, ham if is_spam else [*ham, attack])
    )
    scores = [asyncio.run(scored(each, victim)).score or 0.0 for each in (before, after)]
    assert abs(scores[0] - scores[1]) <= INFLUENCE + ROUNDING


async def test_the_bound_is_needed(tmp_path: Path) -> None:
    spam, ham = list(corpus(10, is_spam=True)), list(corpus(10, is_spam=False))
    victim = mail(SPAMMY[:12] + HAMMY[:12])
    before = await scored(scorer_of(tmp_path / "a", trained(spam, ham)), victim)
    moved = [
        abs(
            (
                await scored(scorer_of(tmp_path / "b", trained([*spam, mail(SPAMMY + HAMMY[:number])], ham)), victim)
            ).score
            - before.score
        )
        for number in range(12)
    ]
    assert max(moved) > 1


def test_one_message_never_turns_pass_into_fail() -> None:
    assert INFLUENCE + ROUNDING < UNSURE


# Direction


@given(st.lists(st.floats(0.02, 0.98), min_size=1, max_size=200), st.data())
def test_a_clearer_clue_never_points_the_other_way(values: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(values) - 1))
    clear = [value for value in values if abs(value - 0.5) >= 0.1][:100]
    if not clear:
        return
    index %= len(clear)
    raised = [*clear]
    raised[index] = max(raised[index], 0.98)
    assert 0.0 <= combined(clear) <= combined(raised) + 1e-9 <= 1.0 + 1e-9


@given(st.integers(3, 500), st.data())
def test_a_token_in_more_spam_is_never_less_spammy(messages: int, data: st.DataObject) -> None:
    # Of as much spam as ham; where one is rare, Robinson's smoothing may weigh more than a message.
    spam = data.draw(st.integers(2, messages))
    ham = data.draw(st.integers(0, messages))
    less, more = probability(spam, ham, messages, messages), probability(spam + 1, ham, messages, messages)
    assert 0.02 <= less <= more + 1e-12 <= 0.98 + 1e-12


def test_clues_on_both_sides_cancel() -> None:
    assert combined([0.98, 0.02] * 20) == pytest.approx(0.5)
    assert combined([]) == combined([0.5, 0.55]) == 0.5
    assert combined([0.98] * 150) == pytest.approx(1.0)
    assert combined([0.02] * 150) == pytest.approx(0.0)


# What the other checks found


async def test_a_listing_never_lowers_a_score_and_dmarc_pass_never_raises_it(scorer: BuiltinScorer) -> None:
    for raw in (mail(SPAMMY[:3] + HAMMY[:3]), mail(HAMMY[:8]), mail("xyzzy")):
        plain = (await scored(scorer, raw)).score or 0.0
        for worse in (
            Found(client=KNOWN, spf="none", dmarc="none", dnsbl=("zen.example",)),
            Found(client=KNOWN, spf="fail", dmarc="none"),
            Found(client=KNOWN, spf="softfail", dmarc="none"),
            Found(client=KNOWN, spf="none", dmarc="fail"),
            Found(client=Client(ip="192.0.2.1"), spf="none", dmarc="none"),
        ):
            assert ((await scored(scorer, raw, worse)).score or 0.0) >= plain
        better = Found(client=KNOWN, spf="pass", dmarc="pass")
        assert ((await scored(scorer, raw, better)).score or 0.0) <= plain


async def test_ham_stays_ham_on_one_list(scorer: BuiltinScorer) -> None:
    found = Found(client=KNOWN, spf="fail", dmarc="none", dnsbl=("zen.example",))
    result = await scored(scorer, mail(HAMMY[:10]), found)
    assert (result.status, result.symbols[:2]) == (Status.PASS, ("SPF_FAIL", "DNSBL:zen.example"))


def test_many_lists_count_no_more_than_two() -> None:
    points = features(Found(client=KNOWN, spf="none", dmarc="none", dnsbl=tuple(f"l{n}.example" for n in range(9))))
    assert len(points) == 9
    assert sum(points.values()) == MOST_LISTED


async def test_a_listed_link_counts_for_each_list_that_lists_it(scorer: BuiltinScorer) -> None:
    raw = mail("see https://www.shop.bad.example/x and http://fine.example")
    listed = {"A": ["127.0.1.2"]}
    clean = await scored(scorer, raw)
    one = await scored(scorer, raw, zone={"bad.example.dbl.example": listed})
    two = await scored(scorer, raw, zone={"bad.example.dbl.example": listed, "fine.example.second.example": listed})
    assert "URIBL:dbl.example" in one.symbols
    assert "URIBL:second.example" in two.symbols
    assert (clean.score or 0) < (one.score or 0) < (two.score or 0)


async def test_a_list_that_refuses_to_answer_lists_nothing(scorer: BuiltinScorer) -> None:
    raw = mail("see https://bad.example/")
    for answer in ({"A": ["127.255.255.254"]}, "SERVFAIL", "TIMEOUT"):
        result = await scored(scorer, raw, zone={"bad.example.dbl.example": answer})
        assert not any(symbol.startswith("URIBL") for symbol in result.symbols)


async def test_a_message_of_a_thousand_links_is_asked_about_within_the_budget(scorer: BuiltinScorer) -> None:
    result = await scored(scorer, mail(" ".join(f"https://d{number}.example/" for number in range(1000))), NEUTRAL)
    assert result.status is Status.GRAY
