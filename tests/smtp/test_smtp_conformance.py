"""The dialogues of Apache James and chasquid, chasquid's fuzz seeds and the known smuggling endings, against our machine.

The two servers' prose and extension lists are not compared, their reply codes are: class by class, and where the code differs
it stands below with its reason.
"""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from smtp.config import Limits
from tests.smtp.recording import CONFIG, Talk

VECTORS = Path(__file__).parents[1] / "vectors" / "smtp-dialogs"
CHASQUID = sorted((VECTORS / "chasquid").glob("*.cmy"))
JAMES = sorted((VECTORS / "james").glob("*.test"))
SEEDS = sorted((VECTORS / "chasquid-fuzz-seeds").iterdir())
SETTINGS = replace(CONFIG, tls=object(), limits=Limits(message_octets=2**20))

NOT_RUN = {
    "t-04-aliases--test_chasquid_util": "a command-line tool of chasquid's, not SMTP",
    "t-12-minor_dialogs--auth_multi_dialog": "AUTH on a submission port; an MX has none",
    "t-12-minor_dialogs--auth_too_many_failures": "AUTH on a submission port; an MX has none",
    "authplain": "AUTH on a submission port; an MX has none",
    "starttls_session_fixation": "begins with AUTH; what it guards against is proven in test_smtp_machine",
}
OTHER_CODES = {
    ("t-12-minor_dialogs--bad_data_dot", "521", "554"): "semantics.md §7: 554 5.5.2",
    ("t-12-minor_dialogs--bad_data_dot_on_message_too_big", "521", "554"): "semantics.md §7: 554 5.5.2",
    ("t-12-minor_dialogs--bad_rcpt_to", "500", "501"): "RCPT is known, its argument is wrong (RFC 5321 §4.2.2)",
    ("t-12-minor_dialogs--bad_rcpt_to", "550", "553"): "RFC 6531 §3.5: an address that needs SMTPUTF8 is 553 5.6.7",
    ("t-12-minor_dialogs--line_too_long", "554", "501"): "the line is within our limit, and no host name is that long",
    ("t-12-minor_dialogs--wrong_proto", "502", "500"): "an unknown command, and the end of the session",
    ("starttls_with_injection", "451", "220"): "what was sent along is thrown away, and TLS begins (RFC 3207 §4.2)",
}


class Replies:
    """What the machine said and nobody has read yet."""

    def __init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        self.talk = Talk(SETTINGS)
        self._read = 0

    def next_final(self) -> str:
        """The next reply's last line; "" when there is none."""
        lines = self.talk.replies.decode().splitlines()
        while self._read < len(lines):
            line = lines[self._read]
            self._read += 1
            if line[3:4] == " ":
                return line
        return ""


def same_class(name: str, expected: str, heard: str, differing: set[tuple[str, str, str]]) -> None:
    if expected[:3] != heard[:3]:
        differing.add((name, expected[:3], heard[:3]))
        assert (name, expected[:3], heard[:3]) in OTHER_CODES, (expected, heard)


def play_chasquid(path: Path) -> set[tuple[str, str, str]]:
    replies, differing = Replies(), set[tuple[str, str, str]]()
    for line in path.read_text().splitlines():
        match = re.fullmatch(r"c (tcp_connect|close|->|~>|<-|<~|<\.\.\.) ?(.*)", line)
        if not match:
            assert not line or line.startswith("#"), line
            continue
        verb, text = match.groups()
        if verb == "tcp_connect":
            replies.connect()
        elif verb == "->":
            # chasquid takes a recipient without angle brackets; RFC 5321 §4.1.2 does not.
            replies.talk.say(re.sub(r"TO: (\S+@\S+)\Z", r"TO:<\1>", text))
        elif verb == "~>":
            replies.talk.send(evaluated(text))
        elif verb.startswith("<"):
            same_class(path.stem, text, replies.next_final(), differing)
    return differing


def evaluated(text: str) -> bytes:
    """A string literal, or such with `+` and `*`."""

    def value(node: ast.expr) -> str | int:
        if isinstance(node, ast.BinOp):
            left, right = value(node.left), value(node.right)
            return left + right if isinstance(node.op, ast.Add) else left * right  # type: ignore[operator]
        assert isinstance(node, ast.Constant)
        return node.value  # type: ignore[return-value]

    return str(value(ast.parse(text, mode="eval").body)).encode()


def play_james(path: Path) -> set[tuple[str, str, str]]:
    replies, differing = Replies(), set[tuple[str, str, str]]()
    expected: list[str] = []
    for line in path.read_text().splitlines():
        side, _, text = line.partition(":")
        text = text.removeprefix(" ")
        if side == "C":
            sent = text.replace("\\r\\n", "\r\n").encode()
            replies.talk.send(sent if sent.endswith(b"\r\n") else sent + b"\r\n")
        elif side == "S" and text[3:4] == " ":  # not `250.*` and `250-...`, the first and middle lines of a reply
            expected.append(text)
    for text in expected:
        same_class(path.stem, text, replies.next_final(), differing)
    return differing


def test_every_dialogue_is_run_or_has_its_reason() -> None:
    names = {path.stem for path in (*CHASQUID, *JAMES)}
    assert len(names) == 18
    assert set(NOT_RUN) <= names
    differing: set[tuple[str, str, str]] = set()
    for path in CHASQUID:
        if path.stem not in NOT_RUN:
            differing |= play_chasquid(path)
    for path in JAMES:
        if path.stem not in NOT_RUN:
            differing |= play_james(path)
    assert differing == set(OTHER_CODES)
    print(
        f"dialogues: {len(CHASQUID)} of chasquid, {len(JAMES)} of James, {len(NOT_RUN)} not run; fuzz seeds: {len(SEEDS)}; "
        f"smuggling endings: {len(ENDINGS)}; replies that differ with a reason: {len(differing)}"
    )


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
@pytest.mark.parametrize("as_crlf", [False, True])
def test_fuzz_seeds_are_answered_and_never_raise(seed: Path, as_crlf: bool) -> None:
    literal = re.search(r'\[\]byte\((".*")\)', seed.read_text())
    assert literal is not None
    said = ast.literal_eval(literal[1]).encode()
    talk = Talk(SETTINGS)
    talk.send(said.replace(b"\n", b"\r\n") if as_crlf else said)
    codes = {line[:3] for line in talk.replies.decode().splitlines()}
    assert "220" in codes
    if not as_crlf:
        assert "554" in codes  # a bare LF ends the session


ENDINGS = json.loads((VECTORS / "smuggling-endings.json").read_text())["sequences"]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending["id"])
def test_no_smuggling_ending_ends_the_data(ending: dict[str, str]) -> None:
    smuggled = b"MAIL FROM:<smuggled@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\nsmuggled\r\n.\r\n"
    talk = Talk(CONFIG).open()
    talk.send(b"DATA\r\nSubject: x\r\n\r\nbody" + bytes.fromhex(ending["hex"]) + smuggled)
    assert len(talk.messages) <= 1
    for _, raw in talk.messages:  # only where the sequence holds no bare CR or LF: it is content then
        assert b"smuggled" in raw
    if b"\0" not in bytes.fromhex(ending["hex"]):
        assert talk.messages == []
        assert b"554 5.5.2" in talk.replies


def test_there_are_twelve_smuggling_endings() -> None:
    assert len(ENDINGS) == 12
