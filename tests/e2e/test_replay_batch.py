"""`gatepost replay --batch`: corpora of cases in one process, a line for each in their order."""

from __future__ import annotations

import json
import time
from pathlib import Path

from gateway_process import SAMPLES, run_program
from sample_gateway import MESSAGES, TOUR, ZONE

RULE_SETS = sorted(TOUR.parent.glob("*.yaml"))


def batch(
    lines: list[str], cwd: Path, *options: str | Path, timeout: float = 120
) -> tuple[int, list[dict[str, object]]]:
    listed = cwd / "list.jsonl"
    listed.write_text("".join(line + "\n" for line in lines))
    done = run_program("replay", "--batch", listed, "--json", *options, cwd=cwd, timeout=timeout)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_every_sample_under_every_rule_set_gets_a_line_in_order(tmp_path: Path) -> None:
    cases = [(message, rules) for rules in RULE_SETS for message in MESSAGES]
    lines = [json.dumps({"file": str(file), "rules": str(rules), "dns": str(ZONE)}) for file, rules in cases]
    code, told = batch(lines, tmp_path)
    assert code == 0
    assert [line["file"] for line in told] == [str(file) for file, _ in cases]
    assert all("error" not in line for line in told)


def test_a_line_of_a_batch_is_that_of_a_single_replay(tmp_path: Path) -> None:
    single = run_program("replay", *MESSAGES, "--rules", TOUR, "--dns", ZONE, "--json", cwd=tmp_path)
    _, told = batch([json.dumps({"file": str(path)}) for path in MESSAGES], tmp_path, "--rules", TOUR, "--dns", ZONE)
    assert told == [json.loads(line) for line in single.stdout.splitlines()]


def test_what_cannot_be_replayed_is_a_line_too_and_the_exit_code_tells(tmp_path: Path) -> None:
    good = json.dumps({"file": str(MESSAGES[0]), "rules": str(TOUR), "dns": str(ZONE)})
    (tmp_path / "broken.yaml").write_text("rule_sets: {default: [{name: x, actions: [{dsk: {path: mail}}]}]}\n")
    (tmp_path / "broken-zone.yaml").write_text("example.com: {TEXT: [x]}\n")
    bad = {
        '{"file": "absent.eml"}': "No such file",
        '{"file": "."}': "directory",
        "not json": "not JSON",
        "[]": "expected an object",
        '{"mail_from": "a@b.example"}': "expected an object",
        json.dumps({"file": str(MESSAGES[0]), "rcptto": "x"}): "unknown key rcptto",
        json.dumps({"file": str(MESSAGES[0]), "mail_from": "no address"}): "mail_from",
        json.dumps({"file": str(MESSAGES[0]), "mail_from": 5}): "mail_from",
        json.dumps({"file": str(MESSAGES[0]), "rcpt_to": 5}): "rcpt_to",
        json.dumps({"file": str(MESSAGES[0]), "rcpt_to": [["x"]]}): "rcpt_to",
        json.dumps({"file": str(MESSAGES[0]), "rcpt_to": [None]}): "rcpt_to",
        json.dumps({"file": str(MESSAGES[0]), "dns": {"example.com": {"TEXT": ["x"]}}}): "unknown type TEXT",
        json.dumps({"file": str(MESSAGES[0]), "dns": {"example.com": 5}}): "example.com",
        json.dumps({"file": str(MESSAGES[0]), "client_ip": "300.1.1.1"}): "client_ip",
        json.dumps({"file": str(MESSAGES[0]), "now": "yesterday"}): "now",
        json.dumps({"file": str(MESSAGES[0]), "rules": "absent.yaml"}): "absent.yaml",
        json.dumps({"file": str(MESSAGES[0]), "rules": "broken.yaml"}): "broken.yaml",
        json.dumps({"file": str(MESSAGES[0]), "rules": 5}): "rules",
        json.dumps({"file": str(MESSAGES[0]), "dns": "absent.yaml"}): "No such file",
        json.dumps({"file": str(MESSAGES[0]), "dns": "broken-zone.yaml"}): "example.com",
        json.dumps({"file": str(MESSAGES[0]), "dns": ["x"]}): "dns",
        json.dumps({"file": str(MESSAGES[0]), "helo": 5}): "helo",
        json.dumps({"file": str(MESSAGES[0]), "helo": "mx.b.example\r\nX-Injected: y"}): "helo",
        json.dumps({"file": str(MESSAGES[0]), "helo": "\ud800"}): "helo",
        json.dumps({"file": "\ud800.eml"}): "",
        json.dumps({"file": "a\0b"}): "",
        json.dumps({"file": str(MESSAGES[0]), "now": "9999-12-31T23:59:59-14:00"}): "now",
        '{"file": "x", "now": ' + "9" * 5000 + "}": "",
        '{"file": ' + "[" * 100_000: "",
    }
    lines = [text for line in bad for text in (good, line)]
    code, told = batch(lines, tmp_path)
    assert code == 1
    assert len(told) == len(lines)
    assert all("error" not in line for line in told[::2])
    for line, (case, said) in zip(told[1::2], bad.items(), strict=True):
        assert "error" in line, case[:100]
        assert said in str(line["error"]), case[:100]


