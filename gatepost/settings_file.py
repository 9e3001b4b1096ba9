"""Settings from a file and the environment, with every error at once and in its place (semantics.md §8).

*Trust.* The file is the operator's. `${NAME}` takes a value from the environment; an unset name is an error where it stands.
"""

import math
import os
import re
from collections.abc import Callable
from collections.abc import Mapping as Names
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gatepost.edge import rate_in
from gatepost.settings import Described, Settings, table
from mail.address import parse_domain, parse_mailbox
from mail.errors import Malformed
from rules.load_yaml import parse_yaml
from rules.patterns import pattern_error
from rules.schema_addresses import read_cidr
from rules.schema_findings import Finding, Report, nearest
from rules.schema_nodes import TOP, Mapping, Node, Scalar, Sequence, shown
from rules.schema_reading import Reading
from verdicts.daemon import parse_endpoint
from verdicts.dns_lists import parse_dns_list

MAX_OCTETS = 1 << 20
MOST_DEADLINE_SECONDS = 120  # semantics.md §5
SEARCHED = (Path("gatepost.yaml"), Path("/etc/gatepost/gatepost.yaml"))
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LISTS = ("listen", "texts", "cidrs", "paths", "endpoints", "dns_lists", "domains", "addresses")
_URL = re.compile(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?\Z")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """`settings` is None if and only if a finding is an error."""

    settings: Settings | None
    findings: tuple[Finding, ...]


def find_settings(config: Path | None, environment: Names[str, str]) -> Path | None:
    """The settings file: `--config`, `$GATEPOST_CONFIG`, ./gatepost.yaml, /etc/gatepost/gatepost.yaml, or none."""
    if config is not None:
        return config
    if environment.get("GATEPOST_CONFIG"):
        return Path(environment["GATEPOST_CONFIG"])
    return next((path for path in SEARCHED if path.is_file()), None)


def load_settings(path: Path | None, environment: Names[str, str] = os.environ) -> LoadedSettings:
    """Read the file, if there is one, and the environment's overrides; `version: 1` is the only other key."""
    report = Report(str(path) if path else "settings")
    base = path.parent if path else Path()
    tree: Node | None = None
    if path is not None:
        text = _text(path, report)
        tree = parse_yaml(text, report) if text is not None else None
    reader = _Reader(Reading(report=report, base=base, check_pattern=pattern_error), environment)
    values = reader.read(tree)
    for name, text in environment.items():
        reader.override(name, text, values)
    if report.has_errors:
        return LoadedSettings(settings=None, findings=report.findings())
    settings = replace(Settings(**values), files=(path,) if path else ())
    beside = base / "rules.yaml"
    if settings.rules is None and path is not None and beside.is_file():
        settings = replace(settings, rules=beside)
    elif settings.rules is None and Path("rules.yaml").is_file():
        settings = replace(settings, rules=Path("rules.yaml"))
    return LoadedSettings(settings=settings, findings=report.findings())


def _text(path: Path, report: Report) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_OCTETS + 1)
        if len(data) > MAX_OCTETS:
            report.error("too-large", TOP, f"the file is larger than {MAX_OCTETS:,} octets")
            return None
        return data.decode()
    except OSError as error:
        report.error("unreadable", TOP, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        report.error("not-utf8", TOP, f"is not UTF-8 text: octet {error.start} is not")
    return None


class _Reader:
    def __init__(self, reading: Reading, environment: Names[str, str]) -> None:
        self._reading = reading
        self._environment = environment
        self._rows = {row.name: row for row in table()}
        self._sections = {name.partition(".")[0] for name in self._rows if "." in name}
        self._tops = {name.partition(".")[0] for name in self._rows} | {"version"}

    def read(self, tree: Node | None) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, (key, node) in self._reading.entries(tree, "the settings", self._tops).items():
            if name == "version":
                if not (isinstance(node, Scalar) and node.value == 1):
                    self._reading.error("bad-version", node, f"version is {_written(node)}; expected 1")
            elif name in self._sections:
                inner = {row.partition(".")[2] for row in self._rows if row.startswith(name + ".")}
                for key_name, (_, value) in self._reading.entries(node, name, inner).items():
                    self._put(self._rows[f"{name}.{key_name}"], value, values)
            else:
                self._put(self._rows[key.text], node, values)
        return values

    def override(self, variable: str, text: str, values: dict[str, Any]) -> None:
        """`GATEPOST_SMTP__SIZE_LIMIT`. Unknown names without `__` are left alone: container platforms set such names."""
        if not variable.startswith("GATEPOST_") or variable == "GATEPOST_CONFIG":
            return
        name = variable.removeprefix("GATEPOST_").lower().replace("__", ".")
        report = Report(f"environment variable {variable}")
        row = self._rows.get(name)
        if row is None:
            if "." in name:
                known = sorted(self._rows)
                self._reading.report.add(_at_variable(variable, f"unknown setting {shown(name)}{nearest(name, known)}"))
            return
        node = parse_yaml(text, report) or Scalar(text, text, True, 1, 1)
        if isinstance(node, Scalar) and row.kind in _LISTS:
            node = Sequence(
                [Scalar(part.strip(), part.strip(), True, 1, 1) for part in text.split(",") if part.strip()], 1, 1
            )
        inner = _Reader(replace(self._reading, report=report, base=Path()), self._environment)
        inner._put(row, node, values)
        for finding in report.findings():
            self._reading.report.add(finding)

    def _put(self, row: Described, node: Node, values: dict[str, Any]) -> None:
        value = self._value(row, self._resolved(node))
        if value is not None:
            values[row.attribute] = value

    def _value(self, row: Described, node: Node) -> Any:
        reading, what = self._reading, row.name
        match row.kind:
            case "text":
                return reading.text(node, what, empty=True)
            case "flag":
                return reading.flag(node, what)
            case "size":
                return reading.octets(node, what)
            case "count":
                return reading.count(node, what)
            case "duration":
                return reading.duration(node, what, most_days=3650)
            case "duration0":
                return (
                    0
                    if isinstance(node, Scalar) and node.text in ("0", "0s")
                    else reading.duration(node, what, most_days=3650)
                )
            case "rate":
                return rate_in(reading, node, what)
            case "deadline":
                return self._deadline(node, what)
            case "number":
                return self._number(node, what)
            case "url":
                return self._url(node, what, row.words)
            case "endpoint":
                return self._endpoint(node, what)
            case "word":
                return reading.word(node, what, row.words)
            case "path":
                text = reading.text(node, what)
                return None if text is None else self._path(text)
            case "map":
                pairs = (
                    (key.text, reading.text(value, f"{what}.{key.text}")) for key, value in reading.named(node, what)
                )
                return {key: value for key, value in pairs if value is not None}
        return self._list(row, node)

    def _list(self, row: Described, node: Node) -> tuple[Any, ...] | None:
        readers: dict[str, Callable[[Node], Any]] = {
            "texts": lambda item: self._reading.text(item, row.name),
            "cidrs": lambda item: read_cidr(self._reading, item, row.name),
            "paths": lambda item: self._path(self._reading.text(item, row.name) or "."),
            "listen": lambda item: self._address(item, row.name),
            "dns_lists": lambda item: self._parsed(item, row.name, "bad-dns-list", parse_dns_list),
            "endpoints": lambda item: self._endpoint(item, row.name),
            "domains": lambda item: self._parsed(
                item, row.name, "bad-domain", _domain, "expected a domain, or .DOMAIN for those below"
            ),
            "addresses": lambda item: self._parsed(
                item, row.name, "bad-address", parse_mailbox, "expected an address, as in ops@example.com"
            ),
        }
        items = node.items if isinstance(node, Sequence) else [node]
        found = [readers[row.kind](item) for item in items]
        return None if None in found else tuple(found)

    def _address(self, node: Node, what: str) -> str | None:
        text = self._reading.text(node, what)
        if text is None:
            return None
        if parse_address(text) is None:
            self._reading.error(
                "bad-address", node, f"{what} is {shown(text)}; expected HOST:PORT, as in 127.0.0.1:2525 or [::]:25"
            )
            return None
        return text

    def _deadline(self, node: Node, what: str) -> int | None:
        seconds = self._reading.duration(node, what, most_days=1)
        if seconds is not None and seconds > MOST_DEADLINE_SECONDS:
            self._reading.error(
                "bad-duration", node, f"{what} is {_written(node)}; expected {MOST_DEADLINE_SECONDS}s at most"
            )
            return None
        return seconds

    def _number(self, node: Node, what: str) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        self._reading.wrong_type(node, what, "a number")
        return None

    def _url(self, node: Node, what: str, words: tuple[str, ...]) -> str | None:
        text = self._reading.text(node, what)
        if text is not None and text not in words and not _URL.match(text):
            expected = f"expected {', '.join((*words, 'a URL'))}, as in http://127.0.0.1:11333"
            self._reading.error("bad-url", node, f"{what} is {shown(text)}; {expected}")
            return None
        return text

    def _endpoint(self, node: Node, what: str) -> str | None:
        text = self._reading.text(node, what)
        if text is not None and parse_endpoint(text) is None:
            expected = "expected unix:/PATH or tcp:HOST:PORT, as in unix:/run/clamav/clamd.ctl"
            self._reading.error("bad-address", node, f"{what} is {shown(text)}; {expected}")
            return None
        return text

    def _parsed(self, node: Node, what: str, code: str, parse: Callable[[str], Any], expected: str = "") -> str | None:
        """The text if `parse` takes it; what it makes of it, if that is text. `expected` stands for what it raises."""
        text = self._reading.text(node, what)
        if text is None:
            return None
        try:
            made = parse(text)
        except Malformed as error:
            self._reading.error(code, node, f"{what} is {shown(text)}; {expected or error}")
            return None
        return made if isinstance(made, str) else text

    def _path(self, text: str) -> Path:
        return self._reading.base / Path(text).expanduser()

    def _resolved(self, node: Node) -> Node:
        if isinstance(node, Sequence):
            return Sequence([self._resolved(item) for item in node.items], node.line, node.column)
        if isinstance(node, Mapping):
            entries = {name: (key, self._resolved(value)) for name, (key, value) in node.entries.items()}
            return Mapping(entries, node.line, node.column)
        if not isinstance(node.value, str) or "${" not in node.text:
            return node
        for name in _VARIABLE.findall(node.text):
            if name not in self._environment:
                self._reading.error("unset-variable", node, f"${{{name}}} is not set in the environment")
        text = _VARIABLE.sub(lambda match: self._environment.get(match.group(1), ""), node.text)
        return Scalar(text, text, True, node.line, node.column)


def parse_address(text: str) -> tuple[str, int] | None:
    """`HOST:PORT` or `[IPv6]:PORT`; port 0 lets the system choose."""
    match = _ADDRESS.match(text)
    if not match or int(match.group(3)) > 65535:
        return None
    return match.group(1) or match.group(2), int(match.group(3))


def _domain(text: str) -> str:
    return "." * text.startswith(".") + parse_domain(text.removeprefix("."))


def _written(node: Node) -> str:
    return shown(node.text) if isinstance(node, Scalar) else "no number"


def _at_variable(variable: str, message: str) -> Finding:
    place = f"environment variable {variable}"
    return Finding(severity="error", code="unknown-setting", file=place, line=1, column=1, message=message)
