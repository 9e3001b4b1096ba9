"""The scan engines that the settings name, built, and what is to be said of the settings before mail is trusted to them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gatepost.http_client import AiohttpClient
from gatepost.settings import Settings
from mail.errors import Misuse
from verdicts.builtin_scorer import BuiltinScorer
from verdicts.daemon import Endpoint, parse_endpoint
from verdicts.dns_lists import parse_dns_lists
from verdicts.ports import Scanner
from verdicts.rspamd_scorer import REPLY_OCTETS, RspamdScorer
from verdicts.spamd_scorer import SpamdScorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanners:
    """None where no engine is configured. Used in one event loop, closed at the end."""

    spam: Scanner | None = None
    scorer: BuiltinScorer | None = None
    virus: Scanner | None = None
    http: AiohttpClient | None = None

    async def close(self) -> None:
        if self.scorer is not None:
            self.scorer.close()
        if self.http is not None:
            await self.http.close()


NO_SCANNERS = Scanners()


def scanners_of(settings: Settings) -> Scanners:
    """Nothing is connected to yet: a daemon may come later than the gateway."""
    http = _http_of(settings)
    return Scanners(
        spam=_SPAM[settings.spam_engine](settings, http),
        scorer=_scorer_of(settings),
        virus=_virus_of(settings),
        http=http,
    )


def engines_of(settings: Settings) -> frozenset[str]:
    """The verdicts that some engine gives: a rule that compares another one is an error of `check` (semantics.md §2)."""
    configured = {"spam": settings.spam_engine != "none", "virus": bool(settings.virus_clamd)}
    return frozenset(verdict for verdict, is_there in configured.items() if is_there)


def scan_warnings(settings: Settings) -> list[str]:
    """Mail that is taken in but never scanned."""
    limits = {"virus": (settings.virus_size_limit, settings.virus_on_error)}
    if settings.spam_engine != "builtin":  # which reads the beginning of a message of any size
        limits["spam"] = (settings.spam_size_limit, settings.spam_on_error)
    answers = {
        "defer": "answered 451 until its sender gives up",
        "reject": "answered 550",
        "accept": "accepted unscanned",
    }
    return [
        f"{verdict}.size_limit is less than smtp.size_limit: a larger message that a rule wants scanned is {answers[on_error]}"
        for verdict, (limit, on_error) in limits.items()
        if verdict in engines_of(settings) and limit < settings.smtp_size_limit
    ]


def model_path(settings: Settings) -> Path:
    """Where `gatepost train` leaves what the engine `builtin` knows."""
    return settings.data / "spam.model"


def _scorer_of(settings: Settings) -> BuiltinScorer | None:
    if settings.spam_engine != "builtin":
        return None
    lists = parse_dns_lists(settings.dnsbl_domain_lists)
    return BuiltinScorer(model_path(settings), lists=lists, threshold=settings.spam_threshold)


def _virus_of(settings: Settings) -> Scanner | None:
    if not settings.virus_clamd:
        return None
    from verdicts.clamd_scanner import ClamdScanner  # noqa: PLC0415 - it imports pkg_resources, which takes a second

    return ClamdScanner([_endpoint(text) for text in settings.virus_clamd], size_limit=settings.virus_size_limit)


def _rspamd_of(settings: Settings, http: AiohttpClient | None) -> Scanner:
    if http is None:
        raise Misuse("rspamd needs an HTTP client")
    return RspamdScorer(
        settings.spam_rspamd,
        http.post,
        size_limit=settings.spam_size_limit,
        deadline_seconds=settings.spam_deadline,
        threshold=settings.spam_threshold,
    )


def _spamd_of(settings: Settings, _: AiohttpClient | None) -> Scanner:
    return SpamdScorer(
        _endpoint(settings.spam_spamd), size_limit=settings.spam_size_limit, threshold=settings.spam_threshold
    )


_SPAM: dict[str, Callable[[Settings, AiohttpClient | None], Scanner | None]] = {
    "none": lambda *_: None,
    "builtin": lambda *_: None,  # no daemon: see `_scorer_of`
    "rspamd": _rspamd_of,
    "spamd": _spamd_of,
}


def _http_of(settings: Settings) -> AiohttpClient | None:
    """The operator names the host of his scanner, so it may have a private address, unlike one that a rule names."""
    if settings.spam_engine != "rspamd":
        return None
    return AiohttpClient(private_hosts=(urlsplit(settings.spam_rspamd).hostname or "",), reply_octets=REPLY_OCTETS)


def _endpoint(text: str) -> Endpoint:
    endpoint = parse_endpoint(text)
    if endpoint is None:
        raise Misuse(f"{text} was not checked")
    return endpoint
