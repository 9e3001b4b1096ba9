"""The limits of the SMTP edge, made from the settings: what the session machine bounds, and what the gate counts."""

from gatepost.settings import Settings
from inbound.gate import Gate
from inbound.greylist import Greylist, GreylistSettings
from inbound.rate_table import RateColumn
from inbound.rates import RateLimits, Throttle, parse_rate
from mail.errors import Malformed
from rules.schema_nodes import Node, shown
from rules.schema_reading import Reading
from smtp.config import Limits

RATES = "limits.cells"
GREYLIST = "greylist.cells"


def limits_of(settings: Settings) -> Limits:
    return Limits(
        message_octets=settings.smtp_size_limit,
        line_octets=settings.smtp_line_limit,
        recipients=settings.smtp_recipients,
        recipients_per_connection=settings.smtp_recipients_per_connection,
        refused_recipients=settings.smtp_refused_recipients,
        errors=settings.smtp_errors,
        idle_commands=settings.smtp_idle_commands,
        transactions=settings.smtp_messages_per_connection,
        connections=settings.smtp_connections,
        connections_per_ip=settings.smtp_connections_per_ip,
        connections_per_network=settings.smtp_connections_per_network,
        connections_waiting=settings.smtp_connections_waiting,
        in_flight_octets=settings.smtp_bytes_in_flight,
    )


def rate_in(reading: Reading, node: Node, what: str) -> str | None:
    """A rate as it is written, if it is one."""
    text = reading.text(node, what)
    if text is not None:
        try:
            parse_rate(text)
        except Malformed as error:
            reading.error("bad-rate", node, f"{what} is {shown(text)}; {error}")
            return None
    return text


def gate_of(settings: Settings, counts: RateColumn, hostname: str) -> Gate:
    """What speaks against a client; `counts` are this worker's. Raises `OSError` where the greylist cannot be kept."""
    return Gate(
        throttle=_throttle_of(settings, counts),
        greylist=_greylist_of(settings),
        helo=settings.smtp_helo,
        hostname=hostname,
        greeting_delay_seconds=settings.smtp_greeting_delay,
    )


def _throttle_of(settings: Settings, counts: RateColumn) -> Throttle | None:
    limits = RateLimits(
        connections_per_ip=parse_rate(settings.rates_connections_per_ip),
        messages_per_ip=parse_rate(settings.rates_messages_per_ip),
        messages_per_sender_domain=parse_rate(settings.rates_messages_per_sender_domain),
        messages_per_recipient=parse_rate(settings.rates_messages_per_recipient),
        unknown_recipients_per_ip=parse_rate(settings.rates_unknown_recipients_per_ip),
    )
    return None if limits == RateLimits() else Throttle(counts, limits)


def _greylist_of(settings: Settings) -> Greylist | None:
    if not settings.greylist_wait:
        return None
    triplets = GreylistSettings(
        wait=settings.greylist_wait, retry_within=settings.greylist_retry_within, keep=settings.greylist_keep
    )
    return Greylist(settings.data / GREYLIST, triplets)
