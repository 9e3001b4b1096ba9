"""Functions, made from the settings: those that run here, in containers and on AWS."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from actions.function_answers import RemoteFunctions
from actions.function_host import FunctionHost, FunctionSettings
from actions.function_process import REPLY_OCTETS
from actions.runtime_interface import RuntimeInterface
from gatepost.aws_functions import AwsFunctions
from gatepost.http_client import AiohttpClient
from gatepost.s3_endpoint_objects import StoredObjects
from gatepost.s3_endpoint_server import S3Endpoint
from gatepost.settings import Settings
from gatepost.storage import Storage

EMBEDDED, NONE = "embedded", "none"
# What the SDK consists of; AWS's own Python runtime brings it along.
SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
# Who lends functions one of these says where they read, and as whom: the endpoint's own credentials would contradict it.
_OWN_ACCESS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """Used in one event loop, closed after the runner has drained. Nothing is started before the first call."""

    host: FunctionHost
    elsewhere: Mapping[str, RemoteFunctions]
    http: AiohttpClient
    endpoint: S3Endpoint | None = None

    async def close(self) -> None:
        await self.host.close()
        if self.endpoint is not None:
            await self.endpoint.close()
        await self.http.close()


def functions_of(settings: Settings, storage: Storage, clock: Callable[[], datetime]) -> Functions:
    """Functions are looked for beside the rules file unless the settings say otherwise (semantics.md §9)."""
    path = settings.functions_path or ((settings.rules.parent,) if settings.rules is not None else (Path(),))
    host = FunctionSettings(
        path=tuple(directory.resolve() for directory in path),
        python=settings.functions_python or None,
        processes=settings.functions_processes,
        timeout_seconds=settings.functions_timeout,
        memory_octets=settings.functions_memory,
        environment=_environment(settings),
        packages=_sdk(),
    )
    endpoint = None
    if settings.functions_s3_endpoint == EMBEDDED and not _OWN_ACCESS.intersection(settings.functions_environment):
        endpoint = S3Endpoint(StoredObjects(storage.clients, storage.keys), clock, _region(settings))
    # A client of its own: a function may answer more than the beginning of a reply that webhooks look at.
    http = AiohttpClient(private_hosts=settings.webhook_private_hosts, reply_octets=REPLY_OCTETS)
    containers = RuntimeInterface(http, settings.functions_timeout)
    return Functions(
        host=FunctionHost(host, endpoint),
        elsewhere={"arn": AwsFunctions(storage.clients), "http": containers, "https": containers},
        http=http,
        endpoint=endpoint,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """What the operator lends, above the region and the URL of another store."""
    named = {name: os.environ[name] for name in settings.functions_environment if name in os.environ}
    if settings.functions_s3_endpoint in (EMBEDDED, NONE):
        return named
    region = _region(settings)
    return {
        "AWS_ENDPOINT_URL_S3": settings.functions_s3_endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    } | named


def _region(settings: Settings) -> str:
    chain = (settings.aws_region, os.environ.get("AWS_REGION"), os.environ.get("AWS_DEFAULT_REGION"))
    return next((region for region in chain if region), "us-east-1")


def _sdk() -> dict[str, str]:
    """Where each package of the SDK stands; nothing is imported for that."""
    found = ((name, find_spec(name)) for name in SDK)
    origins = ((name, spec.origin) for name, spec in found if spec is not None and spec.origin)
    return {name: str(_directory_of(Path(origin))) for name, origin in origins}


def _directory_of(origin: Path) -> Path:
    return origin.parent.parent if origin.name == "__init__.py" else origin.parent
