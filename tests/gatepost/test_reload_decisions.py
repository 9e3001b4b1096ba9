"""What a reload puts in force, and what waits for a restart."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from gatepost.reload import Reloader, certificate_files, in_force, stamps
from gatepost.settings import AT_RELOAD, NOT_AT_RELOAD, Settings, table
from gatepost.settings_wire import packed, unpacked
from mail.errors import Temporary

BEFORE = Settings()


def test_what_can_change_does_and_the_rest_is_named():
    after = replace(BEFORE, smtp_size_limit=5, listen=("127.0.0.1:1",), log_level="debug", workers=3)
    now, changed, later = in_force(BEFORE, after)
    assert now == replace(BEFORE, smtp_size_limit=5, log_level="debug")
    assert changed == ("smtp.size_limit", "log.level")
    assert later == ("listen", "workers")


def test_nothing_changed_is_nothing_in_force():
    assert in_force(BEFORE, replace(BEFORE)) == (BEFORE, (), ())


def test_the_names_that_a_reload_takes_exist():
    names = {row.name for row in table()}
    sections = {f"{name.partition('.')[0]}." for name in names if "." in name}
    assert {*AT_RELOAD, *NOT_AT_RELOAD} <= names | sections


def test_where_we_stand_and_who_we_are_never_change_at_a_reload():
    fixed = ("data", "listen", "workers", "user", "group", "http.listen", "tls.listen", "hostname", "dns.zone")
    rows = {row.name: row.at_reload for row in table()}
    assert {name: rows[name] for name in fixed} == dict.fromkeys(fixed, False)


class Failing(Reloader):
    """Whose first attempts fail as the world may."""

    def __init__(self, failures: list[Exception], asked: asyncio.Event) -> None:
        self.settings, self._rules = BEFORE, SimpleNamespace(files=())  # type: ignore[assignment]
        self._seen, self._failures, self._asked = self._stamps(), failures, asked
        self.done = asyncio.Event()

    async def reload(self, *, settings_too: bool) -> None:
        if self._failures:
            self._asked.set()  # for the next attempt, which would come in a second
            raise self._failures.pop()
        self.done.set()


async def test_a_reload_that_the_world_hinders_is_done_again_and_ends_nothing(caplog):
    asked = asyncio.Event()
    asked.set()
    failing = Failing(
        [OSError(28, "No space left on device"), BrokenPipeError(32, "Broken pipe"), Temporary("x")], asked
    )
    watching = asyncio.create_task(failing.watch(asked))
    await asyncio.wait_for(failing.done.wait(), 20)
    assert not watching.done()
    watching.cancel()
    assert caplog.text.count("is done again") == 3


def test_settings_reach_a_worker_as_they_are():
    settings = replace(
        BEFORE,
        rules=Path("/etc/rules.yaml"),
        functions_path=(Path("a"), Path("b")),
        arns={"arn:x": "python:a:b"},
        files=(Path("gatepost.yaml"),),
        spam_threshold=6.5,
    )
    assert unpacked(packed(settings)) == settings


def test_a_renewed_certificate_is_seen_in_its_file_and_in_its_directory(tmp_path):
    lone, directory = tmp_path / "mx.pem", tmp_path / "live"
    directory.mkdir()
    settings = replace(BEFORE, tls_certificate=lone, tls_certificates=(directory,))
    lone.write_text("one")
    (directory / "privkey.pem").write_text("one")
    seen = stamps(tuple(certificate_files(settings)))
    (directory / "privkey.pem").write_text("three")
    again = stamps(tuple(certificate_files(settings)))
    assert seen != again
    lone.write_text("three")
    assert stamps(tuple(certificate_files(settings))) != again
