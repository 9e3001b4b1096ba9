"""AWS, or what speaks its protocols: boto3's clients in threads of their own (the one importer of boto3).

The SDK's own conventions come first: its credential chain, profiles, AWS_REGION, AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3; a
setting that is given stands above them (semantics.md §1). boto3 is imported when a client is first needed: it takes 40 MB.

*Failure.* `Parked` while there are no credentials at all. `Temporary` with the service's own code and text for whatever an operator
or time can mend, which most errors are: a bucket, a key or a grant that is missing can be made. `Permanent` for a request that can
never be right.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from actions.keys import DataKey
from actions.protocol import Parked
from gatepost.octets_file import OctetsFile
from mail.errors import GatepostError, Permanent, Temporary
from mail.octets import Octets, whole

MULTIPART_OCTETS = 16 << 20
_PART_OCTETS = 8 << 20
_FALLBACK_REGION = "us-east-1"
_PERMANENT = frozenset(
    {
        "EntityTooLarge",
        "InvalidBucketName",
        "KeyTooLongError",
        "MetadataTooLarge",
        "InvalidArgument",
        "InvalidCiphertextException",  # KMS: the wrapped key or its context was changed
        "ValidationException",
        "InvalidMessageContents",  # SQS: characters that it does not take
        "InvalidParameterValue",  # SQS: too long
        # Lambda
        "ResourceNotFoundException",
        "InvalidParameterValueException",
        "InvalidRequestContentException",
        "RequestTooLargeException",
    }
)
Value = TypeVar("Value")
_Kind = tuple[str, str, str]  # service, role, region
NO_CREDENTIALS = "no AWS credentials are found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """`endpoints` maps a service to its URL, "" for all the others. `addressing` is S3's: auto, path or virtual.

    `function_seconds` is the wait for a function that was called to answer.
    """

    region: str = ""
    endpoints: Mapping[str, str] | None = None
    addressing: str = "auto"
    assume_roles: bool = True
    threads: int = 32
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 30.0
    function_seconds: float = 30.0


class AwsClients:
    """Clients by service and role, made once. At most `threads` calls run at a time, each with a bounded wait."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(max_workers=settings.threads, thread_name_prefix="aws")
        self._clients: dict[_Kind, Any] = {}
        self._making = threading.Lock()

    async def call(
        self, service: str, operation: str, *, role: str = "", region: str = "", **parameters: Any
    ) -> dict[str, Any]:
        """One call of an operation, by its name in boto3 (`publish`); the answer without a body that is to be read."""
        return await self.run(
            service, lambda client: getattr(client, operation)(**parameters), role=role, region=region
        )

    async def run(self, service: str, use: Callable[[Any], Value], *, role: str = "", region: str = "") -> Value:
        """Let `use` work with the client in a thread; `region` "" is that of the settings or of the SDK's chain."""
        kind = (service, role if self._settings.assume_roles else "", region)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._use, kind, use)

    async def close(self) -> None:
        """What waits is cancelled; what runs ends by its timeout."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    def _use(self, kind: _Kind, use: Callable[[Any], Value]) -> Value:
        import botocore.exceptions as failures  # noqa: PLC0415 - see above: only whoever uses AWS pays for it

        service = kind[0]
        try:
            return use(self._client(kind))
        except failures.NoCredentialsError:
            with self._making:
                self._clients.pop(kind, None)  # it would never look for credentials again
            raise Parked(f"{service}: {NO_CREDENTIALS}") from None
        except failures.ClientError as error:
            raise _judged(error.response.get("Error", {}), error.operation_name) from None
        except (failures.ParamValidationError, failures.InvalidRegionError) as error:
            raise Permanent(f"{service}: {_one_line(error)}") from None
        except (failures.BotoCoreError, failures.HTTPClientError) as error:
            raise Temporary(f"{service}: {_one_line(error)}") from None

    def _client(self, kind: _Kind) -> Any:
        with self._making:  # boto3's sessions are not for several threads; its clients are
            if kind not in self._clients:
                self._clients[kind] = self._make(*kind)
            return self._clients[kind]

    def _make(self, service: str, role: str, region: str) -> Any:
        import boto3  # noqa: PLC0415
        import botocore.session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        settings = self._settings
        core = botocore.session.Session()
        region = region or settings.region or core.get_config_variable("region") or _FALLBACK_REGION
        is_function = service == "lambda"
        config = Config(
            connect_timeout=settings.connect_timeout_seconds,
            read_timeout=settings.function_seconds if is_function else settings.read_timeout_seconds,
            max_pool_connections=settings.threads,
            # The runner tries again for hours; here a second attempt mends only a connection that was closed meanwhile. A
            # function that was too slow would run twice.
            retries={"mode": "standard", "total_max_attempts": 1 if is_function else 2},
            s3={"addressing_style": settings.addressing},
        )
        session = boto3.Session(botocore_session=core, region_name=region)
        if role:
            core._credentials = self._assumed(core, role, region, config)
        return session.client(service, config=config, endpoint_url=self._endpoint(service))

    def _assumed(self, core: Any, role: str, region: str, config: Any) -> Any:
        """Credentials of a role, which renew themselves."""
        from botocore.credentials import (  # noqa: PLC0415
            AssumeRoleCredentialFetcher,
            DeferredRefreshableCredentials,
        )

        def make(service: str, **more: Any) -> Any:
            return core.create_client(
                service, region_name=region, config=config, endpoint_url=self._endpoint(service), **more
            )

        fetcher = AssumeRoleCredentialFetcher(
            make, core.get_credentials(), role, extra_args={"RoleSessionName": "gatepost"}
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")

    def _endpoint(self, service: str) -> str | None:
        endpoints = self._settings.endpoints or {}
        if endpoints.get(service):
            return endpoints[service]
        # The SDK's own variable for this service is nearer than our setting for all of them.
        if os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}"):
            return None
        return endpoints.get("") or None


class AwsBuckets:
    """`actions.buckets.Buckets`, and what the commands need to read and re-wrap objects."""

    def __init__(self, clients: AwsClients, *, multipart_octets: int = MULTIPART_OCTETS) -> None:
        self._clients = clients
        self._multipart_octets = multipart_octets

    async def put(self, bucket: str, key: str, body: Octets, metadata: Mapping[str, str], *, role: str = "") -> None:
        send = self._upload if len(body) > self._multipart_octets else _put
        await self._clients.run("s3", partial(send, bucket, key, body, dict(metadata)), role=role)

    async def get(self, bucket: str, key: str, *, role: str = "") -> tuple[bytes, dict[str, str]]:
        return await self._clients.run("s3", partial(_get, bucket, key), role=role)

    async def head(self, bucket: str, key: str) -> tuple[dict[str, str], str]:
        """The user-defined metadata, and the tag of the body that it belongs to."""
        answer = await self._clients.call("s3", "head_object", Bucket=bucket, Key=key)
        return _lower(answer["Metadata"]), str(answer["ETag"])

    async def replace_metadata(self, bucket: str, key: str, metadata: Mapping[str, str], tag: str) -> None:
        """The store copies the object onto itself, if it is still the one with this tag: its body does not come here."""
        source = {"Bucket": bucket, "Key": key}
        await self._clients.call(
            "s3",
            "copy_object",
            Bucket=bucket,
            Key=key,
            CopySource=source,
            CopySourceIfMatch=tag,
            Metadata=dict(metadata),
            MetadataDirective="REPLACE",
        )

    async def keys(self, bucket: str, prefix: str) -> list[str]:
        return await self._clients.run("s3", lambda client: list(_keys(client, bucket, prefix)))

    def _upload(self, bucket: str, key: str, body: Octets, metadata: dict[str, str], client: Any) -> None:
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

        # In this thread alone: parts of one message do not take the places of other messages.
        config = TransferConfig(
            multipart_threshold=self._multipart_octets, multipart_chunksize=_PART_OCTETS, use_threads=False
        )
        client.upload_fileobj(OctetsFile(body), bucket, key, ExtraArgs={"Metadata": metadata}, Config=config)


class AwsKeys:
    """`actions.keys.KeyProvider` over AWS KMS."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    async def generate(self, key: str, context: Mapping[str, str]) -> DataKey:
        made = await self._clients.call(
            "kms", "generate_data_key", KeyId=key, KeySpec="AES_256", EncryptionContext=dict(context)
        )
        return DataKey(plain=made["Plaintext"], wrapped=made["CiphertextBlob"])

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        found = await self._clients.call("kms", "decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context))
        plain: bytes = found["Plaintext"]
        return plain


def region_of(arn: str) -> str:
    """The region in which an ARN's resource is; "" where it names none."""
    return arn.split(":", 4)[3] if arn.count(":") > 3 else ""


def has_credentials() -> bool:
    """Whether the SDK finds any: in the environment, in its files, or of the machine's role, which is asked for a second."""
    import botocore.exceptions as failures  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415

    core = botocore.session.Session()
    core.set_config_variable("metadata_service_timeout", 1)
    core.set_config_variable("metadata_service_num_attempts", 1)
    try:
        return core.get_credentials() is not None
    except failures.BotoCoreError:
        return False


def _put(bucket: str, key: str, body: Octets, metadata: dict[str, str], client: Any) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=whole(body), Metadata=metadata)


def _get(bucket: str, key: str, client: Any) -> tuple[bytes, dict[str, str]]:
    answer = client.get_object(Bucket=bucket, Key=key)
    with answer["Body"] as body:
        return body.read(), _lower(answer["Metadata"])


def _keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for each in page.get("Contents", ()):
            yield each["Key"]


def _lower(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in metadata.items()}


def _judged(error: Mapping[str, Any], operation: str) -> GatepostError:
    code = str(error.get("Code", "unknown"))
    text = f"{operation}: {code}: {_one_line(error.get('Message', ''))}"
    return Permanent(text) if code in _PERMANENT else Temporary(text)


def _one_line(said: Any) -> str:
    return " ".join(str(said).split())[:500]
