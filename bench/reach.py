"""The rows that the gateway is held to: what is measured, beside whom, and what would be good enough.

A goal compares one figure of ours with the best that some others reach in the same runs, or with a number.
"""

from typing import NamedTuple

OURS = "gatepost"
ACCEPT = ("exim", "postfix-hold", "postfix", "opensmtpd", "haraka", "chasquid", "aiosmtpd")
VERIFY = ("exim-queued", "postfix", "haraka", "aiosmtpd")
IDLE = ("exim", "postfix", "haraka", "chasquid", "aiosmtpd")  # OpenSMTPD cannot set so many up: its backlog is 5
LOADS = ("4k:10:20", "4k:10:1", "50k:10:20", "mix:10:20")
NAMES = {
    OURS: "Gatepost",
    "exim": "Exim, queue only",
    "exim-queued": "Exim, queued",
    "postfix-hold": "Postfix, held",
    "postfix": "Postfix",
    "opensmtpd": "OpenSMTPD (never syncs)",
    "haraka": "Haraka",
    "chasquid": "chasquid (never syncs)",
    "aiosmtpd": "plain Python",
    "rules-1": "1 rule",
    "rules-100": "100 rules",
    "rules-10000": "10,000 rules",
    "recipients-100000": "100,000 recipients",
    "deferred-0": "an empty spool",
    "deferred-many": "1,000,000 deferred jobs",
    "workers-1": "1 worker, 10 connections",
    "workers-2": "2 workers, 20 connections",
    "large-1": "one message of 39 MB",
    "large-100": "100 of them at once",
    "idle-own": "a connection that said EHLO, in octets",
    "idle-unserved": "connections of 2,000 that were not served a NOOP afterwards",
}
_DURABLE = ("exim", "postfix-hold", "postfix", "haraka", "aiosmtpd")
_UNITS = {
    "cpu_ms": "CPU a message",
    "msg_per_s": "messages a second",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "kb_per_conn": "KB a connection",
    "value": "",
}


class Goal(NamedTuple):
    """`measure` of `of` is `most` (or with `least` at least) this times the best of `against`; without any, this itself."""

    measure: str
    factor: float
    against: tuple[str, ...] = ()
    least: bool = False
    of: str = OURS

    def text(self, mode: str) -> str:
        """As a sentence without its end."""
        word = "at least" if self.least else "at most"
        best = "the best that syncs" if self.against == _DURABLE else "the best of the others"
        best = named(self.against[0], mode) if len(self.against) == 1 else best
        than = f" × {best}" if self.against else ""
        whose = "" if self.of == OURS else f"{NAMES[self.of]}: "
        what = f"{_UNITS[self.measure]} " if _UNITS[self.measure] else ""
        return f"{whose}{what}{word} {round(self.factor, 3):,g}{than}"


def named(member: str, mode: str) -> str:
    """What a reader knows it by."""
    return "Postfix with rspamd" if (member, mode) == ("postfix", "verify") else NAMES.get(member, member)


class Row(NamedTuple):
    """`kind` is the yardstick's (run, latency, idle) or `own`: a figure that only we are asked for."""

    key: str
    title: str
    kind: str
    mode: str
    load: str  # "" is any
    members: tuple[str, ...]
    goals: tuple[Goal, ...]


def _accept(load: str, less: float, more: float) -> Row:
    goals = (
        Goal("cpu_ms", 1 / less, _DURABLE),
        Goal("msg_per_s", more, _DURABLE, least=True),
        Goal("msg_per_s", 1, ("opensmtpd",), least=True),
    )
    return Row(f"accept-{load}", f"accept only, {load}", "run", "accept", load, (OURS, *ACCEPT), goals)


def _verify(load: str, exim: float, rspamd: float, haraka: float | None, more: float) -> Row:
    goals = [
        Goal("cpu_ms", 1 / exim, ("exim-queued",)),
        Goal("cpu_ms", 1 / rspamd, ("postfix",)),
        *([Goal("cpu_ms", 1 / haraka, ("haraka",))] if haraka else []),
        Goal("msg_per_s", more, VERIFY, least=True),
        Goal("msg_per_s", 4, ("aiosmtpd",), least=True),
    ]
    return Row(f"verify-{load}", f"verified, {load}", "run", "verify", load, (OURS, *VERIFY), tuple(goals))


def _growth(key: str, title: str, base: str, others: tuple[str, ...], goals: tuple[Goal, ...] = ()) -> Row:
    within = tuple(Goal("msg_per_s", 0.95, (base,), least=True, of=each) for each in others)
    return Row(f"growth-{key}", title, "run", "growth", "", (base, *others), goals or within)


def _own(key: str, title: str, goals: tuple[Goal, ...]) -> Row:
    return Row(key, title, "own", "own", "", tuple(goal.of for goal in goals), goals)


_AT_REST = "one message at a time, connect to final 250"
ROWS = (
    _accept("4k:10:20", 2, 2),
    _accept("4k:10:1", 2, 2),
    _accept("50k:10:20", 1.5, 1.5),
    _accept("mix:10:20", 1.5, 1.5),
    _verify("4k:10:20", 2, 5, 4, 2),
    _verify("4k:10:1", 2, 5, 4, 2),
    _verify("50k:10:20", 1.4, 6, None, 1.4),
    _verify("mix:10:20", 1.4, 6, None, 1.4),
    Row(
        "latency-verify",
        f"verified, {_AT_REST}",
        "latency",
        "verify",
        "",
        (OURS, *VERIFY),
        (Goal("p50_ms", 1, VERIFY), Goal("p99_ms", 1, VERIFY)),
    ),
    Row("latency-accept", f"accept only, {_AT_REST}", "latency", "accept", "", (OURS, *ACCEPT), ()),
    Row("idle", "2,000 idle connections", "idle", "", "", (OURS, *IDLE), (Goal("kb_per_conn", 6),)),
    _own(
        "idle-own",
        "idle connections, as `python -m bench.idle` sees them",
        (Goal("value", 6000, of="idle-own"), Goal("value", 0, of="idle-unserved")),
    ),
    _own(
        "large",
        "MiB by which memory grows while large messages are taken",
        (Goal("value", 2, of="large-1"), Goal("value", 200, of="large-100")),
    ),
    _growth("rules", "rules and recipients", "rules-1", ("rules-100", "rules-10000", "recipients-100000")),
    _growth("deferred", "deferred jobs in the spool", "deferred-0", ("deferred-many",)),
    _growth(
        "workers",
        "workers",
        "workers-1",
        ("workers-2",),
        (Goal("cpu_ms", 1.1, ("workers-1",), of="workers-2"),),
    ),
)
