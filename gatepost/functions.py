"""Functions, made from the settings: those that run here, in containers and on AWS."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actions.function_answers import RemoteFunctions
from actions.function_host import FunctionHost, FunctionSettings
from actions.function_process import REPLY_OCTETS
from actions.runtime_interface import RuntimeInterface
from gatepost.aws_functions import AwsFunctions
from gatepost.http_client import AiohttpClient
from gatepost.settings import Settings
from gatepost.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """Used in one event loop, closed after the runner has drained. Nothing is started before the first call."""

    host: FunctionHost
    elsewhere: Mapping[str, RemoteFunctions]
    http: AiohttpClient

    async def close(self) -> None:
        await self.host.close()
        await self.http.close()


def functions_of(settings: Settings, storage: Storage) -> Functions:
    """Functions are looked for beside the rules file unless the settings say otherwise (semantics.md §9)."""
    path = settings.functions_path or ((settings.rules.parent,) if settings.rules is not None else (Path(),))
    host = FunctionSettings(
        path=tuple(directory.resolve() for directory in path),
        python=settings.functions_python or None,
        processes=settings.functions_processes,
        timeout_seconds=settings.functions_timeout,
        memory_octets=settings.functions_memory,
        environment={name: os.environ[name] for name in settings.functions_environment if name in os.environ},
    )
    # A client of its own: a function may answer more than the beginning of a reply that webhooks look at.
    http = AiohttpClient(private_hosts=settings.webhook_private_hosts, reply_octets=REPLY_OCTETS)
    containers = RuntimeInterface(http, settings.functions_timeout)
    return Functions(
        host=FunctionHost(host),
        elsewhere={"arn": AwsFunctions(storage.clients), "http": containers, "https": containers},
        http=http,
    )
