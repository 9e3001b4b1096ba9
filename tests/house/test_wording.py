"""Nothing unfinished, no field written by hand, no failure swallowed, no address of a package index."""

from __future__ import annotations

import ast
import re

from house_tree import ROOT, parse, shown, sources, tracked

# Header fields are written by these: they refuse CR, LF and NUL, and fold.
FIELD_WRITERS = {"mail/trace_fields.py", "mail/headers.py", "mail/dsn.py"}
FIELD_BY_HAND = re.compile(r"[A-Za-z0-9}-]: ?[^\r\n]*\r\n")
# An edge may take any exception, if it says it in its own language and keeps the detail: the file, and what it says.
EDGES = {
    "verdicts/check_spf.py": "permerror: a hostile record found a hole in pyspf",
    "verdicts/driver.py": "the check's crash is its result, with the trace as evidence",
    "verdicts/inquiry.py": "temperror: the resolver broke its contract",
    "verdicts/scans.py": "PROCESSING_FAILED with the engine's fault",
    "smtp/calls.py": "handed on to the coroutine that it belongs to",
    "smtp/driver.py": "451 4.3.0, and the trace in the log",
    "spool/control.py": "an answer on the control socket, and the trace in the log",
    "spool/writer.py": "the unit's own error, raised to its caller",
    "actions/runner.py": "the job is parked",
    "actions/function_worker.py": "the user's function failed: an error frame to the host",
    "actions/object_store.py": "every waiting put gets the error, and parks",
    "gatepost/s3_endpoint_server.py": "InternalError in S3's words, and the trace in the log",
    "actions/plugin.py": "a plug-in that does not say where it goes: nowhere, and the log says why",
    "actions/table.py": "a plug-in cannot be made: said at the start, which it stops",
    "gatepost/alert_sinks.py": "this look is given up, with the trace in the log; the next one is made",
    "gatepost/plugins.py": "a plug-in cannot be loaded, or its reader fails: a finding",
}
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|NotImplemented" r"Error)\b")
INDEXES = re.compile(
    r"pypi\." r"org|python" r"hosted|registry\.npm" r"js|proxy\.go" r"lang|https?://[^\s\"'`<>]+/simp" r"le\b"
)


def test_nothing_is_left_unfinished() -> None:
    files = [*sources(), *(ROOT / "tools").rglob("*.py"), *(ROOT / "tools").rglob("*.sh"), ROOT / "Makefile"]
    lines = [(path, number, line) for path in files for number, line in enumerate(path.read_text().splitlines(), 1)]
    assert [f"{shown(path)}:{number}" for path, number, line in lines if UNFINISHED.search(line)] == []


def text_of(node: ast.AST) -> str:
    """A literal or f-string as text, with `{}` for what is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) if isinstance(value, ast.Constant) else "{}" for value in node.values)
    return ""


def test_header_fields_are_written_in_one_place() -> None:
    # RFC 5322 §2.2: a field built by hand is where a CR LF from outside becomes a second field.
    by_hand = [
        f"{shown(path)}:{getattr(node, 'lineno', 0)}"
        for path in sources()
        if shown(path) not in FIELD_WRITERS
        for node in ast.walk(parse(path))
        if FIELD_BY_HAND.search(text_of(node))
    ]
    assert by_hand == []


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it takes every exception."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or getattr(kind, "id", "") in ("Exception", "BaseException") for kind in kinds)


def passes_on(handler: ast.ExceptHandler) -> bool:
    """Whether its last word is to raise the same again."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_only_edges_take_every_exception() -> None:
    taken = [
        f"{shown(path)}:{node.lineno}"
        for path in sources()
        if shown(path) not in EDGES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ExceptHandler) and is_broad(node) and not passes_on(node)
    ]
    assert taken == []


def test_no_exception_is_passed_over_in_silence() -> None:
    # `suppress(Exception)` and a broad handler whose body is `pass` lose what happened, at an edge as anywhere.
    silent = [
        f"{shown(path)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(parse(path))
        if (isinstance(node, ast.ExceptHandler) and is_broad(node) and isinstance(node.body[0], ast.Pass))
        or (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", "")) == "suppress"
            and any(getattr(argument, "id", "") in ("Exception", "BaseException") for argument in node.args)
        )
    ]
    assert silent == []


def test_no_file_names_a_package_index() -> None:
    naming = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        if INDEXES.search(text):
            naming.append(shown(path))
    assert naming == []


def test_the_locks_hold_names_versions_and_hashes_only() -> None:
    for path in sorted(ROOT.glob("requirements*.lock")):
        assert "://" not in path.read_text()
        pinned = re.findall(r"^\S+", path.read_text(), re.MULTILINE)
        assert pinned
        assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.!+]+", name) for name in pinned if name != "#")
