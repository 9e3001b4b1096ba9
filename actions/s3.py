"""s3: the message as objects of a bucket, in SES's layout (SES: S3 action; `actions.object_key` has the keys).

*Standards.* SES: object key, client-side encryption, 40 MB, IamRoleArn. The object is the message as disk stores it.
*Trust.* The bucket is configured. Keys hold strangers' values, made safe before.
*Failure.* The store's answer decides (`actions.buckets`): what an operator can mend, a bucket that is not there or a policy that
denies, is tried again; what no attempt can change is dead at once.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from actions.buckets import Buckets
from actions.envelope_encryption import Encryption
from actions.object_key import object_keys
from actions.protocol import Context, Parked
from actions.stored_objects import counted, facts, stored_objects
from mail.errors import Permanent
from mail.outcome import Outcome, Result

SIZE_LIMIT = 40_000_000  # SES: default maximum message size for S3


class S3:
    """A repeated step overwrites the same keys; it is done when all of them are stored."""

    def __init__(
        self, buckets: Buckets | None, encryption: Encryption | None = None, *, size_limit: int = SIZE_LIMIT
    ) -> None:
        self._buckets = buckets
        self._encryption = encryption
        self._size_limit = size_limit

    def destination(self, parameters: Mapping[str, Any]) -> str:
        bucket = parameters.get("bucket_name")
        return f"s3://{bucket}" if bucket else ""

    async def run(self, context: Context) -> Outcome:
        if self._buckets is None:
            raise Parked("no S3 client is configured")
        bucket = str(context.parameters["bucket_name"])
        role = str(context.parameters.get("iam_role_arn") or "")
        if len(context.content) > self._size_limit:
            raise Permanent(f"the message has {len(context.content):,} octets, more than s3.size_limit allows")
        layout = object_keys(context)
        async for batch in stored_objects(context, layout, self._encryption):
            puts = [self._buckets.put(bucket, each.key, each.body, each.metadata, role=role) for each in batch]
            for result in await asyncio.gather(*puts, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
        place = f"s3://{bucket}/{layout[0].key}"
        detail = f"stored as {place}{counted(layout)}"
        return Outcome(result=Result.DONE, detail=detail, data={**facts(layout), "bucket": bucket})
