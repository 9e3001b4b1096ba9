"""The settings as the parent hands them to a worker: as it read them, with the command line's options."""

from pathlib import Path
from typing import Any

import msgspec

from gatepost.settings import Settings


def packed(settings: Settings) -> dict[str, Any]:
    """JSON-able."""
    built: dict[str, Any] = msgspec.to_builtins(settings, enc_hook=str)
    return built


def unpacked(values: dict[str, Any]) -> Settings:
    """What `packed` was given."""
    return msgspec.convert(values, Settings, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    return kind(value) if kind is Path else value
