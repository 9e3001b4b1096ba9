"""The composition root: settings become working parts, and packages that may not know each other get each other's callables."""

import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from actions.object_store import ObjectStore
from actions.placeholders import resolve
from actions.protocol import Prepend
from actions.table import Ports
from gatepost.addresses import now as now  # noqa: PLC0414 - part of this module's face
from gatepost.aws_topics import AwsQueues, AwsTopics
from gatepost.edge import limits_of
from gatepost.functions import Functions, functions_of
from gatepost.http_client import AiohttpClient
from gatepost.kept_file import kept
from gatepost.onward import onward_of
from gatepost.plugins import plugins_of
from gatepost.publishing import Publishing, base_url_of, publishing_of
from gatepost.scanners import Scanners
from gatepost.settings import Settings
from gatepost.storage import Storage, storage_of
from gatepost.zone_file import read_zone
from inbound.ports import InboundSettings, Judge
from mail.client import Client
from mail.counters import Counters
from mail.envelope import Envelope
from mail.message import Message
from mail.receipt import Receipt
from mail.trace_fields import prepended_fields
from rules.compiled import Needs
from rules.step import Step
from smtp.client import RelayClient, RelaySettings
from smtp.config import BareNewline, SmtpConfig, Timeouts
from smtp.tls import self_signed, server_context
from verdicts.alignment import registrable_domain
from verdicts.auth_results import authentication_results
from verdicts.canonical import BodyHashes
from verdicts.dns_lists import parse_dns_lists
from verdicts.dns_resolver import LiveResolver
from verdicts.judge import Judgement, judge
from verdicts.policy import Policy
from verdicts.ports import Resolver
from verdicts.reverse_name import client_questions, confirmed_name

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def hostname_of(settings: Settings) -> str:
    return settings.hostname or socket.gethostname().lower() or "localhost"


def resolver_of(settings: Settings, counters: Counters | None = None) -> Resolver:
    """The zone file if there is one, else live DNS. Raises `Malformed` for a zone file with errors, OSError if it is not there."""
    if settings.dns_zone is not None:
        return read_zone(settings.dns_zone)
    return LiveResolver(settings.dns_servers or None, cache_entries=settings.dns_cache, counters=counters)


def policy_of(settings: Settings) -> Policy:
    return Policy(
        checks=settings.verdicts_checks,
        dmarc=settings.verdicts_dmarc,
        receiver=hostname_of(settings),
        deadline_seconds=settings.verdicts_deadline,
        dns_deadline_seconds=settings.dns_timeout,
        spam_deadline_seconds=settings.spam_deadline,
        virus_deadline_seconds=settings.virus_deadline,
        spam_on_error=settings.spam_on_error,
        virus_on_error=settings.virus_on_error,
        trusted_sealers=settings.arc_trusted_sealers,
    )


def prepend_of(settings: Settings) -> Prepend:
    """What stands above a message for one step of its walk."""
    hostname, authserv_id, style = hostname_of(settings), settings.verdicts_authserv_id, settings.verdicts_header_style

    def prepend(receipt: Receipt, step: Step) -> bytes:
        results = authentication_results(receipt, authserv_id=authserv_id, style=style)
        added = ((name, resolve({name: value}, os.environ)[name]) for name, value in step.added)
        return prepended_fields(
            receipt, hostname=hostname, authentication_results=results, scanned=step.scanned, added=added
        )

    return prepend


def smtp_config_of(settings: Settings, tls: ssl.SSLContext | None) -> SmtpConfig:
    return SmtpConfig(
        hostname=hostname_of(settings),
        limits=limits_of(settings),
        timeouts=Timeouts(command=settings.smtp_command_timeout, content=settings.smtp_data_timeout),
        bare_newline=BareNewline(settings.smtp_bare_newline),
        proxy_from=networks(settings.proxy_from),
        xclient_from=networks(settings.xclient_from),
        tls=tls,
        offers_starttls=tls is not None and settings.tls_enabled,
        refuse_early_talkers=settings.smtp_greeting_delay > 0,
    )


def certificate_of(settings: Settings) -> Path | None:
    """The file of the certificate in use, our own made first if need be; None where nothing needs one. Raises as `kept` does."""
    if not settings.uses_tls:
        return None
    if settings.tls_certificate is not None:
        return settings.tls_certificate
    own = settings.data / "self-signed.pem"
    kept(own, lambda: self_signed(hostname_of(settings), now()))
    return own


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """The certificate of the settings, or our own; None where TLS is off. Raises `Permanent` for one that cannot be used."""
    certificate = certificate_of(settings)
    if certificate is None:
        return None
    key = settings.tls_key if settings.tls_certificate is not None else None
    return server_context(certificate, key, settings.tls_certificates)


