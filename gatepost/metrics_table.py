"""Every metric: its name, kind, labels and sentence, and how the values of several processes become one.

What counts (`mail.counters`) leaves the prefix out. docs/metrics.md shows this table, and a test holds both to what is counted.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "gatepost_"

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`name` is without the prefix. `merge` is how the values of several workers under the same labels become one."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(name=name, kind="counter", text=text, labels=labels)


def _gauge(name: str, text: str, *labels: str, merge: Merge = "sum") -> Family:
    return Family(name=name, kind="gauge", text=text, labels=labels, merge=merge)


def _histogram(name: str, text: str) -> Family:
    return Family(name=name, kind="histogram", text=text)


FAMILIES = (
    # the edge
    _counter("messages_total", "Mail transactions that ended: accepted, refused, deferred or aborted", "outcome"),
    _counter("received_bytes_total", "Octets of messages that were judged and not deferred"),
    _counter("recipients_total", "Recipients of those messages"),
    _counter("refusals_total", "Transactions and connections that were refused or deferred", "phase", "reply"),
    _counter("connections_total", "Connections taken from the listening sockets"),
    _counter("limited_total", "What a limit refused or made wait, by its setting", "limit"),
    _gauge("connections", "Connections that are open"),
    _gauge("content_bytes_in_flight", "Octets of message content that are being received"),
    _histogram("accept_seconds", "From the end of DATA to the reply: names, verdicts, rules and commit"),
    # judging
    _counter("verdicts_total", "Verdicts by check, in SES's words", "check", "result"),
    _counter("unscanned_total", "Messages that went on without a scan that was wanted"),
    _counter("dns_cache_hits_total", "DNS questions that the cache answered"),
    _counter("dns_cache_misses_total", "DNS questions that the network was asked"),
    # working
    _counter("steps_total", "Outcomes of steps as they were recorded, each attempt once", "action", "outcome"),
    _counter("rule_matches_total", "Messages of which a rule took some recipient", "rule"),
    _gauge("steps_waiting", "Jobs that a worker holds and has not begun"),
    # the spool
    _histogram("spool_commit_seconds", "One commit of a group of units, fsync included"),
    _gauge("spool_queued_units", "Units that wait for the writer"),
    _gauge("jobs", "Jobs in the queue: ready, retrying, leased, dead, parked or held", "state", merge="max"),
    _gauge("messages", "Messages that wait for somebody, by state", "state", merge="max"),
    _gauge(
        "oldest_retry_age_seconds", "Since the oldest message with a retrying step came; 0 without any", merge="max"
    ),
    _gauge("disk_free_bytes", "Room on the disk of the state directory", merge="min"),
    _gauge("disk_reserve_bytes", "Room below which MAIL is answered 452", merge="max"),
    # the process
    _gauge("ready", "Whether /readyz says so: 1 or 0", merge="min"),
    _gauge("check_ok", "One check of /readyz: 1 or 0", "check", merge="min"),
    _gauge("certificate_expiry_timestamp_seconds", "When the TLS certificate ends, in seconds since 1970", merge="min"),
    _gauge("rules_info", "1; the rule set that is active, and its version", "rule_set", "version", merge="max"),
    _gauge("rules_pinned", "Whether `rules activate` or `rollback` pinned the version: 1 or 0", merge="max"),
    _gauge("workers", "Processes that take mail"),
    _counter("worker_restarts_total", "Workers that ended by themselves and were started again"),
    _gauge("worker_start_time_seconds", "When a worker began, in seconds since 1970", "worker", merge="max"),
    _gauge("worker_resident_bytes", "Memory of a worker; 0 where the system does not tell", "worker", merge="max"),
    _gauge(
        "worker_open_descriptors",
        "Open descriptors of a worker; 0 where the system does not tell",
        "worker",
        merge="max",
    ),
    _counter("worker_cpu_seconds_total", "Processor time of a worker, its threads included", "worker"),
    _gauge("build_info", "1; the version of Gatepost and of Python", "python", "version", merge="max"),
    _counter("samples_left_out_total", "Counts that were added up without labels, because there were too many"),
)

BY_NAME = {family.name: family for family in FAMILIES}
