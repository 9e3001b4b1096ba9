"""What `serve` is told, and what it refuses before anything is opened."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import gatepost
from gatepost.cli.serve import _with_options
from gatepost.listening import bind
from gatepost.reload import stamps
from gatepost.settings import Settings


def test_options_win_over_settings():
    settings = _with_options(
        Settings(), Path("r.yaml"), ("[::1]:2526", "127.0.0.1:0"), Path("zone.yaml"), ("10.0.0.0/8", "192.0.2.1")
    )
    assert settings.rules == Path("r.yaml")
    assert settings.listen == ("[::1]:2526", "127.0.0.1:0")
    assert settings.dns_zone == Path("zone.yaml")
    assert settings.proxy_from == ("10.0.0.0/8", "192.0.2.1/32")


def test_without_options_the_settings_stay():
    assert _with_options(Settings(), None, (), None, ()) == Settings()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "2525"],
        ["--listen", "127.0.0.1:65536"],
        ["--listen", "::1:25"],
        ["--proxy-from", "10.0.0.0/33"],
        ["--proxy-from", "everybody"],
        ["--unknown"],
    ],
    ids=" ".join,
)
def test_an_option_that_makes_no_sense_is_an_error_of_usage(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(gatepost, ["serve", *arguments])
    assert done.exit_code == 2
    assert arguments[-1] in done.stderr


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_taken_port_is_said_in_words_that_help(host, family):
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip(f"there is no {host} here")
        taken.listen()
        port = taken.getsockname()[1]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        with pytest.raises(OSError, match="is in use; use --listen HOST:PORT to choose another") as caught:
            bind(host, port)
        assert str(caught.value).startswith(shown)


def test_an_address_that_is_not_ours_is_said_in_words_that_help():
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: .*; use --listen HOST:PORT"):
        bind("192.0.2.1", 0)


def test_an_absent_rules_file_has_no_stamp_and_a_change_another(tmp_path):
    path = tmp_path / "rules.yaml"
    assert stamps(()) == stamps((path,)) == ()
    path.write_text("one")
    before = stamps((path,))
    path.write_text("three")
    assert before
    assert stamps((path,)) not in (before, ())
