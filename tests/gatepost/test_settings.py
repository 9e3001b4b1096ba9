"""Settings: one table, a file, the environment, and every error at once."""

from pathlib import Path

import pytest

from gatepost.settings import Settings, table
from gatepost.settings_file import find_settings, load_settings
from gatepost.settings_values import parse_address


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None):
    path = tmp_path / "gatepost.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environment or {})


def findings(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    return [str(finding).removeprefix(f"{tmp_path}/") for finding in load(tmp_path, text, environment).findings]


def test_without_a_file_every_default_holds():
    assert load_settings(None, {}).settings == Settings()


def test_every_error_of_a_file_is_told_at_once(tmp_path):
    sections = sorted({"version", *(row.name.partition(".")[0] for row in table())})
    smtp, tls = (
        sorted(row.name.removeprefix(start) for row in table() if row.name.startswith(start))
        for start in ("smtp.", "tls.")
    )
    assert findings(
        tmp_path,
        "version: 2\nlisen: [a]\nsmtp: {size_limit: 5XB, recipient: 3, bare_newline: rejct}\nhostname: ${FOO}\nlisten: abc\n"
        "tls: yes\nproxy_from: [10.0.0.0/99]\nretention: {full: soon}\n",
    ) == [
        'gatepost.yaml:1:10: error: version is "2"; expected 1',
        f'gatepost.yaml:2:1: error: unknown key "lisen" in the settings; expected {", ".join(sections[:-1])} or {sections[-1]}; '
        'did you mean "listen"?',
        'gatepost.yaml:3:20: error: smtp.size_limit is the text "5XB"; expected a size such as 500KB, 5MB (10^6) or 5MiB (2^20)',
        f'gatepost.yaml:3:25: error: unknown key "recipient" in smtp; expected {", ".join(smtp[:-1])} or {smtp[-1]}; '
        'did you mean "recipients"?',
        'gatepost.yaml:3:53: error: smtp.bare_newline is the text "rejct"; expected reject or normalise; did you mean "reject"?',
        "gatepost.yaml:4:11: error: ${FOO} is not set in the environment",
        'gatepost.yaml:5:9: error: listen is "abc"; expected HOST:PORT, as in 127.0.0.1:2525 or [::]:25',
        f'gatepost.yaml:6:6: error: tls is the text "yes"; expected a mapping with {", ".join(tls[:-1])} or {tls[-1]}',
        'gatepost.yaml:7:14: error: proxy_from "10.0.0.0/99" is not a network (an IPv4 prefix is 0 to 32, not 99); '
        "expected a form such as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/32",
        'gatepost.yaml:8:19: error: retention.full is the text "soon"; expected a number with s, m, h or d, as in 4h',
    ]


def test_a_rate_is_read_as_it_is_written(tmp_path):
    settings = load(tmp_path, "rates: {messages_per_ip: 600/1h}\n").settings
    assert settings.rates_messages_per_ip == "600/1h"
    assert findings(tmp_path, "rates: {messages_per_ip: often}\n") == [
        'gatepost.yaml:1:26: error: rates.messages_per_ip is "often"; expected a count and a time, as in 600/1h, or none'
    ]


def test_trusted_sealers_are_domains_or_what_is_below_one(tmp_path):
    settings = load(tmp_path, "arc: {trusted_sealers: [Lists.Example, .hub.example, bücher.example]}\n").settings
    assert settings.arc_trusted_sealers == ("lists.example", ".hub.example", "xn--bcher-kva.example")
    assert load(
        tmp_path, "", {"GATEPOST_ARC__TRUSTED_SEALERS": "a.example, .b.example"}
    ).settings.arc_trusted_sealers == (
        "a.example",
        ".b.example",
    )
    assert findings(tmp_path, "arc: {trusted_sealers: ['*.example', a@b.example]}\n") == [
        'gatepost.yaml:1:25: error: arc.trusted_sealers is "*.example"; expected a domain, or .DOMAIN for those below',
        'gatepost.yaml:1:38: error: arc.trusted_sealers is "a@b.example"; expected a domain, or .DOMAIN for those below',
    ]


def test_a_file_with_errors_gives_no_settings(tmp_path):
    assert load(tmp_path, "listen: abc\n").settings is None


def test_values_are_read_in_their_units(tmp_path):
    settings = load(
        tmp_path,
        "version: 1\nsmtp: {size_limit: 10MiB}\nretention: {full: 0s, headers: 2d}\nlisten: ['[::1]:25', 'localhost:2525']\n"
        "hostname: ${NAME}.example.com\narns: {'arn:aws:lambda:eu-west-1:1:function:x': 'python:a:b'}\n",
        {"NAME": "mx"},
    ).settings
    assert settings.smtp_size_limit == 10 * 2**20
    assert (settings.retention_full, settings.retention_headers) == (0, 2 * 86400)
    assert settings.listen == ("[::1]:25", "localhost:2525")
    assert settings.hostname == "mx.example.com"
    assert settings.arns == {"arn:aws:lambda:eu-west-1:1:function:x": "python:a:b"}


def test_paths_are_relative_to_the_file_that_names_them(tmp_path):
    settings = load(tmp_path, "data: state\nrules: my/rules.yaml\n").settings
    assert settings.data == tmp_path / "state"
    assert settings.rules == tmp_path / "my/rules.yaml"


def test_rules_yaml_beside_the_settings_is_found(tmp_path):
    (tmp_path / "rules.yaml").write_text("x", encoding="utf-8")
    assert load(tmp_path, "version: 1\n").settings.rules == tmp_path / "rules.yaml"


def test_the_environment_overrides_the_file(tmp_path):
    settings = load(
        tmp_path,
        "smtp: {recipients: 5}\n",
        {"GATEPOST_SMTP__RECIPIENTS": "7", "GATEPOST_LISTEN": "127.0.0.1:1, 127.0.0.1:2"},
    ).settings
    assert settings.smtp_recipients == 7
    assert settings.listen == ("127.0.0.1:1", "127.0.0.1:2")


def test_an_override_with_an_error_names_the_variable(tmp_path):
    assert findings(
        tmp_path, "version: 1\n", {"GATEPOST_SMTP__RECIPIENT": "7", "GATEPOST_SMTP__SIZE_LIMIT": "big"}
    ) == [
        'environment variable GATEPOST_SMTP__RECIPIENT:1:1: error: unknown setting "smtp.recipient"; '
        'did you mean "smtp.recipients"?',
        'environment variable GATEPOST_SMTP__SIZE_LIMIT:1:1: error: smtp.size_limit is the text "big"; '
        "expected a size such as 500KB, 5MB (10^6) or 5MiB (2^20)",
    ]


def test_names_that_container_platforms_set_are_left_alone(tmp_path):
    assert load(
        tmp_path, "version: 1\n", {"GATEPOST_PORT": "tcp://10.0.0.1:25", "GATEPOST_SERVICE_HOST": "10.0.0.1"}
    ).settings


def test_a_missing_file_is_an_error_not_a_default(tmp_path):
    loaded = load_settings(tmp_path / "absent.yaml", {})
    assert loaded.settings is None
    assert [finding.code for finding in loaded.findings] == ["unreadable"]


def test_the_command_line_wins_over_the_environment():
    assert find_settings(Path("a"), {"GATEPOST_CONFIG": "b"}) == Path("a")
    assert find_settings(None, {"GATEPOST_CONFIG": "b"}) == Path("b")


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_each_setting_is_described(row):
    assert row.attribute == row.name.replace(".", "_")
    assert row.text


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":25", "1.2.3.4:99999", "::1:25", "[::1]", "a b:25"])
def test_anything_else_is_no_address(text):
    assert parse_address(text) is None
