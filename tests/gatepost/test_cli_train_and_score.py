"""`gatepost train` and `gatepost score`: from labelled mail to a model, and from a model to how often it is right."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from gatepost.cli import main
from gatepost.measures import Measures, Verdict
from mail.verdict import ScanResult, Status
from verdicts.gtube import GTUBE

COMMON = [f"word{number}" for number in range(60)]
OWN = {"spam": [f"offer{number}" for number in range(40)], "ham": [f"meeting{number}" for number in range(40)]}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(each) for each in arguments])
    return left.value.code or 0


def write_corpus(directory: Path, count: int, seed: int = 1, newline: bytes = b"\n") -> Path:
    for name, own in OWN.items():
        draw = random.Random(f"{name}{seed}")
        (directory / name).mkdir(parents=True)
        for number in range(count):
            text = " ".join([*draw.sample(COMMON, 15), *draw.sample(own, 6)])
            raw = f"From: a@b.example\nSubject: Hello {number}\n\n{text}\n".encode().replace(b"\n", newline)
            (directory / name / f"{number:04}.eml").write_bytes(raw)
    return directory


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("training"), 210)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(training: Path, *more: object) -> int:
    return run("train", "--spam", training / "spam", "--ham", training / "ham", *more)


def test_training_says_what_it_learnt_and_where(here: Path, training: Path, capsys) -> None:
    assert train(training) == 0
    said = capsys.readouterr().out
    assert "trained with 210 spam and 210 ham messages: var/spam.model, version" in said
    assert "the setting spam.engine is none; builtin uses what was learnt" in said
    assert (here / "var" / "spam.model").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (here / "var").iterdir()] == ["spam.model"]


def test_the_same_mail_gives_the_same_model_whatever_its_order(
    here: Path, training: Path, tmp_path: Path, capsys
) -> None:
    assert train(training, "--data", "one") == 0
    shuffled = tmp_path / "shuffled"
    draw = random.Random(3)
    for name in OWN:
        files = sorted((training / name).iterdir())
        draw.shuffle(files)
        for number, path in enumerate(files):
            target = shuffled / name / str(number % 7) / f"{number}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    parts = [
        path
        for name in ("spam", "ham")
        for part in sorted((shuffled / name).iterdir(), reverse=True)
        for path in (f"--{name}", part)
    ]
    assert run("train", *parts, "--data", "two", "--json") == 0
    assert (here / "one" / "spam.model").read_bytes() == (here / "two" / "spam.model").read_bytes()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["spam"], told["ham"], told["duplicates"], told["contradicted"]) == (210, 210, 0, 0)


def test_small_and_odd_corpora_are_said(here: Path, capsys) -> None:
    corpus = write_corpus(here / "mail", 3)
    (corpus / "spam" / "again.eml").write_bytes((corpus / "spam" / "0000.eml").read_bytes())
    (corpus / "ham" / "both.eml").write_bytes((corpus / "spam" / "0001.eml").read_bytes())
    (corpus / "ham" / "empty.eml").write_bytes(b"")
    (corpus / "ham" / ".hidden").write_bytes(b"Subject: x\n\nx\n")
    (corpus / "ham" / "0000.eml.yaml").write_text("client_ip: 192.0.2.1\n")
    assert train(corpus) == 0
    said = capsys.readouterr()
    assert "trained with 2 spam and 3 ham messages" in said.out
    assert "1 file held a message that had been counted" in said.out
    assert "1 message called both spam and ham left out" in said.out
    assert "1 file could not be read" in said.out
    assert "below 200 messages of each the verdict is GRAY" in said.out
    assert "empty.eml: is empty" in said.err


def test_nothing_to_learn_from_is_a_usage_error(here: Path, capsys) -> None:
    for name in ("spam", "ham"):
        (here / name).mkdir()
    assert train(here) == 2
    assert not (here / "var").exists()


def test_a_score_counts_what_the_engine_said(here: Path, training: Path, capsys) -> None:
    train(training)
    capsys.readouterr()
    fresh = write_corpus(here / "fresh", 30, seed=2)
    (fresh / "spam" / "gtube.eml").write_bytes(b"Subject: x\n\n" + GTUBE + b"\n")
    assert run("score", "--labels", fresh, "--engine", "builtin", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {
        "spam": {"FAIL": 31, "GRAY": 0, "PASS": 0, "PROCESSING_FAILED": 0},
        "ham": {"FAIL": 0, "GRAY": 0, "PASS": 30, "PROCESSING_FAILED": 0},
    }
    assert (told["engine"], told["threshold"], told["precision"], told["recall"]) == ("builtin", 70.0, 1.0, 1.0)
    thresholds = [point["threshold"] for point in told["curve"]]
    assert thresholds == sorted(thresholds)
    assert told["curve"][0]["recall"] == 1.0
    assert run("score", "--labels", fresh, "--engine", "builtin") == 0
    said = capsys.readouterr().out
    assert "31 messages called spam by you, 30 called ham" in said
    assert "precision 100.0%" in said


def test_labels_may_stand_in_a_list(here: Path, training: Path, capsys) -> None:
    train(training)
    write_corpus(here / "fresh", 4, seed=2)
    capsys.readouterr()
    index = here / "index"
    index.write_text("# mine\nspam fresh/spam/0000.eml\nHAM fresh/ham/0000.eml\n\nham fresh/ham/0001.eml\n")
    assert run("score", "--labels", index, "--engine", "builtin", "--json") == 0
    assert json.loads(capsys.readouterr().out)["messages"] == 3
    index.write_text("junk fresh/spam/0000.eml\n")
    assert run("score", "--labels", index, "--engine", "builtin") == 2
    assert f"{index}:1: expected spam or ham, and a path" in capsys.readouterr().err


def test_the_lists_and_the_client_count_where_dns_is_asked(here: Path, training: Path, capsys) -> None:
    train(training)
    (here / "gatepost.yaml").write_text(
        "spam: {engine: builtin}\ndnsbl: {lists: [bl.example], domain_lists: [dbl.example]}\n"
    )
    (here / "zone.yaml").write_text(
        "7.2.0.192.bl.example: {A: [127.0.0.2]}\nbad.example.dbl.example: {A: [127.0.1.2]}\n"
    )
    for name in OWN:
        (here / "doubtful" / name).mkdir(parents=True)
    (here / "doubtful" / "spam" / "1.eml").write_bytes(b"Subject: x\n\nhttp://bad.example/\n")
    (here / "doubtful" / "spam" / "1.eml.yaml").write_text("client_ip: 192.0.2.7\n")
    capsys.readouterr()
    counts = []
    for more in ((), ("--dns", "zone.yaml")):
        assert run("score", "--labels", "doubtful", "--json", *more) == 0
        counts.append(json.loads(capsys.readouterr().out)["counts"]["spam"])
    assert [(count["GRAY"], count["FAIL"]) for count in counts] == [(1, 0), (0, 1)]


def test_what_cannot_be_scored_is_said(here: Path, capsys) -> None:
    corpus = write_corpus(here / "mail", 2)
    assert run("score", "--labels", corpus) == 2
    assert "there is no spam engine" in capsys.readouterr().err
    assert run("score", "--labels", here, "--engine", "builtin") == 2
    assert "has no directory spam" in capsys.readouterr().err
    (here / "var").mkdir()
    (here / "var" / "spam.model").write_bytes(b"nonsense")
    assert run("score", "--labels", corpus, "--engine", "builtin") == 1
    assert "4 messages could not be scanned" in capsys.readouterr().out


def test_the_curve_follows_the_scores() -> None:
    scores = ((True, 90.0), (True, 60.0), (False, 60.0), (False, 10.0))
    statuses = {90.0: Status.FAIL, 60.0: Status.GRAY, 10.0: Status.PASS}
    measures = Measures(tuple(Verdict(spam, ScanResult(status=statuses[score], score=score)) for spam, score in scores))
    assert [(p.threshold, p.precision, p.recall, p.ham_called_spam) for p in measures.curve()] == [
        (10.0, 0.5, 1.0, 2),
        (60.0, 2 / 3, 1.0, 1),
        (90.0, 1.0, 0.5, 0),
    ]
    assert (measures.precision, measures.recall, measures.unscanned) == (1.0, 0.5, 0)
    assert (Measures(()).precision, Measures(()).recall, Measures(()).curve()) == (None, None, ())
