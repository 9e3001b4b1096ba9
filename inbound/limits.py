"""What a message may cost before it is looked into: bounds that keep a hostile one from costing more than it took to send.

A field is an object of ours a hundred times its size, so a header section is bounded in octets and in lines before it is parsed.
"""

from inbound.ports import InboundSettings
from mail.reply import MESSAGE_TOO_BIG, Reply

HEADER_TOO_BIG = MESSAGE_TOO_BIG.because("Header section too big")


def header_refusal(raw: bytes, settings: InboundSettings) -> Reply | None:
    """The refusal of a header section that is too long, or has too many lines; looks no further than the limit."""
    most = settings.most_header_octets
    end = raw.find(b"\r\n\r\n", 0, most + 4)
    if end < 0 and len(raw) > most:
        return HEADER_TOO_BIG
    head_end = len(raw) if end < 0 else end + 2
    return HEADER_TOO_BIG if raw.count(b"\r\n", 0, head_end) > settings.most_header_lines else None