def test_paths_are_relative_to_the_list_and_the_list_may_come_through_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "one.eml").write_bytes(b"From: a@b.example\n\nx\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"file": "mail/one.eml", "now": "2026-03-01T12:00:00Z"}\n\n')
    from_file = run_program("replay", "--batch", listed, "--json", "--dns", ZONE, cwd=elsewhere)
    piped = run_program("replay", "--batch", "-", "--json", "--dns", ZONE, cwd=tmp_path, stdin=listed.read_bytes())
    assert from_file.returncode == piped.returncode == 0, from_file.stderr
    assert json.loads(from_file.stdout) == {**json.loads(piped.stdout), "file": str(tmp_path / "mail" / "one.eml")}


def test_a_list_of_windows_is_read_and_what_is_no_utf8_is_said_of_its_line(tmp_path: Path) -> None:
    """One octet of another encoding ended the whole batch with a traceback."""
    good = json.dumps({"file": str(MESSAGES[0]), "dns": str(ZONE)}).encode()
    lines = [b"\xef\xbb\xbf" + good, b'{"file": "\xe9.eml"}', b"\xff\xfe", b"", good]
    (tmp_path / "list.jsonl").write_bytes(b"\r\n".join(lines))
    for source, stdin in (("list.jsonl", None), ("-", b"\r\n".join(lines))):
        done = run_program("replay", "--batch", source, "--json", "--rules", TOUR, cwd=tmp_path, stdin=stdin)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert ["error" in line for line in told] == [False, True, True, False]
        assert (done.returncode, done.stderr) == (1, b"")


def test_a_zone_may_stand_in_the_list_and_postmaster_needs_no_domain(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(b"From: a@b.example\n\nx\n")
    case = {"file": "one.eml", "mail_from": "a@b.example", "client_ip": "192.0.2.1", "now": "2026-03-01T12:00:00Z"}
    zones = [
        {"b.example": {"TXT": ["v=spf1 +all"]}},
        {"b.example": {"TXT": ["v=spf1 -all"]}},
        {"b.example": "SERVFAIL"},
        {},
    ]
    code, told = batch([json.dumps({**case, "dns": zone, "rcpt_to": ["Postmaster"]}) for zone in zones], tmp_path)
    assert code == 0
    spf = [line["verdicts"]["spf"]["results"][0]["result"] for line in told]  # type: ignore[index]
    assert spf == ["pass", "fail", "temperror", "none"]
    assert {str(line["envelope"]["rcpt_to"]) for line in told} == {"['postmaster@localhost']"}  # type: ignore[index]


def test_thousands_of_cases_run_in_one_process(tmp_path: Path, torture: int) -> None:
    count = 3000 if torture > 5 else 600
    files = [path for path in MESSAGES if path.stat().st_size < 100_000]
    cases = [json.dumps({"file": str(files[number % len(files)])}) for number in range(count)]
    started = time.monotonic()
    code, told = batch(cases, tmp_path, "--rules", TOUR, "--dns", ZONE, timeout=900)
    seconds = time.monotonic() - started
    assert (code, len(told)) == (0, count)
    assert len({line["message_id"] for line in told}) == len(files)
    print(f"{count} cases in {seconds:.1f} s: {count / seconds:.0f} a second")


def test_the_samples_say_their_own_verdicts(tmp_path: Path) -> None:
    """A smoke test over the whole: what the samples' first lines promise, they get."""
    done = run_program("replay", SAMPLES / "messages" / "invoice.eml", "--rules", TOUR, "--dns", ZONE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Accepted. 2 of 5 rules matched: mark, invoices." in done.stdout.decode()
