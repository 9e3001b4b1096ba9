"""Functions, made from the settings: those that run here, in containers and on AWS, and what is to be said of them at the start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actions.function_answers import RemoteFunctions
from actions.function_host import FunctionHost, FunctionSettings
from actions.function_process import REPLY_OCTETS
from actions.runtime_interface import RuntimeInterface
from actions.topics import find_topic
from gatepost.arns import arn_of, goes_to_aws
from gatepost.aws import has_credentials
from gatepost.aws_functions import AwsFunctions
from gatepost.http_client import AiohttpClient
from gatepost.settings import Settings
from gatepost.storage import Storage
from rules.model import RuleBook


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


def function_warnings(book: RuleBook) -> list[str]:
    """A sentence for each action of an enabled rule of the active set that will fail on AWS, for want of credentials."""
    bound = [
        (rule, spec)
        for rule in book.rule_set.rules
        if rule.enabled
        for spec in rule.actions
        if goes_to_aws(spec) and find_topic(book.topics, arn_of(spec)) is None
    ]
    if not bound or has_credentials():
        return []
    return [
        f'rule "{rule.name}": {spec.type} {arn_of(spec)} goes to AWS, and there are no AWS credentials here, '
        "so its step will park; set them, or name a local target in the setting arns"
        for rule, spec in bound
    ]
