"""What we lean on: name servers, DNS lists, the relay, scanners, and rules that take the mail that every domain must take."""

import asyncio
import os
import secrets
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from gatepost.cli.layout import plural
from gatepost.doctor.findings import Finding, World, fail, ok, warn
from gatepost.scanners import scanners_of
from gatepost.settings import Settings
from mail.client import Client
from mail.crlf import wire_bytes
from mail.envelope import Envelope
from mail.errors import Permanent, Temporary
from verdicts.dns_lists import DnsList, parse_dns_lists
from verdicts.ports import Lookup, Scanner

# Whoever asks through these is one of millions: most lists refuse them (127.255.255.254), or answer nothing.
PUBLIC_RESOLVERS = frozenset(
    {
        *("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
        *("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
        *("9.9.9.9", "9.9.9.10", "149.112.112.112", "2620:fe::fe"),
        *(
            "208.67.222.222",
            "208.67.220.220",
            "94.140.14.14",
            "94.140.15.15",
            "64.6.64.6",
            "76.76.2.0",
            "4.2.2.1",
            "4.2.2.2",
        ),
    }
)
_RESOLV_CONF = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
_OWN_RESOLVER = "run a resolver of your own (unbound, knot-resolver) and name it in dns.servers"
# RFC 5782 §5: every list lists this address and this name, and never lists those.
_LISTED, _NOT_LISTED = "127.0.0.2", "127.0.0.1"
_LISTED_NAME, _NOT_LISTED_NAME = "TEST", "INVALID"
_REFUSED = "127.255.255."
_SCAN_SECONDS = 20.0
_MAIL, _ = wire_bytes(
    b"From: doctor@example.com\nTo: doctor@example.com\nSubject: gatepost doctor\n\nIs anybody there?\n"
)


async def check_services(world: World) -> list[Finding]:
    groups = await asyncio.gather(_resolver(world), _lists(world), _relay(world), _scanners(world))
    return [*(finding for group in groups for finding in group), *_rules(world)]


async def _resolver(world: World) -> list[Finding]:
    if world.settings.dns_zone is not None:
        said = f"every answer comes from {world.settings.dns_zone}"
        return [warn("resolver", said, "take dns.zone out for real mail")]
    nowhere = f"{secrets.token_hex(8)}.invalid"  # RFC 6761 §6.4: never exists
    found, absent = await asyncio.gather(world.resolver.lookup("example.com", "A"), world.resolver.lookup(nowhere, "A"))
    if found.outcome is Lookup.TEMPORARY and absent.outcome is Lookup.TEMPORARY:
        fix = f"see /etc/resolv.conf, or {_OWN_RESOLVER}"
        return [fail("resolver", f"does not answer ({found.detail or 'no answer'}): verdicts are temperror", fix)]
    if absent.records:
        said = f"gives {absent.records[0]} for a name that cannot exist: it lies, and every domain seems to be there"
        return [fail("resolver", said, _OWN_RESOLVER)]
    return [ok("resolver", ", ".join(servers_of(world.settings)) or "answers")]


def servers_of(settings: Settings, files: Iterable[Path] = _RESOLV_CONF) -> tuple[str, ...]:
    """The name servers that are asked in the end: behind systemd's stub stand others."""
    if settings.dns_servers:
        return settings.dns_servers
    for path in files:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        found = tuple(line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1)
        if found:
            return found
    return ()


async def _lists(world: World) -> list[Finding]:
    addresses = parse_dns_lists(world.settings.dnsbl_lists)
    domains = parse_dns_lists(world.settings.dnsbl_domain_lists)
    if not addresses and not domains:
        return []
    asked = [
        *(_list(world, each, _reversed(_LISTED), _reversed(_NOT_LISTED)) for each in addresses),
        *(_list(world, each, _LISTED_NAME, _NOT_LISTED_NAME) for each in domains),
    ]
    return [*_public(world), *await asyncio.gather(*asked)]


def _public(world: World) -> list[Finding]:
    public = [server for server in servers_of(world.settings) if _without_port(server) in PUBLIC_RESOLVERS]
    if not public or world.settings.dns_zone is not None:
        return []
    return [
        warn("DNS lists", f"{', '.join(public)} is public: most lists refuse whoever asks through it", _OWN_RESOLVER)
    ]


async def _list(world: World, dns_list: DnsList, listed: str, not_listed: str) -> Finding:
    check = f"DNS list {dns_list.zone}"
    yes, no = await asyncio.gather(
        world.resolver.lookup(f"{listed}.{dns_list.zone}", "A"),
        world.resolver.lookup(f"{not_listed}.{dns_list.zone}", "A"),
    )
    if any(record.startswith(_REFUSED) for record in (*yes.records, *no.records)):
        said = f"refuses this resolver ({(*yes.records, *no.records)[0]})"
        return fail(check, said, f"{_OWN_RESOLVER}, or ask the list's operator for a key")
    if no.records:
        return fail(check, "lists everything: it has ended, or the resolver lies", "take it out of dnsbl.lists")
    if not yes.records:
        why = "does not answer" if yes.outcome is Lookup.TEMPORARY else "does not know its own test entry"
        return fail(check, f"{why}, so it lists nobody", "see that its name is right and that it still exists")
    if not dns_list.lists(yes):
        said = f"its test entry answers {', '.join(yes.records)}, which the setting does not count"
        return warn(check, said, "look up the list's codes")
    return ok(check, "answers as it should")


async def _relay(world: World) -> list[Finding]:
    settings = world.settings
    if not settings.relay_host:
        return []
    check = f"relay {settings.relay_host}:{settings.relay_port}"
    if settings.relay_tls == "implicit":
        return [await _connects(check, settings.relay_host, settings.relay_port)]
    try:
        greeting = await world.dial(settings.relay_host, settings.relay_port)
    except OSError as error:
        said = f"cannot be reached: {error.strerror or error}"
        return [
            fail(check, said, "bounces and forwarded mail wait for it: see relay.host, relay.port and the firewall")
        ]
    if settings.relay_tls == "starttls" and greeting.certificate is None:
        return [fail(check, "offers no STARTTLS, and relay.tls wants it", "set relay.tls to what the relay offers")]
    return [ok(check, f"greets as {greeting.banner[:60]}")]


async def _connects(check: str, host: str, port: int) -> Finding:
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except (OSError, TimeoutError) as error:
        # asyncio's own text names the address once more, as Python writes it.
        number = getattr(error, "errno", None)
        said = f"cannot be reached: {os.strerror(number) if number else error or 'no answer in 5 s'}"
        return fail(check, said, "bounces and forwarded mail wait for it: see relay.host, relay.port and the firewall")
    return ok(check, "takes connections; TLS and the password show when mail goes there")


async def _scanners(world: World) -> list[Finding]:
    scanners = scanners_of(world.settings)
    try:
        named = {"virus": scanners.virus, "spam": scanners.spam}
        found = [_scan(kind, scanner) for kind, scanner in named.items() if scanner is not None]
        findings = list(await asyncio.gather(*found))
    finally:
        await scanners.close()
    if scanners.scorer is not None:
        model = world.settings.data / "spam.model"
        untaught = warn("spam scanner", "builtin, and nobody has taught it", "gatepost train --spam DIR --ham DIR")
        findings.append(ok("spam scanner", f"builtin, taught by {model}") if model.exists() else untaught)
    return findings


async def _scan(kind: str, scanner: Scanner) -> Finding:
    """A harmless mail goes the whole way."""
    check = f"{kind} scanner"
    name = "virus.clamd" if kind == "virus" else f"spam.{scanner.name}"
    fix = f"start it, or set {name} to where it is; {kind}.on_error says what mail gets meanwhile"
    try:
        async with asyncio.timeout(_SCAN_SECONDS):
            result = await scanner.scan(
                _MAIL, Envelope(reverse_path=None, recipients=()), Client(ip="127.0.0.1", helo="doctor")
            )
    except (Temporary, Permanent, TimeoutError) as error:
        return fail(check, f"{scanner.name} does not answer: {str(error) or 'no reply in time'}", fix)
    return ok(check, f"{scanner.name} answers {result.status.value}")


def _rules(world: World) -> list[Finding]:
    rules = world.rules
    errors = [finding for finding in rules.findings if finding.severity == "error"]
    if errors:
        return [fail("rules", f"{rules.origin} has {plural(len(errors), 'error')}", "gatepost check shows them")]
    missing = [finding for finding in rules.findings if finding.code == "no-postmaster"]
    others = len(rules.findings) - len(missing)
    found = [warn("postmaster", finding.message, "give them a rule, or a recipient in one") for finding in missing]
    if not missing and rules.book is not None and rules.book.domains:
        found.append(ok("postmaster", "postmaster and abuse of every domain are taken"))
    if rules.book is not None and not rules.book.domains:
        found.append(
            warn(
                "domains",
                "none is named: mail for every domain is taken, on loopback only",
                "name your `domains` in the rules",
            )
        )
    if others:
        found.append(warn("rules", f"{rules.origin} has {plural(others, 'more warning')}", "gatepost check shows them"))
    return found


def _reversed(ip: str) -> str:
    return ".".join(reversed(ip.split(".")))


def _without_port(server: str) -> str:
    """`ip`, `ip:port` or `[ip]:port`."""
    try:
        return str(ip_address(server))
    except ValueError:
        return server.rpartition(":")[0].strip("[]")
