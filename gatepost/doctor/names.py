"""Our name and everything that must agree with it: addresses, PTR, MX, banner and certificate."""

import asyncio
from datetime import timedelta
from ipaddress import ip_address

from gatepost.doctor.findings import Finding, Greeting, World, fail, ok, warn
from gatepost.settings_values import parse_address
from smtp.tls import Certificate
from verdicts.ports import Answer, Lookup

SMTP = 25
RENEW_BEFORE = timedelta(days=14)
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound


async def check_names(world: World) -> list[Finding]:
    """Name, addresses, PTR, MX, port, banner and certificate, in the order in which one leads to the next."""
    if "." not in world.hostname or world.hostname.endswith((".local", ".localdomain", ".internal")):
        said = f"this machine calls itself {world.hostname}, which nobody outside can look up"
        return [fail("hostname", said, "set `hostname` to the name that its MX record has"), *await _ports(world, ())]
    addresses, findings = await _addresses(world)
    reverse, exchangers, ports = await asyncio.gather(
        asyncio.gather(*(_reverse(world, address) for address in addresses)),
        asyncio.gather(*(_exchangers(world, domain, addresses) for domain in world.domains)),
        _ports(world, addresses),
    )
    if not world.domains:
        fix = "name your `domains` in the rules, or ask: gatepost doctor DOMAIN"
        findings.append(warn("MX", "no domain is named, so no MX record was looked at", fix))
    return [*findings, *reverse, *exchangers, *ports]


async def _addresses(world: World) -> tuple[tuple[str, ...], list[Finding]]:
    name = world.hostname
    four, six = await asyncio.gather(world.resolver.lookup(name, "A"), world.resolver.lookup(name, "AAAA"))
    addresses = (*four.records, *six.records)
    if not addresses and Lookup.TEMPORARY in (four.outcome, six.outcome):
        return (), [warn("hostname", f"{name} could not be asked for ({_why(four)})", "mend the resolver first")]
    if not addresses:
        fix = f"add an A record for {name}, and an AAAA record if it has IPv6; `hostname` sets the name"
        return (), [fail("hostname", f"{name} has no address ({_why(four)})", fix)]
    foreign = [address for address in addresses if not world.is_ours(address)]
    if foreign:
        said = f"{name} leads to {', '.join(foreign)}, not an address of this machine"
        return addresses, [
            warn("hostname", said, "fine behind NAT or a load balancer that passes port 25 on; else mend the record")
        ]
    return addresses, [ok("hostname", f"{name} leads to {', '.join(addresses)}, here")]


async def _reverse(world: World, address: str) -> Finding:
    check = f"PTR {address}"
    if ip_address(address).is_private:
        return warn(check, "a private address has no PTR that others see", "look at that of your public address")
    answer = await world.resolver.lookup(ip_address(address).reverse_pointer, "PTR")
    names = [record.lower() for record in answer.records]
    fix = f"whoever gives you the address sets its PTR record: {world.hostname}"
    if answer.outcome is Lookup.TEMPORARY:
        return warn(check, f"could not be asked ({_why(answer)})", "try again")
    if not names:
        return fail(check, "has no name: many servers take no mail from it", fix)
    if world.hostname not in names:
        return fail(check, f"is called {', '.join(names)}, and the banner says {world.hostname}", fix)
    return ok(check, world.hostname)


async def _exchangers(world: World, domain: str, addresses: tuple[str, ...]) -> Finding:
    check = f"MX {domain}"
    answer = await world.resolver.lookup(domain, "MX")
    if answer.outcome is Lookup.TEMPORARY:
        return warn(check, f"could not be asked ({_why(answer)})", "try again")
    fix = f"{domain}. MX 10 {world.hostname}."
    if not answer.records:
        return fail(check, "has no MX record, so no mail comes here", fix)
    parts = [record.partition(" ") for record in answer.records]
    hosts = sorted((int(preference), name.lower()) for preference, _, name in parts)
    if not hosts[0][1]:
        return fail(check, "says that it takes no mail (a null MX, RFC 7505)", fix)
    ours = [name for _, name in hosts if name == world.hostname or await _leads_here(world, name, addresses)]
    listed = ", ".join(f"{preference} {name}" for preference, name in hosts)
    if not ours:
        return fail(check, f"leads to {listed}, not here", fix)
    if hosts[0][1] not in ours:
        return warn(check, f"{listed}: others come before us", f"if this machine is to take the mail: {fix}")
    return ok(check, listed)


