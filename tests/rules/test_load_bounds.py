"""A rules file may be large, strange or hostile: it is answered with findings, in bounded time and memory."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.load import MAX_BOOK_OCTETS, Limits, load_book, load_text
from rules.schema_findings import MAX_FINDINGS

BASE = Path("/nowhere")
SAMPLE = (Path(__file__).parents[1] / "cases" / "rules_good" / "every-condition.yaml").read_bytes()


def codes(content, **options):
    return [finding.code for finding in load_text(content, "rules.yaml", BASE, **options).findings]


def rules(count, body):
    return "".join(f"    - {{name: r{number}, {body.format(number)}}}\n" for number in range(count))


def test_ten_thousand_rules_load_in_seconds():
    body = "recipients: [u{0}@example.com, v{0}@example.com], when: [{{dmarc: FAIL}}], actions: [{{disk: {{path: a}}}}, stop]"
    text = "rule_sets:\n  default:\n" + rules(10_000, body)
    started = time.process_time()
    loaded = load_text(text.encode(), "rules.yaml", BASE)
    assert len(loaded.book.rule_set.rules) == 10_000
    assert time.process_time() - started < 15  # about 2 s; a quadratic check would take minutes


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"#" * (MAX_BOOK_OCTETS + 1))
    assert [finding.code for finding in load_book(path).findings] == ["unreadable-file"]
    assert codes(b"#" * (MAX_BOOK_OCTETS + 1)) == ["unreadable-file"]


@pytest.mark.parametrize("name", ["missing.yaml", ".", "\0"])
def test_a_file_that_is_none_is_a_finding(tmp_path, name):
    loaded = load_book(tmp_path / name)
    assert [finding.code for finding in loaded.findings] == ["unreadable-file"]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * MAX_BOOK_OCTETS,
        b"- " * (MAX_BOOK_OCTETS // 2),
        b"? " * 100_000,
        b"a: &a [*a]\n",
        b"{a: &a {b: *a}}",
        b"x: " + b"'" * 100_001,
        b"[" + b"a," * (MAX_BOOK_OCTETS // 2 - 1) + b"]",
    ],
    ids=["brackets", "dashes", "keys", "endless", "endless-json", "quotes", "items"],
)
def test_bombs_are_refused_quickly(content):
    started = time.process_time()
    loaded = load_text(content, "rules.yaml", BASE)
    assert loaded.book is None
    assert time.process_time() - started < 15


def test_aliases_count_as_what_they_stand_for():
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 30)]
    assert codes(b"\n".join(lines)) == ["too-many-values"]


def test_reading_stops_after_a_thousand_errors():
    text = "rule_sets:\n  default:\n" + "    - {nme: x}\n" * 100_000
    started = time.process_time()
    found = load_text(text.encode(), "rules.yaml", BASE)
    assert found.findings[-1].code == "too-many-findings"
    assert len(found.errors) == MAX_FINDINGS + 1
    assert time.process_time() - started < 15


def test_many_warnings_never_hide_an_error():
    text = "rule_sets:\n  default:\n" + rules(1_500, "actions: [], recipients: [a{0}@b.example]") + "    - {name: r0}\n"
    limits = Limits(rules=10_000)
    assert codes(text.encode(), limits=limits) == ["duplicate-rule"]
    loaded = load_text(text.replace("    - {name: r0}\n", "").encode(), "rules.yaml", BASE, limits=limits)
    assert loaded.book is not None
    assert loaded.findings[-1].message == "and 501 more warnings that are not shown"


def test_limits_can_be_raised():
    text = b"rule_sets: {default: [{name: a, actions: [drop]}, {name: b, recipients: [], actions: [drop, drop]}]}"
    assert codes(text, limits=Limits(rules=1, actions=1)) == ["ses-limit", "ses-limit"]
    assert codes(text, limits=Limits(rules=2, actions=2)) == []


def test_a_list_file_is_bounded_and_must_be_a_file(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        "filters: [{name: a, policy: Block, file: /dev/zero}]\nrule_sets: {a: [{name: a, actions: [drop]}]}"
    )
    (finding,) = load_book(path).findings
    assert (finding.code, finding.message) == ("unreadable-file", 'filter file "/dev/zero" is not a regular file')


def test_findings_in_a_list_name_that_file_and_line(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "bad.list").write_text("# bad\n  300.0.2.0/24\n")
    path = tmp_path / "rules.yaml"
    path.write_text(
        "filters: [{name: a, policy: Block, file: lists/bad.list}]\nrule_sets: {a: [{name: a, actions: [drop]}]}"
    )
    (finding,) = load_book(path).findings
    assert (finding.file, finding.line, finding.column) == (str(tmp_path / "lists" / "bad.list"), 2, 3)


@pytest.mark.parametrize(
    "content", [b"\xff\xfev\0", b"a: \xe9", b"a: \x00b", b"a: \x1b[2J", "a: \u009b".encode(), b"\xed\xa0\x80"]
)
def test_what_is_not_printable_utf8_is_refused_and_not_echoed(content):
    (finding,) = load_text(content, "rules.yaml", BASE).findings
    assert finding.code in ("not-utf8", "control-character")
    assert str(finding).isprintable()


def test_a_terminal_escape_in_a_value_is_not_echoed():
    found = load_text(b'rule_sets:\n  a: [{"n\\e[2Jx": 1, name: a, actions: [drop]}]', "rules.yaml", BASE).findings
    assert [finding.code for finding in found] == ["unknown-key"]
    assert str(found[0]).isprintable()


@given(st.binary(max_size=300))
def test_any_bytes_are_findings_or_a_book_and_never_an_exception(content):
    loaded = load_text(content, "rules.yaml", BASE)
    assert (loaded.book is None) == bool(loaded.errors)


@given(
    st.integers(0, len(SAMPLE) - 1),
    st.integers(0, 40),
    st.sampled_from([b"", b"\t", b"*", b"[", b"}", b": ", b"'", b"&a ", b"- ", b"\n"]),
)
def test_any_damage_to_a_good_file_is_findings_or_a_book(start, length, put):
    content = SAMPLE[:start] + put + SAMPLE[start + length :]
    loaded = load_text(content, "rules.yaml", Path(__file__).parents[1] / "cases" / "rules_good")
    assert (loaded.book is None) == bool(loaded.errors)
    assert all(str(finding).isprintable() for finding in loaded.findings)
