"""What one message's verdicts cost in CPU: SPF + DKIM (rsa-2048) + DMARC + Authentication-Results, warm DNS.

Beside it the stock packages called the obvious way, as their own pages show: `spf.check2`, `dkim.verify`, a DMARC lookup with
dnspython, the stdlib's header parser. Each side runs in a process of its own and only that process's CPU is counted, so the
DNS server that answers the stock packages costs them nothing. The messages are distinct; their sender is one that is known already.

    .venv/bin/python bench/verdicts.py            # table of medians of five rounds
"""

# ruff: noqa: PLC0415 - each side imports its own packages in its own process: ours replaces pyspf's DNS hook

import asyncio
import base64
import json
import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "verdicts")]

SIZES = {"4 KB": 4_000, "50 KB": 50_000, "2 MB": 2_000_000}
ROUNDS = 5
SENDER, CLIENT_IP, HELO = "news@mail.acme.example", "192.0.2.10", "mx1.acme.example"


def zone() -> dict[str, object]:
    from signing import RECORD

    return {
        "mail.acme.example": {"TXT": ["v=spf1 include:_spf.acme.example -all"]},
        "_spf.acme.example": {"TXT": ["v=spf1 ip4:198.51.100.0/24 ip4:192.0.2.0/24 ~all"]},
        "s._domainkey.acme.example": {"TXT": [RECORD]},
        "_dmarc.acme.example": {"TXT": ["v=DMARC1; p=reject; rua=mailto:d@acme.example"]},
    }


def messages(octets: int) -> list[bytes]:
    """Distinct ones, more than any cache of ours of whole messages holds."""
    return [message(octets, number) for number in range(3 if octets > 1_000_000 else 100)]


def message(octets: int, number: int = 0) -> bytes:
    from signing import sign

    chance = random.Random(octets + number)
    head = (
        b"Received: from a.example by b.example; Fri, 02 Jan 2026 03:04:05 +0000\r\n"
        b"From: Acme News <news@acme.example>\r\nTo: bob@example.com\r\nSubject: The news of this week\r\n"
        b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <%d.2.3@acme.example>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nList-Unsubscribe: <https://acme.example/u>\r\n\r\n" % number
    )
    if octets > 1_000_000:
        coded = base64.b64encode(chance.randbytes(octets * 3 // 4))
        body = b"\r\n".join(coded[start : start + 76] for start in range(0, len(coded), 76)) + b"\r\n"
    else:
        words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "<b>elit</b>", "=C3=A4"]
        lines: list[str] = []
        while sum(map(len, lines)) < octets:
            lines.append(" ".join(chance.choices(words, k=11)))
        body = "\r\n".join(lines).encode() + b"\r\n"
    return sign(
        head + body, include=[b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]
    )


def ours(raws: list[bytes], count: int) -> float:
    from mail.address import parse_mailbox
    from mail.client import Client
    from mail.envelope import Envelope
    from mail.message import Message
    from mail.receipt import Receipt
    from verdicts.auth_results import authentication_results
    from verdicts.dns_zone import ZoneResolver
    from verdicts.judge import judge

    resolver = ZoneResolver(zone())
    envelope = Envelope(reverse_path=parse_mailbox(SENDER), recipients=())
    client = Client(ip=CLIENT_IP, helo=HELO)

    async def run(times: int) -> None:
        for number in range(times):
            raw = raws[number % len(raws)]
            received_at = datetime.now(UTC)
            judgement = await judge(Message.of(raw), envelope, client, received_at=received_at, resolver=resolver)
            if judgement.verdicts.dmarc.result != "pass" or judgement.verdicts.dkim[0].result != "pass":
                raise SystemExit(f"wrong verdict: {judgement}")
            receipt = Receipt(
                message_id="1",
                received_at=received_at,
                client=client,
                envelope=envelope,
                size=len(raw),
                digest="",
                verdicts=judgement.verdicts,
                evidence=judgement.evidence,
            )
            authentication_results(receipt, authserv_id="amazonses.com")

    asyncio.run(run(max(2, count // 10)))
    started = time.process_time()
    asyncio.run(run(count))
    return (time.process_time() - started) / count


def stock(raws: list[bytes], count: int, port: int) -> float:
    import email.policy
    from email.parser import BytesHeaderParser
    from email.utils import parseaddr

    import authres
    import dkim
    import dns.resolver
    import spf
    from publicsuffixlist import PublicSuffixList

    dns.resolver.get_default_resolver().nameservers = ["127.0.0.1"]
    dns.resolver.get_default_resolver().port = port
    suffixes = PublicSuffixList()

    def policy_record(domain: str) -> str | None:
        try:
            for record in dns.resolver.resolve("_dmarc." + domain, "TXT"):
                text = b"".join(record.strings).decode()
                if text.startswith("v=DMARC1"):
                    return text
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            pass
        return None

    def run(raw: bytes) -> None:
        spf_result = spf.check2(i=CLIENT_IP, s=SENDER, h=HELO)[0]
        verifier = dkim.DKIM(raw)
        dkim_passes = verifier.verify()
        header = BytesHeaderParser(policy=email.policy.compat32).parsebytes(raw)
        author = parseaddr(header["From"])[1].rpartition("@")[2]
        organization = suffixes.privatesuffix(author)
        record = policy_record(author) or (organization != author and policy_record(organization))
        signer = (verifier.domain or b"").decode()
        aligned = (dkim_passes and suffixes.privatesuffix(signer) == organization) or spf_result == "pass"
        if not (record and aligned and spf_result == "pass" and dkim_passes):
            raise SystemExit("wrong verdict")
        str(
            authres.AuthenticationResultsHeader(
                authserv_id="example.com",
                results=[
                    authres.SPFAuthenticationResult(result=spf_result, smtp_mailfrom=SENDER),
                    authres.DKIMAuthenticationResult(result="pass", header_d=signer),
                ],
            )
        )

    run(raws[0])
    started = time.process_time()
    for number in range(count):
        run(raws[number % len(raws)])
    return (time.process_time() - started) / count


async def serve_dns() -> None:
    from loopback_dns import Server

    async with Server(zone()) as server:  # type: ignore[arg-type]
        print(server.port, flush=True)
        await asyncio.Event().wait()


def measure(side: str, octets: int, count: int, port: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, side, str(octets), str(count), str(port)], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout))


def table() -> None:
    server = subprocess.Popen([sys.executable, __file__, "dns"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        print(f"{'message':>8}  {'stock ms':>9}  {'ours ms':>8}  {'ratio':>6}")
        for label, octets in SIZES.items():
            count = 20 if octets > 1_000_000 else 1000
            # The sides take turns, so that what else the machine does falls on both.
            rounds = [{side: measure(side, octets, count, port) for side in ("stock", "ours")} for _ in range(ROUNDS)]
            costs = {side: statistics.median(one[side] for one in rounds) * 1000 for side in ("stock", "ours")}
            ratio = costs["stock"] / costs["ours"]
            print(f"{label:>8}  {costs['stock']:9.3f}  {costs['ours']:8.3f}  {ratio:6.1f}", flush=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        table()
    elif sys.argv[1] == "dns":
        asyncio.run(serve_dns())
    else:
        side, octets, count, port = sys.argv[1], *map(int, sys.argv[2:])
        raws = messages(octets)
        print(json.dumps(ours(raws, count) if side == "ours" else stock(raws, count, port)))