def judge_of(settings: Settings, resolver: Resolver, scanners: Scanners) -> Judge:
    """`verdicts.judge` with what the settings say bound."""
    policy = policy_of(settings)
    lists = parse_dns_lists(settings.dnsbl_lists)

    async def judged(
        message: Message,
        envelope: Envelope,
        client: Client,
        *,
        received_at: datetime,
        needs: Needs,
        dnsbl: tuple[str, ...],
        bodies: BodyHashes | None = None,
        message_id: str = "",
    ) -> Judgement:
        return await judge(
            message,
            envelope,
            client,
            received_at=received_at,
            resolver=resolver,
            policy=policy,
            spam=scanners.spam,
            scorer=scanners.scorer,
            dnsbl=dnsbl,
            virus=scanners.virus,
            wants_spam=needs.spam,
            wants_virus=needs.virus,
            bodies=bodies,
            message_id=message_id,
            about_client=client_questions(lists, client),
        )

    return judged


def name_of(resolver: Resolver) -> Callable[[str], Coroutine[Any, Any, str | None]]:
    return partial(confirmed_name, resolver)


def dns_lists_of(settings: Settings, resolver: Resolver) -> dict[str, Callable[[str], Coroutine[Any, Any, bool]]]:
    """The DNS lists of addresses by zone, each asked whether it lists an address."""
    lists = parse_dns_lists(settings.dnsbl_lists)
    return {dns_list.zone: partial(dns_list.lists_address, resolver) for dns_list in lists}


def inbound_settings_of(settings: Settings) -> InboundSettings:
    return InboundSettings(
        hostname=hostname_of(settings),
        split_recipients=settings.verdicts_split_recipients,
        max_ready_jobs=settings.spool_max_ready,
        reserve_octets=settings.spool_reserve,
        most_received_fields=settings.smtp_received_limit,
        wait_for_lists_seconds=settings.dnsbl_wait,
        refuse_listed=settings.dnsbl_reject,
        verifies_signatures=not {"dkim", "arc"}.isdisjoint(settings.verdicts_checks),
    )


def networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)


def relay_of(settings: Settings, clock: Callable[[], datetime]) -> RelayClient | None:
    if not settings.relay_host:
        return None
    return RelayClient(
        RelaySettings(
            host=settings.relay_host,
            port=settings.relay_port,
            tls=settings.relay_tls,
            username=settings.relay_username or None,
            password=settings.relay_password or None,
            hostname=hostname_of(settings),
        ),
        clock=clock,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What actions work through; closed after the runner has drained."""

    ports: Ports
    http: AiohttpClient
    storage: Storage
    publishing: Publishing
    functions: Functions

    async def close(self) -> None:
        self.publishing.close()
        await self.ports.store.close()
        await self.functions.close()
        await self.http.close()
        await self.storage.clients.close()


def effects_of(settings: Settings, clock: Callable[[], datetime], *, http_addresses: Sequence[str] = ()) -> Effects:
    """`http_addresses` are those of our own HTTP listener."""
    http = AiohttpClient(private_hosts=settings.webhook_private_hosts)
    storage = storage_of(settings)
    functions = functions_of(settings, storage, clock)
    hostname = hostname_of(settings)
    publishing = publishing_of(
        settings,
        http,
        base_url=base_url_of(settings, http_addresses, hostname),
        hostname=hostname,
        clock=clock,
        publisher=AwsTopics(storage.clients),
        queues=AwsQueues(storage.clients),
    )
    ports = Ports(
        store=ObjectStore(settings.disk_sync),
        http=http,
        functions=functions.host,
        remote_functions=functions.elsewhere,
        relay=relay_of(settings, clock),
        hostname=hostname,
        organizational_domain=registrable_domain,
        onward=onward_of(settings, relay_of(settings, clock), hostname_of(settings), clock),
        topics=publishing.topics,
        links=publishing.links,
        base=settings.data.resolve(),
        encryption=storage.encryption,
        buckets=storage.buckets,
        s3_size_limit=settings.s3_size_limit,
        plugins=plugins_of(settings.plugins).actions,
    )
    return Effects(ports=ports, http=http, storage=storage, publishing=publishing, functions=functions)
