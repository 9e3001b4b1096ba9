"""What a message may cost before it is looked into: bounds that keep a hostile one from costing more than it took to send.

A field is an object of ours a hundred times its size, so a header section is bounded in octets and in lines before it is parsed.
"""

from inbound.ports import InboundSettings
from mail.octets import Octets, header_section
from mail.reply import MESSAGE_TOO_BIG, Reply

HEADER_TOO_BIG = MESSAGE_TOO_BIG.because("Header section too big")


def header_refusal(raw: Octets, settings: InboundSettings) -> Reply | None:
    """The refusal of a header section that is too long, or has too many lines; looks no further than the limit."""
    most = settings.most_header_octets
    head = header_section(raw, most + 4)
    end = head.find(b"\r\n\r\n", 0, most + 4)
    if end < 0 and len(raw) > most:
        return HEADER_TOO_BIG
    head_end = len(raw) if end < 0 else end + 2
    return HEADER_TOO_BIG if head.count(b"\r\n", 0, head_end) > settings.most_header_lines else None
