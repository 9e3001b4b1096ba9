"""A zone file: DNS without a name server, for tests, samples and replays. Its form is `verdicts.dns_zone`'s."""

from pathlib import Path
from typing import Any

from mail.errors import Malformed
from rules.load_yaml import parse_yaml
from rules.schema_findings import Report
from rules.schema_nodes import Mapping, Node, Scalar
from verdicts.dns_zone import ZoneResolver

MAX_OCTETS = 16 << 20


def read_zone(path: Path) -> ZoneResolver:
    """A resolver over the file. Raises `Malformed` with what is wrong in it; OSError if it cannot be read."""
    data = path.read_bytes()
    if len(data) > MAX_OCTETS:
        raise Malformed(f"{path}: larger than {MAX_OCTETS:,} octets")
    report = Report(str(path))
    tree = parse_yaml(data.decode(errors="replace"), report)
    if report.has_errors:
        raise Malformed("\n".join(str(finding) for finding in report.findings()))
    zone = {} if tree is None else _plain(tree)
    if not isinstance(zone, dict):
        raise Malformed(f"{path}: a zone file is a mapping of names to records")
    try:
        return ZoneResolver(zone)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value if isinstance(node.value, int) else node.text
    if isinstance(node, Mapping):
        return {name: _plain(value) for name, (_, value) in node.entries.items()}
    return [_plain(item) for item in node.items]
