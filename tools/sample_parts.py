"""The parts of the samples that no one types: a PDF, a TNEF stream, a log of readings, hundreds of header fields.

Each function of `PARTS` takes nothing and returns octets with LF, the same each time, without a line end at the end.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable


def wrapped(octets: bytes) -> bytes:
    """Base64 in lines of 76 (RFC 2045 §6.8)."""
    text = base64.b64encode(octets)
    return b"\n".join(text[at : at + 76] for at in range(0, len(text), 76))


INVOICE_LINES = (
    "(ACME Garden Tools GmbH) Tj",
    "0 -18 Td (Kirchweg 12, 24103 Kiel, Germany) Tj",
    "0 -48 Td (INVOICE 2026-0317) Tj",
    "0 -24 Td (To: Example Ltd, Accounts Payable) Tj",
    "0 -18 Td (Order 88213 of 4 March 2026) Tj",
    "0 -36 Td (12  Hand trowel, ash handle            9.80      117.60) Tj",
    "0 -18 Td ( 4  Pruning saw 300 mm                24.50       98.00) Tj",
    "0 -18 Td ( 1  Freight                           14.40       14.40) Tj",
    "0 -30 Td (Total EUR 230.00, payable within 14 days) Tj",
    "0 -18 Td (IBAN DE02 1203 0000 0000 2020 51) Tj",
)


def invoice_pdf() -> bytes:
    """One A4 page, PDF 1.4, with an exact cross-reference table (ISO 32000-1 §7.5.4)."""
    drawing = ("BT /F1 11 Tf 60 770 Td " + "\n".join(INVOICE_LINES) + " ET").encode("ascii")
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    )
    pdf = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(pdf))
    return wrapped(pdf + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer)


def tnef_attribute(level: int, identifier: int, content: bytes) -> bytes:
    """One attribute: level, id, length, content, 16-bit sum of the content ([MS-OXTNEF] §2.1.3.2)."""
    return struct.pack("<BII", level, identifier, len(content)) + content + struct.pack("<H", sum(content) & 0xFFFF)


def winmail_dat() -> bytes:
    """A TNEF stream with a message class, a subject and one attached file, `quote.rtf` ([MS-OXTNEF])."""
    message, attachment = 1, 2
    moment = struct.pack("<7H", 2026, 3, 12, 9, 30, 0, 4)
    quote = rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Calibri;}}\f0\fs22 Quote 4402: 40 pallets, EUR 18.20 each.\par}"
    return wrapped(
        struct.pack("<IH", 0x223E9F78, 0x0001)
        + tnef_attribute(message, 0x00089006, struct.pack("<I", 0x00010000))
        + tnef_attribute(message, 0x00069007, struct.pack("<II", 1252, 0))
        + tnef_attribute(message, 0x00078008, b"IPM.Microsoft Mail.Note\0")
        + tnef_attribute(message, 0x00018004, b"Quote 4402\0")
        + tnef_attribute(message, 0x00038005, moment)
        + tnef_attribute(attachment, 0x00069002, struct.pack("<HIHHI", 1, 0xFFFFFFFF, 0, 0, 0))
        + tnef_attribute(attachment, 0x00018010, b"quote.rtf\0")
        + tnef_attribute(attachment, 0x0006800F, quote)
        + tnef_attribute(attachment, 0x00038013, moment)
    )


def readings_csv() -> bytes:
    """About 150 kB of a greenhouse's readings, one a minute for three days, so about 200 kB on the wire."""
    state, rows = 20260317, ["minute;station;temperature_c;humidity_percent;soil_percent"]
    for minute in range(3 * 24 * 60):
        state = (state * 1103515245 + 12345) % 2**31  # the C library's old generator: any fixed sequence will do
        day = abs(minute % 1440 - 720) / 720
        rows.append(
            f"{minute};greenhouse-{state % 4 + 1};{24 - 9 * day + state % 17 / 10:.2f};"
            f"{55 + 20 * day + state % 23 / 10:.2f};{38 + state % 31 / 10:.2f}"
        )
    return wrapped("\r\n".join(rows).encode("ascii") + b"\r\n")


def transit_fields() -> bytes:
    """What a company's chain of gateways writes on a message: 24 Received fields and 96 of their own."""
    hops = [
        f"Received: from relay-{hop:02}.corp.kolibri.example (10.20.{hop}.4) by\n"
        f" relay-{hop + 1:02}.corp.kolibri.example (10.20.{hop + 1}.4) with ESMTPS id 4f7c{hop:02x}9b21;\n"
        f" Fri, 20 Mar 2026 13:{41 - hop // 2:02}:{(50 - hop * 7) % 60:02} +0000"
        for hop in range(24, 0, -1)
    ]
    marks = [
        f"X-Kolibri-Transport-Rule-{mark:03}: agent=policy-{mark % 7}; verdict=clean; latency={mark * 3 % 41}ms;\n"
        f" node=edge-{mark % 12:02}; trace={mark * 2654435761 % 2**32:08x}{mark * 40503 % 2**32:08x}"
        for mark in range(1, 97)
    ]
    return "\n".join(hops + marks).encode("ascii")


def nested_forwards() -> bytes:
    """Thirty people, each forwarding the message before as an attachment: sixty levels of MIME."""
    people = ("Ida", "Milo", "Tess", "Omar", "Lena", "Jon", "Pia", "Sven", "Noor", "Beat")
    text = "Content-Type: text/plain; charset=utf-8\n\nThe cake is in the kitchen on the second floor. First come, first served!\n"
    for level in range(1, 31):
        person, boundary = people[level % len(people)], f"fwd-{level:02}"
        text = (
            f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n--{boundary}\n'
            f"Content-Type: text/plain; charset=utf-8\n\nHas everybody seen this? {person}\n\n--{boundary}\n"
            f"Content-Type: message/rfc822\nContent-Disposition: attachment\n\n"
            f"From: {person} <{person.lower()}@kolibri.example>\nTo: everyone@kolibri.example\n"
            f"Subject: {'Fwd: ' * min(level - 1, 3)}Cake\nDate: Thu, 19 Mar 2026 {8 + level // 6:02}:{level % 6}5:00 +0000\n"
            f"MIME-Version: 1.0\n{text}\n--{boundary}--\n"
        )
    return text.rstrip("\n").encode("ascii")


def long_line() -> bytes:
    """One line of HTML of some 2,700 octets, as web forms without a line limit send it (RFC 5321 §4.5.3.1.6: 998)."""
    cells = "".join(
        f"<tr><td>{number:02}</td><td>Raised bed, larch, {number * 20} cm</td></tr>" for number in range(1, 51)
    )
    return f"<html><body><p>Request from the web form:</p><table>{cells}</table></body></html>".encode("ascii")


PARTS: dict[str, Callable[[], bytes]] = {
    "invoice-pdf": invoice_pdf,
    "winmail-dat": winmail_dat,
    "readings-csv": readings_csv,
    "transit-fields": transit_fields,
    "nested-forwards": nested_forwards,
    "long-line": long_line,
}
