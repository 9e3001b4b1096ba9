"""Samples of several processes made into one text for Prometheus (exposition format 0.0.4). Pure.

*Trust.* The values of labels may be names from a rules file: they are escaped, so none can end its line or begin another.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from gatepost.metrics_table import BY_NAME, FAMILIES, PREFIX, Family
from mail.counters import Key, Labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUFFIXES = ("_bucket", "_sum", "_count")

Samples = Mapping[Key, float]


def merged(parts: Iterable[Samples]) -> dict[Key, float]:
    """The samples of all processes as one: counts add up, and a gauge as its family says."""
    found: dict[Key, float] = {}
    for part in parts:
        for key, value in part.items():
            if key not in found:
                found[key] = value
                continue
            family = family_of(key[0])
            match "sum" if family is None else family.merge:
                case "max":
                    found[key] = max(found[key], value)
                case "min":
                    found[key] = min(found[key], value)
                case _:
                    found[key] += value
    return found


def family_of(name: str) -> Family | None:
    """The row of a sample's name; a histogram's samples have suffixes."""
    if name in BY_NAME:
        return BY_NAME[name]
    for suffix in _SUFFIXES:
        family = BY_NAME.get(name.removesuffix(suffix))
        if family is not None and family.kind == "histogram":
            return family
    return None


def rendered(samples: Samples) -> str:
    """The text that Prometheus scrapes, families in the order of the table; what the table does not know is left out."""
    known: dict[str, list[tuple[Key, float]]] = {}
    for key, value in samples.items():
        family = family_of(key[0])
        if family is not None:
            known.setdefault(family.name, []).append((key, value))
    return "".join(line for family in FAMILIES if family.name in known for line in _lines(family, known[family.name]))


def _lines(family: Family, samples: list[tuple[Key, float]]) -> Iterator[str]:
    name = PREFIX + family.name
    yield f"# HELP {name} {_escaped(family.text)}\n"
    yield f"# TYPE {name} {family.kind}\n"
    # The buckets of a histogram go from the lowest bound to the highest; everything else in the order of its labels.
    for (sample, labels), value in sorted(samples, key=lambda found: (_order(found[0]), found[0])):
        yield f"{PREFIX}{sample}{_labels(labels)} {_number(value)}\n"


def _order(key: Key) -> tuple[int, float]:
    name, labels = key
    position = next((number for number, suffix in enumerate(_SUFFIXES) if name.endswith(suffix)), 0)
    return position, float(dict(labels).get("le", 0))


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def by_label(samples: Samples, name: str, label: str) -> dict[str, float]:
    """The values of one name added up by one of its labels, in the label's order."""
    found = sorted((dict(labels).get(label, ""), value) for (each, labels), value in samples.items() if each == name)
    return {word: sum(value for _, value in group) for word, group in groupby(found, key=itemgetter(0))}


def total(samples: Samples, name: str) -> float:
    """All values of one name, added up."""
    return sum(value for (each, _), value in samples.items() if each == name)
