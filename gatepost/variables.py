"""`${NAME}` in a rules file: resolved when an action runs, but missed when the file is loaded (semantics.md §8)."""

import re
from collections.abc import Iterator, Mapping

from rules.load_yaml import parse_yaml
from rules.schema_findings import Finding, Report
from rules.schema_nodes import Mapping as MappingNode
from rules.schema_nodes import Node, Scalar

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def unset_variables(text: str, file: str, environment: Mapping[str, str]) -> tuple[Finding, ...]:
    """An error for each `${NAME}` of a rules file that the environment does not set, where it stands."""
    report = Report(file)
    tree = parse_yaml(text, Report(file))
    for node in _scalars(tree) if tree is not None else ():
        for name in _VARIABLE.findall(node.text):
            if name not in environment:
                report.error("unset-variable", node, f"${{{name}}} is not set in the environment")
    return report.findings()


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, MappingNode):
        for _, value in node.entries.values():
            yield from _scalars(value)
    else:
        for item in node.items:
            yield from _scalars(item)
