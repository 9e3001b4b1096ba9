"""Settings from a file and the environment, with every error at once and in its place (semantics.md §8).

*Trust.* The file is the operator's. `${NAME}` takes a value from the environment; an unset name is an error where it stands.
"""

import os
import re
from collections.abc import Callable
from collections.abc import Mapping as Names
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gatepost.edge import rate_in
from gatepost.settings import Described, Settings, table
from gatepost.settings_values import (
    address_in,
    checks_in,
    deadline_in,
    endpoint_in,
    hook_in,
    number_in,
    parse_domain_or_below,
    parsed_in,
    url_in,
    workers_in,
    written,
)
from mail.address import parse_mailbox
from rules.load_yaml import parse_yaml
from rules.patterns import pattern_error
from rules.schema_addresses import read_cidr
from rules.schema_findings import Finding, Report, nearest
from rules.schema_nodes import TOP, Mapping, Node, Scalar, Sequence, shown
from rules.schema_reading import Reading
from verdicts.dns_lists import parse_dns_list

MAX_OCTETS = 1 << 20
SEARCHED = (Path("gatepost.yaml"), Path("/etc/gatepost/gatepost.yaml"))
_READERS: dict[str, Callable[[Reading, Node, str], Any]] = {
    "workers": workers_in,
    "rate": rate_in,
    "deadline": deadline_in,
    "number": number_in,
    "endpoint": endpoint_in,
    "hook": hook_in,
    "checks": checks_in,
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LISTS = ("listen", "texts", "cidrs", "paths", "endpoints", "dns_lists", "domains", "addresses", "checks")


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
                    self._reading.error("bad-version", node, f"version is {written(node)}; expected 1")
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
        if row.kind in _READERS:
            return _READERS[row.kind](reading, node, what)
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
            case "url":
                return url_in(reading, node, what, row.words)
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
            "listen": lambda item: address_in(self._reading, item, row.name),
            "dns_lists": lambda item: parsed_in(self._reading, item, row.name, "bad-dns-list", parse_dns_list),
            "endpoints": lambda item: endpoint_in(self._reading, item, row.name),
            "domains": lambda item: parsed_in(
                self._reading,
                item,
                row.name,
                "bad-domain",
                parse_domain_or_below,
                "expected a domain, or .DOMAIN for those below",
            ),
            "addresses": lambda item: parsed_in(
                self._reading,
                item,
                row.name,
                "bad-address",
                parse_mailbox,
                "expected an address, as in ops@example.com",
            ),
        }
        items = node.items if isinstance(node, Sequence) else [node]
        found = [readers[row.kind](item) for item in items]
        return None if None in found else tuple(found)

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


def _at_variable(variable: str, message: str) -> Finding:
    place = f"environment variable {variable}"
    return Finding(severity="error", code="unknown-setting", file=place, line=1, column=1, message=message)
