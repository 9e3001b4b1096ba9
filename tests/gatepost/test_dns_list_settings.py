"""DNS lists in the settings: read with their codes, and the only ones that a rule may ask about."""

from pathlib import Path

import pytest

from gatepost.library import open_rules
from gatepost.replay import Replayer
from gatepost.sample import read_sample
from gatepost.settings import Settings
from gatepost.settings_file import load_settings
from gatepost.wire import now
from rules.compiled import compile_book
from verdicts.dns_zone import ZoneResolver

RULES = """version: 1
domains: [example.com]
filters: [{name: friend, policy: Allow, cidr: 192.0.2.8}]
active: main
rule_sets:
  main:
    - name: listed
      when: [{dnsbl: bl.example}]
      actions: [{drop: {}}]
    - name: all
      recipients: [example.com]
      actions: [{disk: {path: mail}}]
"""
ZONE = ZoneResolver({f"{last}.2.0.192.bl.example": {"A": ["127.0.0.4"]} for last in (7, 8)})


def settings_with(tmp_path: Path, text: str, **environment: str):
    path = tmp_path / "gatepost.yaml"
    path.write_text(text)
    return load_settings(path, environment)


def rules_file(tmp_path: Path, text: str = RULES) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return path


async def replayed(tmp_path: Path, settings: Settings, ip: str) -> dict:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"From: a@b.example\r\nTo: c@example.com\r\n\r\nHello\r\n")
    opened = open_rules(settings, rules_file(tmp_path))
    assert opened.book is not None, opened.findings
    book = compile_book(opened.book)
    sample = read_sample(mail, {"client_ip": ip, "rcpt_to": "c@example.com"}, book.is_ours, "example.com", now)
    return await Replayer.of(settings, ZONE).replay(sample, book)


def test_lists_are_read_from_file_and_environment(tmp_path: Path) -> None:
    loaded = settings_with(tmp_path, 'dnsbl: {lists: [a.example, "b.example=127.0.0.2,127.0.0.4"], wait: 1s}\n')
    assert loaded.settings.dnsbl_lists == ("a.example", "b.example=127.0.0.2,127.0.0.4")
    assert (loaded.settings.dnsbl_wait, loaded.settings.dnsbl_reject) == (1, True)
    loaded = settings_with(tmp_path, "", GATEPOST_DNSBL__LISTS="a.example,b.example=127.0.0.2;127.0.0.4")
    assert loaded.settings.dnsbl_lists == ("a.example", "b.example=127.0.0.2;127.0.0.4")


@pytest.mark.parametrize("text", ["not a list", "a.example=8.8.8.8", "a.example="])
def test_what_is_no_list_is_an_error_in_its_place(tmp_path: Path, text: str) -> None:
    loaded = settings_with(tmp_path, f'dnsbl: {{lists: ["{text}"]}}\n')
    assert loaded.settings is None
    (finding,) = loaded.findings
    assert (finding.line, finding.column, finding.code) == (1, 17, "bad-dns-list")


def test_a_rule_about_a_list_that_nobody_asks_is_an_error(tmp_path: Path) -> None:
    path = rules_file(tmp_path)
    opened = open_rules(Settings(), path)
    assert opened.book is None
    assert [str(finding) for finding in opened.findings if finding.severity == "error"] == [
        f'{path}:8:22: error: the list "bl.example" is compared, but nobody asks it; the setting dnsbl.lists names none'
    ]
    opened = open_rules(Settings(dnsbl_lists=("bk.example",)), path)
    assert 'names bk.example; did you mean "bk.example"?' in str(opened.findings[0])
    assert open_rules(Settings(dnsbl_lists=("bl.example=127.0.0.2",)), path).book is not None


async def test_a_replay_refuses_the_listed_client_as_the_gateway_does(tmp_path: Path) -> None:
    told = await replayed(tmp_path, Settings(dnsbl_lists=("bl.example",)), "192.0.2.7")
    assert told["reply"]["text"] == "IP address blacklisted by recipient"
    assert told["refused"][0]["by"] == "bl.example"
    told = await replayed(tmp_path, Settings(dnsbl_lists=("bl.example",)), "192.0.2.8")
    assert told["reply"]["code"] == 250
    assert [rule["matched"] for rule in told["rules"]] == [False, True]


async def test_a_replay_shows_the_listing_to_the_rules_where_it_refuses_nobody(tmp_path: Path) -> None:
    settings = Settings(dnsbl_lists=("bl.example",), dnsbl_reject=False)
    told = await replayed(tmp_path, settings, "192.0.2.7")
    assert told["rules"][0]["matched"] is True
    assert told["rules"][0]["conditions"][0]["saw"] == ["bl.example"]
    codes = Settings(dnsbl_lists=("bl.example=127.0.0.2",), dnsbl_reject=False)
    assert (await replayed(tmp_path, codes, "192.0.2.7"))["rules"][0]["matched"] is False
