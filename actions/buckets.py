"""What s3 needs of a store that speaks S3's protocol; boto3 stands behind it in `gatepost`."""

from collections.abc import Mapping
from typing import Protocol

from mail.octets import Octets


class Buckets(Protocol):
    """`role` is the ARN of a role to take first, "" for none.

    Errors are `Temporary` or `Permanent`, with the service's own words.
    """

    async def put(self, bucket: str, key: str, body: Octets, metadata: Mapping[str, str], *, role: str = "") -> None:
        """Durable when this returns; an object that stands there is replaced."""

    async def get(self, bucket: str, key: str, *, role: str = "") -> tuple[bytes, dict[str, str]]:
        """The body and the user-defined metadata, names in lower case."""