async def _leads_here(world: World, name: str, addresses: tuple[str, ...]) -> bool:
    four, six = await asyncio.gather(world.resolver.lookup(name, "A"), world.resolver.lookup(name, "AAAA"))
    return any(address in addresses or world.is_ours(address) for address in (*four.records, *six.records))


async def _ports(world: World, addresses: tuple[str, ...]) -> list[Finding]:
    """Every listener of the settings, then port 25 as others reach it."""
    listeners = [found for found in map(parse_address, world.settings.listen) if found is not None]
    findings = [finding for host, port in listeners for finding in await _listener(world, host, port)]
    public = [host for host, port in listeners if port == SMTP and not _is_loopback(host)]
    if not public:
        fix = "listen: ['0.0.0.0:25', '[::]:25'], unless a proxy passes port 25 on to it"
        return [*findings, warn("port 25", f"mail is taken on {', '.join(world.settings.listen)} only", fix)]
    for address in addresses:
        findings.append(await _from_outside(world, address))
    six = [address for address in addresses if ":" in address]
    if six and not any(":" in host for host in public):
        fix = "add '[::]:25' to `listen`, or take the AAAA record away"
        findings.append(fail("IPv6", f"{world.hostname} has an IPv6 address, and nothing listens there", fix))
    elif six:
        findings.append(ok("IPv6", ", ".join(six)))
    return findings


async def _listener(world: World, host: str, port: int) -> list[Finding]:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    check = f"listener {shown}"
    try:
        greeting = await world.dial(_reachable(host), port)
    except OSError as error:
        return [
            fail(
                check, f"cannot be reached: {_text(error)}", "start the gateway: gatepost serve says what is in its way"
            )
        ]
    return [_banner(world, check, greeting), _certificate(world, f"TLS {shown}", greeting.certificate)]


async def _from_outside(world: World, address: str) -> Finding:
    check = f"port 25 of {address}"
    try:
        greeting = await world.dial(address, SMTP)
    except OSError as error:
        fix = "open port 25 in the firewall and at the provider; some routers do not let a machine reach its own public address"
        return warn(check, f"cannot be reached from here: {_text(error)}", fix)
    if world.hostname not in greeting.banner.lower().split():
        return fail(check, f"somebody else answers: {greeting.banner[:60]}", "see who has that address and port")
    return ok(check, "answers in our name; whether it does from outside, only a machine outside can tell")


def _banner(world: World, check: str, greeting: Greeting) -> Finding:
    words = greeting.banner.lower().split()
    if world.hostname in words:
        return ok(check, f"greets as {world.hostname}")
    return fail(
        check,
        f"greets as {' '.join(words[:2])[:60]}, not as {world.hostname}",
        "restart the gateway after a change of `hostname`",
    )


def _certificate(world: World, check: str, certificate: Certificate | None) -> Finding:
    if certificate is None:
        return warn(check, "STARTTLS is not offered: mail comes in the clear", "set tls.enabled: true")
    fix = "renew it, then reload or restart the gateway (tls.certificate, tls.key)"
    until = f"{certificate.not_after:%Y-%m-%d}"
    if certificate.not_after <= world.now:
        return fail(check, f"the certificate was good until {until}", fix)
    if certificate.not_before > world.now:
        return fail(
            check,
            f"the certificate is good from {certificate.not_before:%Y-%m-%d} on only",
            "look at the clock, then renew it",
        )
    names = ", ".join(certificate.names) or "nobody"
    fits = certificate.covers(world.hostname)
    if not fits and not certificate.is_self_signed:
        return fail(
            check, f"the certificate is for {names}, not {world.hostname}", f"have one made for {world.hostname}"
        )
    if certificate.not_after - world.now < RENEW_BEFORE:
        return warn(check, f"the certificate ends {until}", fix)
    if not fits and certificate.names:
        anew = f"have one made for {world.hostname}, or delete self-signed.pem of the state directory and restart"
        return warn(check, f"self-signed, for {names}, not {world.hostname}", anew)
    if certificate.is_self_signed:
        return ok(
            check, f"self-signed, good until {until}: other mail servers take that, but MTA-STS and DANE need more"
        )
    return ok(check, f"the certificate is for {world.hostname}, good until {until}")


def _reachable(host: str) -> str:
    """Where to reach what listens everywhere."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound


def _is_loopback(host: str) -> bool:
    if host in _WILDCARDS:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(answer: Answer) -> str:
    return answer.detail or answer.outcome.value


def _text(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
