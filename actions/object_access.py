"""How a function's process comes to read stored objects: the port behind `AWS_ENDPOINT_URL_S3` (semantics.md §9)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from actions.reach import Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One process's own: `environment` is what an AWS SDK looks for."""

    key_id: str
    environment: Mapping[str, str]


class ObjectAccess(Protocol):
    async def issue(self) -> Credentials:
        """New credentials, good for nothing until something is lent. Raises `Temporary` where nothing can be served."""

    def lend(self, key_id: str, reach: Reach | None) -> None:
        """From now on the credentials read this, and nothing that was lent before; None is nothing."""

    def revoke(self, key_id: str) -> None:
        """The credentials are unknown from now on."""
