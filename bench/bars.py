"""Bars side by side as SVG: a panel for each measure, a bar for each server, ours in colour."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_LABEL, _BAR, _ROW, _HEAD, _GAP = 190, 220, 24, 52, 70

_FONT = 'font-family="system-ui, sans-serif" font-size="13"'


class Bar(NamedTuple):
    label: str
    value: float
    shown: str
    is_ours: bool


def bars(title: str, panels: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """One drawing. Labels stand left of the first panel only: every panel has the same servers in the same order."""
    height = _HEAD + _ROW * max(len(rows) for _, rows in panels) + 12
    width = _LABEL + len(panels) * (_BAR + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" {_FONT}>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="600" fill="#1b2733">{escape(title)}</text>',
    ]
    for number, (measure, rows) in enumerate(panels):
        left = _LABEL + number * (_BAR + _GAP)
        most = max(row.value for row in rows) or 1
        parts.append(f'<text x="{left}" y="42" fill="#5b6b7b">{escape(measure)}</text>')
        for line, row in enumerate(rows):
            top = _HEAD + line * _ROW
            length = max(1, round(_BAR * row.value / most))
            colour = "#d9480f" if row.is_ours else "#9fb3c8"
            weight = "600" if row.is_ours else "400"
            parts.append(f'<rect x="{left}" y="{top}" width="{length}" height="16" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{left + length + 6}" y="{top + 13}" fill="#1b2733">{escape(row.shown)}</text>')
            if number == 0:
                text = f'<text x="{left - 8}" y="{top + 13}" text-anchor="end" font-weight="{weight}" fill="#1b2733">'
                parts.append(f"{text}{escape(row.label)}</text>")
    return "\n".join([*parts, "</svg>\n"])
