"""The obvious Python gateway, as a baseline: aiosmtpd's Controller, pyspf, dkimpy, a DMARC look-up; one file and fsync a message.

    python bench/naive.py accept|verified DIRECTORY PORT ZONE

DNS is answered from the zone in memory, which spares the baseline what a name server would cost it.
"""

import email.policy
import itertools
import os
import signal
import sys
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path

import dkim
import spf
import yaml
from aiosmtpd.controller import Controller

MODE, DIRECTORY, PORT, ZONE = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
RECORDS = yaml.safe_load(Path(ZONE).read_text())
SERIAL = itertools.count()


def texts(name: str) -> list[str]:
    return RECORDS.get(name.rstrip(".").lower(), {}).get("TXT", [])


def look_up(name, qtype, strict=True, timeout=20):
    if qtype == "TXT":
        return [((name, qtype), (text.encode(),)) for text in texts(name)]
    return [((name, qtype), value) for value in RECORDS.get(name.rstrip(".").lower(), {}).get(qtype, [])]


spf.DNSLookup = look_up


def key_text(name: bytes, timeout: int = 5) -> bytes | None:
    found = texts(name.decode())
    return found[0].encode() if found else None


def organizational(domain: str) -> str:
    return ".".join(domain.split(".")[-2:])


def store(data: bytes) -> None:
    name = f"{os.getpid()}.{next(SERIAL)}"
    with (DIRECTORY / "tmp" / name).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    (DIRECTORY / "tmp" / name).rename(DIRECTORY / "new" / name)


class Accept:
    async def handle_DATA(self, server, session, envelope):
        store(envelope.original_content)
        return "250 OK"


class Verified:
    async def handle_PROXY(self, server, session, envelope, proxy_data):
        return True

    async def handle_DATA(self, server, session, envelope):
        data = envelope.original_content
        result = spf.check2(i=str(session.proxy_data.src_addr), s=envelope.mail_from, h=session.host_name)[0]
        signature = dkim.DKIM(data)
        try:
            signed = signature.verify(dnsfunc=key_text)
        except dkim.DKIMException:
            signed = False
        headers = BytesHeaderParser(policy=email.policy.compat32).parsebytes(data)
        domain = parseaddr(headers["From"])[1].rpartition("@")[2]
        record = texts(f"_dmarc.{domain}") or texts(f"_dmarc.{organizational(domain)}")
        aligned = signed and organizational((signature.domain or b"").decode()) == organizational(domain)
        verdict = "none" if not record else "pass" if aligned else "fail"
        store(f"Authentication-Results: naive; spf={result}; dkim={signed}; dmarc={verdict}\r\n".encode() + data)
        return "250 OK"


if __name__ == "__main__":
    for folder in ("tmp", "new"):
        (DIRECTORY / folder).mkdir(parents=True, exist_ok=True)
    more = {"data_size_limit": 30_000_000, "command_call_limit": {"*": 100_000}}
    if MODE == "verified":
        more["proxy_protocol_timeout"] = 10
    controller = Controller(Verified() if MODE == "verified" else Accept(), hostname="127.0.0.1", port=PORT, **more)
    controller.start()
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    controller.stop()
