"""erase: it says what it is about to do, does it once it is told to, and says what it cannot do."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from stored_mail import Mail, fill, refused

from gatepost.cli import erase, gatepost
from gatepost.control import Answer, Skipped
from mail.outcome import Result
from spool.ports import JobState, MessageState

ONE = Mail(number=1, subject="win \x1b[2J now")
TWO = Mail(
    number=2, sender="ann@persons.example", to="desk@example.com", raw=b"From: ann@persons.example\r\n\r\nhello\r\n"
)
JOBS = Mail(number=3, sender="ann@persons.example", state=MessageState.DEAD, left=JobState.DEAD)
REFUSED = refused(1, mail_from="Ann@Persons.Example")


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path / "var", ONE, TWO, JOBS, refusals=(REFUSED,))


def run(*arguments, code=0):
    done = CliRunner().invoke(gatepost, ["erase", *arguments], standalone_mode=False, catch_exceptions=False)
    assert (done.return_value or 0 if done.exception is None else done.exit_code) == code, done.output
    return done


def found(*filters):
    done = CliRunner().invoke(gatepost, ["find", "--json", *filters], standalone_mode=False, catch_exceptions=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def shard(state):
    return b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())


def test_a_dry_run_lists_and_changes_nothing(state):
    done = run("--address", "ann@persons.example", "--dry-run")
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["refused", "done", "dead"]
    assert "Nothing was erased." in done.stderr
    assert len(found("--from", "ann@persons.example")) == 3


def test_everything_that_names_an_address_goes(state):
    done = run("--address", "ANN@persons.example", "--yes")
    assert "3 transactions erased." in done.stdout
    assert found("--from", "ann") == []
    assert [row["detail"] for row in found()].count("erased") == 3
    shown = CliRunner().invoke(gatepost, ["find"], standalone_mode=False).stdout
    assert sum(line.split()[2:4] == ["erased", "-"] for line in shown.splitlines()) == 3
    assert b"ann@" not in shard(state).lower()
    assert found("--from", "billing")[0]["id"] == ONE.id
    assert "There is nothing to erase." in run("--address", "ann@persons.example", "--yes").stderr


@pytest.mark.parametrize("typed", ["x@b\u00fccher.example", "X@xn--bcher-kva.example", '"x"@B\u00dcCHER.example'])
def test_a_domain_is_the_same_in_letters_and_in_its_ascii_form(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    letters = Mail(number=1, raw="From: x@b\u00fccher.example\r\n\r\nhello\r\n".encode())
    fill(tmp_path / "var", letters, Mail(number=2, sender="x@xn--bcher-kva.example"))
    assert len(run("--address", typed, "--dry-run").stdout.splitlines()) == 2


def test_one_message_is_named_by_the_beginning_of_its_id(state):
    assert "1 transaction erased." in run(TWO.id[:20], "--yes").stdout
    assert len(found("--from", "ann@persons.example")) == 2


def test_what_was_erased_is_shown_as_that_and_not_as_mail_from_nobody(state):
    run(TWO.id, "--yes")
    for name in ("show", "explain"):
        said = CliRunner().invoke(gatepost, [name, TWO.id], standalone_mode=False, catch_exceptions=False).stdout
        assert "erased" in said
        assert "From" not in said
        assert "Client" not in said


def test_without_a_yes_nothing_is_erased_and_the_jobs_that_would_go_are_named(state):
    done = run("--address", "ann@persons.example", code=2)
    assert "nothing was erased; --yes erases 3 transactions for good" in done.stderr
    assert "1 job of theirs will never be done." in done.stderr
    assert len(found("--from", "ann@persons.example")) == 3


def test_json_tells_what_was_done(state):
    done = run(TWO.id, REFUSED.id, "--yes", "--json")
    assert json.loads(done.stdout.splitlines()[-1]) == {"erased": 2, "files": 0, "skipped": []}


@pytest.mark.parametrize(
    "arguments", [(), (ONE.id, "--address", "a@b.example"), ("--address", "nobody"), ("zzzzzzzz",)]
)
def test_what_is_not_said_rightly_is_refused(arguments, state):
    run(*arguments, code=1 if arguments == ("zzzzzzzz",) else 2)
    assert len(found()) == 4


def stored(place: Path, *, keys: tuple[str, ...] = ("a/one",)) -> Mail:
    objects = {"object_keys": json.dumps(keys)} if len(keys) > 1 else {}
    data = {"path": str(place / keys[0]), "object_key": keys[0], **objects}
    return Mail(number=5, sender="ann@persons.example", data=data)


def objects_of(place: Path, *keys: str) -> list[Path]:
    made = [place / key for key in keys]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ann")
    return made


def test_stored_objects_stay_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = objects_of(tmp_path / "mail", "a/one", "a/one.metadata.json", "b/two", "b/other")
    fill(tmp_path / "var", stored(tmp_path / "mail", keys=("a/one", "b/two")))
    done = run("--address", "ann@persons.example", "--dry-run")
    assert f"stored, not deleted (--stored does): {made[1]}" in done.stdout
    assert "2 transactions" not in done.stdout
    done = run("--address", "ann@persons.example", "--stored", "--yes")
    assert "1 transaction erased, 3 files deleted." in done.stdout
    assert [path.exists() for path in made] == [False, False, False, True]


def test_a_message_that_is_being_worked_on_keeps_its_objects_and_no_others(tmp_path, monkeypatch):
    """Once the steps of the others are forgotten, nothing knows any more where their objects stand."""
    monkeypatch.chdir(tmp_path)
    made = objects_of(tmp_path / "mail", "a/one", "b/two")
    done = Mail(number=5, sender="ann@persons.example", data={"path": str(made[0]), "object_key": "a/one"})
    busy = Mail(number=6, sender="ann@persons.example", data={"path": str(made[1]), "object_key": "b/two"})
    fill(tmp_path / "var", done, busy)

    async def change(data, request, now, **_):
        if request.operation == "scrub":
            return Answer(changed=1)
        return Answer(changed=1, skipped=(Skipped(id=busy.id, why="is being worked on"),))

    monkeypatch.setattr(erase, "request_change", change)
    said = run("--address", "ann@persons.example", "--stored", "--yes", code=1)
    assert "1 transaction erased, 1 file deleted." in said.stdout
    assert f"{busy.id} is being worked on" in said.stderr
    assert [path.exists() for path in made] == [False, True]


def test_what_was_taught_of_a_message_goes_with_what_was_stored(state):
    taught = [state / "taught" / "spam" / f"{sha256(raw).hexdigest()}.eml" for raw in (TWO.raw, b"other")]
    taught[0].parent.mkdir(parents=True)
    for path in taught:
        path.write_bytes(b"ann")
    assert (
        f"stored, not deleted (--stored does): {taught[0].relative_to(state.parent)}" in run(TWO.id, "--dry-run").stdout
    )
    assert "1 transaction erased, 1 file deleted." in run(TWO.id, "--stored", "--yes").stdout
    assert [path.exists() for path in taught] == [False, True]


def test_a_key_that_leaves_the_store_is_never_deleted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (outside,) = objects_of(tmp_path, "outside")
    fill(tmp_path / "var", stored(tmp_path / "mail", keys=("a/one", "../outside")))
    done = CliRunner().invoke(gatepost, ["erase", "--address", "ann@persons.example", "--stored", "--yes"])
    assert done.exit_code != 0
    assert outside.exists()


def test_what_is_stored_elsewhere_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"bucket": "mail", "object_key": "a/one"}
    fill(
        tmp_path / "var",
        Mail(number=5, sender="ann@persons.example", data=data, steps=(("keep", "s3", Result.DONE, "stored"),)),
    )
    assert "stored elsewhere, not deleted: s3://mail/a/one" in run(Mail(number=5).id, "--yes").stdout
