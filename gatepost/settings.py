"""The settings: one table of names, kinds, defaults and sentences, from which everything else about them follows.

Read from a YAML file with the reader that the rules use, so that all errors come at once with their places; then each may be
overridden by the environment (`GATEPOST_SMTP__SIZE_LIMIT=50MB`). Relative paths are relative to the file that names them.
`docs/settings.md` documents every name; a test holds the two together.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from actions.http_targets import PRIVATE_HOSTS
from mail.verdict import CHECKS

MB, MIB, GIB = 10**6, 2**20, 2**30
DAY = 86_400
MOST_WORKERS = 64
ON_ERROR = ("defer", "accept", "reject")


# What a reload puts in force under open connections; everything else is read at the start only. A section ends in a dot.
AT_RELOAD = (
    *("rules_on_change", "proxy_from", "xclient_from", "dns.timeout", "arc.trusted_sealers", "arns"),
    *("smtp.", "rates.", "greylist.", "dnsbl.", "verdicts.", "virus.", "spam.", "retention.", "limits.", "log."),
    *("tls.certificate", "tls.certificates", "tls.key", "tls.enabled", "spool.max_ready", "spool.reserve"),
)
NOT_AT_RELOAD = ("smtp.bytes_in_flight",)


def _setting(name: str, kind: str, default: Any, text: str, **more: Any) -> Any:
    metadata = {"name": name, "kind": kind, "text": text, **more}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, flat: `smtp.size_limit` is `smtp_size_limit`. Sizes in octets, durations in seconds."""

    # where
    hostname: str = _setting(
        "hostname", "text", "", "our name in the greeting, Received and bounces; the machine's by default"
    )
    data: Path = _setting(
        "data", "path", lambda: Path("var"), "directory of all state: spool, rule-set versions, stored mail"
    )
    rules: Path | None = _setting("rules", "path", None, "the rules file; rules.yaml beside the settings by default")
    rules_on_change: str = _setting(
        "rules_on_change",
        "word",
        "activate",
        "a changed rules file becomes active, or is only loaded",
        words=("activate", "load"),
    )
    listen: tuple[str, ...] = _setting(
        "listen", "listen", lambda: ("127.0.0.1:2525",), "addresses to take mail on, HOST:PORT"
    )
    workers: int = _setting(
        "workers", "workers", 0, "processes that take mail, 64 at most; 0: one for each core that we may use"
    )
    user: str = _setting(
        "user", "text", "", "started by root, run as this user once the ports are open; root's own by default"
    )
    group: str = _setting("group", "text", "", "and as this group; the user's own by default")
    proxy_from: tuple[str, ...] = _setting(
        "proxy_from", "cidrs", (), "networks whose connections begin with a PROXY header"
    )
    xclient_from: tuple[str, ...] = _setting(
        "xclient_from", "cidrs", lambda: ("127.0.0.0/8", "::1/128"), "networks that may use XCLIENT"
    )

    # the SMTP session
    smtp_size_limit: int = _setting("smtp.size_limit", "size", 40 * MB, "largest message (SES: 40 MB)")
    smtp_recipients: int = _setting("smtp.recipients", "count", 1000, "most recipients of one message")
    smtp_connections: int = _setting("smtp.connections", "count", 1000, "most connections at a time")
    smtp_connections_per_ip: int = _setting(
        "smtp.connections_per_ip", "count", 50, "most connections from one address at a time"
    )
    smtp_connections_per_network: int = _setting(
        "smtp.connections_per_network", "count", 200, "most connections from one /24 (IPv4) or /64 (IPv6) at a time"
    )
    smtp_connections_waiting: int = _setting(
        "smtp.connections_waiting",
        "count",
        200,
        "connections that wait for room in bytes_in_flight, beyond which new ones are sent away",
    )
    smtp_messages_per_connection: int = _setting(
        "smtp.messages_per_connection", "count", 10_000, "most MAIL commands of one connection (LIMITS MAILMAX)"
    )
    smtp_recipients_per_connection: int = _setting(
        "smtp.recipients_per_connection",
        "count",
        20_000,
        "accepted recipients after which a connection gets no more MAIL",
    )
    smtp_refused_recipients: int = _setting(
        "smtp.refused_recipients", "count", 200, "refused recipients between two messages, then 421"
    )
    smtp_errors: int = _setting("smtp.errors", "count", 20, "errors of the client between two messages, then 421")
    smtp_idle_commands: int = _setting(
        "smtp.idle_commands", "count", 100, "commands other than MAIL, RCPT, DATA, BDAT between two messages, then 421"
    )
    smtp_line_limit: int = _setting("smtp.line_limit", "size", 2048, "longest command line, in octets")
    smtp_greeting_delay: int = _setting(
        "smtp.greeting_delay", "duration0", 0, "wait before the banner; who talks before it is refused. 0s: no wait"
    )
    smtp_helo: str = _setting(
        "smtp.helo",
        "word",
        "any",
        "whose EHLO is refused: nobody's, who says our own name, and with named also who says no full host name",
        words=("any", "forged", "named"),
    )
    smtp_limit_rows: int = _setting(
        "smtp.limit_rows",
        "count",
        60,
        "rows a minute in the history for each limit; the next one counts what was left out",
    )
    smtp_bytes_in_flight: int = _setting(
        "smtp.bytes_in_flight",
        "size",
        64 * MIB,
        "octets being received by all sessions together, beyond which reading pauses",
    )
    smtp_bare_newline: str = _setting(
        "smtp.bare_newline",
        "word",
        "reject",
        "a CR or LF that stands alone: refuse the message, or turn it into CRLF",
        words=("reject", "normalise"),
    )
    smtp_command_timeout: int = _setting(
        "smtp.command_timeout", "duration", 300, "wait for the next command (RFC 5321: 5 minutes)"
    )
    smtp_data_timeout: int = _setting("smtp.data_timeout", "duration", 180, "wait for the next octets of a message")
    smtp_received_limit: int = _setting(
        "smtp.received_limit", "count", 100, "most Received fields of one message; with more it loops and is refused"
    )
    tls_certificate: Path | None = _setting(
        "tls.certificate", "path", None, "PEM chain; self-signed in `data` by default"
    )
    tls_key: Path | None = _setting("tls.key", "path", None, "PEM key of the certificate")
    tls_certificates: tuple[Path, ...] = _setting(
        "tls.certificates",
        "paths",
        (),
        "more, for who asks for their names (SNI): PEM files with keys, or directories with fullchain.pem and privkey.pem",
    )
    tls_listen: tuple[str, ...] = _setting(
        "tls.listen", "listen", (), "addresses to take mail on with TLS from the first octet, HOST:PORT"
    )
    tls_enabled: bool = _setting(
        "tls.enabled", "flag", True, "whether STARTTLS is offered; at `tls.listen` there is TLS all the same"
    )

    # how often is too often, counted across workers: `600/1h`
    rates_connections_per_ip: str = _setting(
        "rates.connections_per_ip", "rate", "none", "connections from one address (IPv6: one /64)"
    )
    rates_messages_per_ip: str = _setting(
        "rates.messages_per_ip", "rate", "none", "MAIL commands from one address (IPv6: one /64)"
    )
    rates_messages_per_sender_domain: str = _setting(
        "rates.messages_per_sender_domain", "rate", "none", "MAIL commands from one domain, whoever says it"
    )
    rates_messages_per_recipient: str = _setting(
        "rates.messages_per_recipient", "rate", "none", "messages for one recipient, its labels together"
    )
    rates_unknown_recipients_per_ip: str = _setting(
        "rates.unknown_recipients_per_ip",
        "rate",
        "1000/1h",
        "recipients that nobody knows, from one address; with more the door is shut",
    )
    greylist_wait: int = _setting(
        "greylist.wait",
        "duration0",
        0,
        "how long a sender who comes for the first time must wait before the next attempt; 0s: no greylisting",
    )
    greylist_retry_within: int = _setting(
        "greylist.retry_within", "duration", 2 * DAY, "how long that next attempt is waited for"
    )
    greylist_keep: int = _setting(
        "greylist.keep",
        "duration",
        35 * DAY,
        "how long network, sender and recipient are known after their last message",
    )

    # verdicts
    dns_servers: tuple[str, ...] = _setting(
        "dns.servers", "texts", (), "name servers, IP or IP:PORT; the system's by default"
    )
    dns_zone: Path | None = _setting("dns.zone", "path", None, "answer from this zone file and ask no name server")
    dns_timeout: int = _setting("dns.timeout", "duration", 10, "wait for all DNS answers about one message")
    dns_cache: int = _setting("dns.cache", "count", 20_000, "answers kept in memory")
    dnsbl_lists: tuple[str, ...] = _setting(
        "dnsbl.lists",
        "dns_lists",
        (),
        "DNS lists to ask about the client, in order; `ZONE=CODE,CODE-CODE` counts only these answers",
    )
    dnsbl_reject: bool = _setting(
        "dnsbl.reject",
        "flag",
        True,
        "refuse a listed client at RCPT, unless an Allow filter vouches for it; false: only the condition `dnsbl` sees it",
    )
    dnsbl_wait: int = _setting(
        "dnsbl.wait", "duration", 2, "how long the first RCPT waits for the lists, then it passes"
    )
    dnsbl_domain_lists: tuple[str, ...] = _setting(
        "dnsbl.domain_lists",
        "dns_lists",
        (),
        "DNS lists of domains to ask about the links of a message, for the spam engine `builtin`",
    )
    verdicts_checks: tuple[str, ...] = _setting(
        "verdicts.checks",
        "checks",
        CHECKS,
        "what every message is judged by; `none`: it is taken unjudged. dmarc needs both spf and dkim",
        words=CHECKS,
    )
    verdicts_deadline: int = _setting("verdicts.deadline", "duration", 20, "wait for all verdicts about one message")
    verdicts_dmarc: str = _setting(
        "verdicts.dmarc",
        "word",
        "rfc9989",
        "how the organizational domain is found: tree walk, or public suffix list",
        words=("rfc9989", "rfc7489"),
    )
    verdicts_authserv_id: str = _setting(
        "verdicts.authserv_id", "text", "amazonses.com", "our name in Authentication-Results; SES's own by default"
    )
    verdicts_header_style: str = _setting(
        "verdicts.header_style", "word", "ses", "form of Authentication-Results", words=("ses", "rfc8601")
    )
    arc_trusted_sealers: tuple[str, ...] = _setting(
        "arc.trusted_sealers",
        "domains",
        (),
        "ARC sealers on whose word a DMARC failure is lifted; `.example.com`: those below it",
    )
    verdicts_split_recipients: bool = _setting(
        "verdicts.split_recipients", "flag", False, "take one set of rules per transaction: others are answered 452"
    )

    # scanners
    virus_clamd: tuple[str, ...] = _setting(
        "virus.clamd",
        "endpoints",
        (),
        "clamd daemons, asked in turn: unix:/PATH or tcp:HOST:PORT; none: no virus verdict",
    )
    virus_on_error: str = _setting(
        "virus.on_error", "word", "defer", "answer to a message that could not be scanned for viruses", words=ON_ERROR
    )
    virus_deadline: int = _setting(
        "virus.deadline", "deadline", 20, "wait for the virus scan of one message, 120s at most"
    )
    virus_size_limit: int = _setting(
        "virus.size_limit",
        "size",
        25 * MB,
        "largest message to scan; clamd's StreamMaxLength and MaxFileSize must be no less",
    )
    spam_engine: str = _setting(
        "spam.engine",
        "word",
        "none",
        "what judges spam; none: no spam verdict",
        words=("none", "builtin", "rspamd", "spamd"),
    )
    spam_rspamd: str = _setting("spam.rspamd", "url", "http://127.0.0.1:11333", "rspamd's normal worker")
    spam_spamd: str = _setting("spam.spamd", "endpoint", "127.0.0.1:783", "spamd, as HOST:PORT or unix:/PATH")
    spam_threshold: float | None = _setting(
        "spam.threshold", "number", None, "score from which on mail is spam, whatever the engine's own threshold"
    )
    spam_on_error: str = _setting(
        "spam.on_error", "word", "accept", "answer to a message that could not be scanned for spam", words=ON_ERROR
    )
    spam_deadline: int = _setting(
        "spam.deadline", "deadline", 20, "wait for the spam scan of one message, 120s at most"
    )
    spam_size_limit: int = _setting("spam.size_limit", "size", 25 * MB, "largest message to scan for spam")

    # actions
    disk_sync: str = _setting(
        "disk.sync", "word", "batch", "make stored objects durable together or one by one", words=("batch", "each")
    )
    s3_endpoint: str = _setting(
        "s3.endpoint", "text", "", "URL of a store that speaks S3's protocol; AWS_ENDPOINT_URL_S3, or AWS, by default"
    )
    s3_addressing: str = _setting(
        "s3.addressing", "word", "auto", "how a bucket is named in a request", words=("auto", "path", "virtual")
    )
    s3_size_limit: int = _setting("s3.size_limit", "size", 40 * MB, "largest message that s3 stores (SES: 40 MB)")
    s3_concurrency: int = _setting("s3.concurrency", "count", 32, "requests to AWS under way at a time")
    s3_timeout: int = _setting("s3.timeout", "duration", 30, "wait for the next octets of an answer from AWS")
    s3_setup_notification: bool = _setting(
        "s3.setup_notification", "flag", False, "write SES's test object where a rule set with s3 becomes active"
    )
    aws_region: str = _setting("aws.region", "text", "", "region; the SDK's own chain, then us-east-1, by default")
    aws_endpoint: str = _setting("aws.endpoint", "text", "", "URL that stands for every AWS service but those named")
    aws_account_id: str = _setting("aws.account_id", "text", "0" * 12, "the account in encryption contexts")
    aws_assume_roles: bool = _setting("aws.assume_roles", "flag", True, "whether iam_role_arn is taken (STS)")
    keys_provider: str = _setting(
        "keys.provider", "word", "local", "who makes data keys: `gatepost keys`, or AWS KMS", words=("local", "aws")
    )
    keys_wrapping: str = _setting(
        "keys.wrapping", "word", "kms", "form of encrypted objects; SES writes kms", words=("kms", "kms+context")
    )
    functions_path: tuple[Path, ...] = _setting(
        "functions.path", "paths", (), "directories of functions; that of the rules by default"
    )
    functions_python: str = _setting("functions.python", "text", "", "interpreter for functions; ours by default")
    functions_processes: int = _setting("functions.processes", "count", 2, "processes that run functions")
    functions_timeout: int = _setting("functions.timeout", "duration", 30, "longest run of a function (SES: 30 s)")
    functions_memory: int = _setting("functions.memory", "size", 512 * MIB, "address space of a function's process")
    functions_environment: tuple[str, ...] = _setting(
        "functions.environment", "texts", (), "names of environment variables that functions see"
    )
    functions_s3_endpoint: str = _setting(
        "functions.s3_endpoint",
        "url",
        "embedded",
        "where functions read stored mail by S3's protocol: from us, nowhere, or at a URL",
        words=("embedded", "none"),
    )
    webhook_private_hosts: tuple[str, ...] = _setting(
        "webhook.private_hosts",
        "texts",
        PRIVATE_HOSTS,
        "names that may lead to private addresses; `single-label` is any name without a dot",
    )
    http_listen: tuple[str, ...] = _setting(
        "http.listen",
        "listen",
        (),
        "addresses of our HTTP listener, HOST:PORT; without it there is one on 127.0.0.1:2580 where a rule needs it",
    )
    metrics_listen: tuple[str, ...] = _setting(
        "metrics.listen",
        "listen",
        (),
        "addresses for /metrics, /healthz and /readyz, HOST:PORT; they tell what strangers need not know",
    )
    http_public_url: str = _setting(
        "http.public_url",
        "text",
        "",
        "how others reach that listener, as in https://mx.example.com; its address by default",
    )
    http_link_lifetime: int = _setting(
        "http.link_lifetime", "duration", DAY, "how long a signed URL of an attachment or message is good"
    )
    sns_certificate_url: str = _setting(
        "sns.certificate_url",
        "text",
        "",
        "scheme and host in SigningCertURL, which validators pin; http.public_url by default",
    )
    relay_host: str = _setting(
        "relay.host", "text", "", "takes bounce messages and forwarded mail; without it they park"
    )
    relay_port: int = _setting("relay.port", "count", 25, "port of the relay")
    relay_tls: str = _setting(
        "relay.tls",
        "word",
        "opportunistic",
        "to the relay: none, as it offers (unverified), verified STARTTLS, or verified TLS from the start",
        words=("none", "opportunistic", "starttls", "implicit"),
    )
    relay_username: str = _setting("relay.username", "text", "", "for AUTH at the relay")
    relay_password: str = _setting("relay.password", "text", "", "for AUTH at the relay, as in ${RELAY_PASSWORD}")
    srs_domain: str = _setting(
        "srs.domain", "text", "", "domain of ours for the reverse-paths of forwarded mail; unchanged without it"
    )
    srs_secret: str = _setting("srs.secret", "text", "", "signs those reverse-paths, as in ${SRS_SECRET}")
    arc_domain: str = _setting("arc.domain", "text", "", "seals forwarded mail in this name (ARC); none without it")
    arc_selector: str = _setting("arc.selector", "text", "", "where the public key stands: SELECTOR._domainkey.DOMAIN")
    arc_key: Path | None = _setting("arc.key", "path", None, "PEM file of the private RSA key that seals")
    plugins: tuple[str, ...] = _setting(
        "plugins", "texts", (), "actions of installed plug-ins, by the word that rules use; no other plug-in is loaded"
    )
    arns: dict[str, str] = _setting("arns", "map", dict, "local targets that stand for ARNs, as python:module:function")

    # the spool
    spool_max_ready: int = _setting(
        "spool.max_ready", "count", 100_000, "ready jobs from which on MAIL is answered 452"
    )
    spool_reserve: int = _setting(
        "spool.reserve", "size", GIB, "free disk below which MAIL is answered 452 (at least 5 %)"
    )
    retention_metadata: int = _setting(
        "retention.metadata", "duration", 90 * DAY, "how long history and receipts are kept"
    )
    retention_headers: int = _setting("retention.headers", "duration", 7 * DAY, "how long header sections are kept")
    retention_full: int = _setting(
        "retention.full",
        "duration0",
        DAY,
        "how long bodies are kept, from the receipt on; 0s: no longer than their jobs",
    )
    retention_cap: int = _setting("retention.cap", "size", 10 * GIB, "octets of bodies that are kept at most")

    # limits that SES has and that only warn
    limits_rules: int = _setting("limits.rules", "count", 200, "rules of a rule set before a warning (SES: 200)")
    limits_actions: int = _setting("limits.actions", "count", 10, "actions of a rule before a warning (SES: 10)")
    limits_recipients: int = _setting(
        "limits.recipients", "count", 100, "recipients of a rule before a warning (SES: 100)"
    )
    limits_filters: int = _setting("limits.filters", "count", 100, "filters before a warning (SES: 100)")
    limits_rule_sets: int = _setting("limits.rule_sets", "count", 40, "rule sets before a warning (SES: 40)")

    # who is told when something is wrong
    alerts_mail: tuple[str, ...] = _setting(
        "alerts.mail", "addresses", (), "addresses that alerts are sent to, through the relay"
    )
    alerts_webhook: str = _setting("alerts.webhook", "hook", "", "URL that alerts are posted to, as JSON")
    alerts_command: tuple[str, ...] = _setting(
        "alerts.command", "texts", (), "program and arguments that get each alert as JSON on standard input"
    )
    alerts_dead: int = _setting("alerts.dead", "count", 1, "jobs given up from which on that is wrong; 0: never")
    alerts_unhandled: int = _setting(
        "alerts.unhandled", "count", 1, "messages without any action from which on that is wrong; 0: never"
    )
    alerts_unscanned: int = _setting(
        "alerts.unscanned", "count", 1, "messages within an hour that went on without a scan that was wanted; 0: never"
    )
    alerts_oldest_retry: int = _setting(
        "alerts.oldest_retry", "duration0", 3_600, "age of the oldest message with a retrying step; 0s: never"
    )
    alerts_disk: int = _setting("alerts.disk", "size", 2 * GIB, "free disk below which that is wrong")
    alerts_certificate: int = _setting(
        "alerts.certificate", "duration0", 14 * DAY, "rest of the TLS certificate's life; 0s: never"
    )
    alerts_silence: int = _setting(
        "alerts.silence", "duration0", 0, "time without any accepted message; 0s: never, for small domains"
    )

    log_level: str = _setting(
        "log.level", "word", "info", "least severity that is logged", words=("debug", "info", "warning", "error")
    )
    log_format: str = _setting(
        "log.format", "word", "text", "form of the log, and of the line for each message", words=("text", "json")
    )
    log_redact: str = _setting(
        "log.redact",
        "word",
        "none",
        "what is made unrecognisable in the log: local-parts of addresses, or nothing",
        words=("none", "addresses"),
    )

    # not settings: where they came from
    files: tuple[Path, ...] = ()

    @property
    def uses_tls(self) -> bool:
        """Whether STARTTLS is offered, or TLS comes first somewhere."""
        return self.tls_enabled or bool(self.tls_listen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One row of the table, for the reader, the documentation and its test."""

    name: str
    attribute: str
    kind: str
    text: str
    default: Any
    words: tuple[str, ...] = ()

    @property
    def at_reload(self) -> bool:
        """Whether a reload puts a change of it in force."""
        whole = self.name in AT_RELOAD or f"{self.name.partition('.')[0]}." in AT_RELOAD
        return whole and self.name not in NOT_AT_RELOAD


def table() -> tuple[Described, ...]:
    """Every setting in the order in which it is documented."""
    blank = Settings()
    return tuple(
        Described(
            name=each.metadata["name"],
            attribute=each.name,
            kind=each.metadata["kind"],
            text=each.metadata["text"],
            default=getattr(blank, each.name),
            words=each.metadata.get("words", ()),
        )
        for each in fields(Settings)
        if each.metadata
    )
