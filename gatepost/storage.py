"""Where objects and keys are, made from the settings: for the actions, and for the commands that read what those wrote."""

from dataclasses import dataclass
from pathlib import Path

from actions.envelope_encryption import Encryption
from actions.key_files import KeyFiles
from actions.keys import KeyRing, LocalKeys
from gatepost.aws import AwsBuckets, AwsClients, AwsKeys, AwsSettings
from gatepost.settings import Settings

KEYS = "keys"  # in the directory of all state


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The owner closes `clients` last. Nothing here touches a disk or the network before it is used."""

    clients: AwsClients
    buckets: AwsBuckets
    files: KeyFiles
    local: LocalKeys
    keys: KeyRing
    encryption: Encryption


def storage_of(settings: Settings) -> Storage:
    clients = AwsClients(
        AwsSettings(
            region=settings.aws_region,
            endpoints={"": settings.aws_endpoint, "s3": settings.s3_endpoint},
            addressing=settings.s3_addressing,
            assume_roles=settings.aws_assume_roles,
            threads=settings.s3_concurrency,
            read_timeout_seconds=settings.s3_timeout,
            function_seconds=settings.functions_timeout,
        )
    )
    files = KeyFiles(key_directory(settings))
    local = LocalKeys(files)
    keys = KeyRing(local=local, kms=AwsKeys(clients), makes=settings.keys_provider)
    return Storage(
        clients=clients,
        buckets=AwsBuckets(clients),
        files=files,
        local=local,
        keys=keys,
        encryption=Encryption(keys=keys, wrapping=settings.keys_wrapping, account=settings.aws_account_id),
    )


def key_directory(settings: Settings) -> Path:
    return settings.data.resolve() / KEYS
