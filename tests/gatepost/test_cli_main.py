"""The program's edge: what fails ends with one clear line and an exit code, not with a traceback."""

import pytest

from gatepost.cli import gatepost, main
from mail.errors import Misuse
from spool.reader import SpoolReader


def leave(*arguments):
    with pytest.raises(SystemExit) as left:
        main([str(each) for each in arguments])
    return left.value.code


@pytest.fixture
def broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shard = tmp_path / "var" / "shards" / "00"
    shard.mkdir(parents=True)
    (shard / "spool.db").write_bytes(b"this is no database, whatever it is called" * 100)
    return tmp_path / "var"


@pytest.mark.parametrize(
    "arguments",
    [["find"], ["show", "abcdef"], ["wait", "0" * 39 + "1"], ["queue", "list"], ["queue", "retry", "--all"]],
)
def test_a_broken_store_is_said_in_one_line(broken, capsys, arguments):
    assert leave(*arguments) == 3
    assert capsys.readouterr().err == "error: the store failed: var/shards/00/spool.db: file is not a database\n"


def test_a_fault_of_our_own_is_not_hidden(broken, monkeypatch):
    async def find(self, query):
        raise Misuse("ours")

    monkeypatch.setattr(SpoolReader, "find", find)
    with pytest.raises(Misuse):
        main(["find"])


def test_an_unknown_command_is_a_usage_error(capsys):
    assert leave("fnid") == 2
    assert "fnid" in capsys.readouterr().err


@pytest.mark.parametrize(("wish", "colour"), [("1", False), ("", None)])
def test_colours_are_left_out_on_request(monkeypatch, wish, colour):
    monkeypatch.setenv("NO_COLOR", wish)
    seen = []
    monkeypatch.setattr(gatepost, "invoke", lambda context: seen.append(context.color))
    leave("find")
    assert seen == [colour]
