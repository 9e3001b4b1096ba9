"""What forward and deliver work through, from the settings: hosts, SRS, and the key that seals."""

from collections.abc import Callable
from datetime import datetime

from actions.onward import Carrier, Onward, Seal
from actions.srs import SenderRewriting
from gatepost.settings import Settings
from mail.address import parse_domain
from mail.errors import Malformed, Misuse
from mail.octets import Octets
from mail.receipt import Receipt
from mail.verdict import Status
from outbound.seal_arc import check_sealing_key, seal_arc
from outbound.signing_key import load_key
from smtp.client import RelayClient, RelaySettings
from smtp.lmtp_client import LmtpClient, LmtpSettings
from verdicts.auth_results import authentication_results

_SHORTEST_SECRET = 16


def onward_of(settings: Settings, relay: Carrier | None, hostname: str, clock: Callable[[], datetime]) -> Onward:
    """Raises `Malformed` for settings that belong together and do not stand together, or for a key that cannot sign."""

    def smtp(host: str, port: int) -> Carrier:
        return RelayClient(RelaySettings(host=host, port=port, hostname=hostname), clock=clock)

    def lmtp(place: str | tuple[str, int]) -> Carrier:
        return LmtpClient(LmtpSettings(place=place, hostname=hostname), clock=clock)

    return Onward(
        relay=relay, smtp=smtp, lmtp=lmtp, hostname=hostname, rewriting=_rewriting(settings), seal=_seal(settings)
    )


def _rewriting(settings: Settings) -> SenderRewriting | None:
    if not settings.srs_domain and not settings.srs_secret:
        return None
    if not settings.srs_domain or len(settings.srs_secret) < _SHORTEST_SECRET:
        raise Malformed(
            f"srs.domain and srs.secret belong together; the secret has {_SHORTEST_SECRET} characters at least"
        )
    return SenderRewriting(_domain("srs.domain", settings.srs_domain), settings.srs_secret)


def _seal(settings: Settings) -> Seal | None:
    if not (settings.arc_domain or settings.arc_selector or settings.arc_key):
        return None
    if not (settings.arc_domain and settings.arc_selector and settings.arc_key):
        raise Malformed("arc.domain, arc.selector and arc.key belong together")
    try:
        key = load_key(
            _domain("arc.domain", settings.arc_domain),
            _domain("arc.selector", settings.arc_selector),
            settings.arc_key.read_bytes(),
        )
        check_sealing_key(key)
    except OSError as error:
        raise Malformed(f"arc.key: {settings.arc_key}: {error.strerror}") from None
    except Misuse as error:
        raise Malformed(f"arc.key: {settings.arc_key}: {error}") from None

    def seal(content: Octets, receipt: Receipt, now: datetime) -> bytes:
        if receipt.verdicts.status("arc") is Status.DISABLED:
            raise Malformed("the chain so far was not checked (verdicts.checks)")
        cv = receipt.verdicts.arc.result
        if cv not in ("none", "pass", "fail"):
            raise Malformed(f"the check of the chain so far ended {cv}")
        field = authentication_results(receipt, authserv_id=key.domain, style="rfc8601")
        return seal_arc(content, field.partition(b":")[2], cv, key, now=now)

    return seal


def _domain(name: str, text: str) -> str:
    try:
        return parse_domain(text)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from None
