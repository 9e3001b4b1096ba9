"""doctor: each thing that can be wrong is named, with what to do; what is right is ok, and what cannot be known is never ok."""

import asyncio
import contextlib
import os
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from stored_mail import T0, Mail, fill

from gatepost.cli.doctor import _lines
from gatepost.doctor import machine, probe
from gatepost.doctor.findings import Greeting, World
from gatepost.doctor.machine import check_machine, clock, descriptors, disk, rights
from gatepost.doctor.names import check_names
from gatepost.doctor.services import check_services, servers_of
from gatepost.library import Opened
from gatepost.settings import Settings
from rules.load import load_text
from smtp.tls import Certificate
from verdicts.dns_zone import ZoneResolver

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HERE, HERE6 = "45.33.1.2", "2600:3c00::2"
ZONE = {
    "mx.ours.example": {"A": [HERE], "AAAA": [HERE6]},
    "2.1.33.45.in-addr.arpa": {"PTR": ["MX.ours.example"]},
    "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.3.0.0.6.2.ip6.arpa": {"PTR": ["mx.ours.example"]},
    "ours.example": {"MX": [[10, "mx.ours.example"], [20, "backup.example"]]},
    "example.com": {"A": ["93.184.215.14"]},
}
CERTIFICATE = Certificate(
    names=("mx.ours.example",), not_before=NOW - DAY, not_after=NOW + 60 * DAY, is_self_signed=False
)
GREETING = Greeting(banner="mx.ours.example ESMTP ready", certificate=CERTIFICATE)
RULES = "domains: [ours.example]\nrule_sets: {a: [{name: all, actions: [{disk: {path: mail}}]}]}"


def opened(text: str = RULES) -> Opened:
    loaded = load_text(text.encode(), "rules.yaml", Path())
    return Opened(origin="rules.yaml", book=loaded.book, findings=loaded.findings)


def world(zone=None, greeting=GREETING, settings=None, **changes) -> World:
    async def dial(host: str, port: int) -> Greeting:
        found = greeting(host) if callable(greeting) else greeting
        if isinstance(found, OSError):
            raise found
        return found

    values = {
        "settings": settings or Settings(listen=("0.0.0.0:25", "[::]:25")),
        "hostname": "mx.ours.example",
        "domains": ("ours.example",),
        "rules": opened(),
        "resolver": ZoneResolver({**ZONE, **(zone or {})}),
        "dial": dial,
        "is_ours": lambda address: address in (HERE, HERE6),
        "now": NOW,
    }
    return World(**{**values, **changes})


def said(findings, check):
    """(status, words) of the one line about this."""
    (found,) = [each for each in findings if each.check == check]
    if found.status != "ok":
        assert found.fix, f"{found.check}: it must say what to do"
    return found.status.value, found.said


async def test_a_machine_on_which_all_is_well_is_ok_throughout():
    findings = await check_names(world())
    assert {each.status.value for each in findings} == {"ok"}
    assert [each.check for each in findings] == [
        "hostname",
        f"PTR {HERE}",
        f"PTR {HERE6}",
        "MX ours.example",
        "listener 0.0.0.0:25",
        "TLS 0.0.0.0:25",
        "listener [::]:25",
        "TLS [::]:25",
        f"port 25 of {HERE}",
        f"port 25 of {HERE6}",
        "IPv6",
    ]


@pytest.mark.parametrize(
    ("zone", "check", "status", "words"),
    [
        ({"mx.ours.example": {"TXT": ["x"]}}, "hostname", "fail", "has no address"),
        ({"mx.ours.example": "TIMEOUT"}, "hostname", "warn", "could not be asked for (TIMEOUT)"),
        ({"mx.ours.example": {"A": ["45.33.9.9"]}}, "hostname", "warn", "not an address of this machine"),
        ({"2.1.33.45.in-addr.arpa": {"TXT": ["x"]}}, f"PTR {HERE}", "fail", "has no name"),
        (
            {"2.1.33.45.in-addr.arpa": {"PTR": ["host.isp.example"]}},
            f"PTR {HERE}",
            "fail",
            "is called host.isp.example",
        ),
        ({"2.1.33.45.in-addr.arpa": "SERVFAIL"}, f"PTR {HERE}", "warn", "could not be asked (SERVFAIL)"),
        ({"ours.example": {"TXT": ["x"]}}, "MX ours.example", "fail", "has no MX record"),
        ({"ours.example": {"MX": [[0, "."]]}}, "MX ours.example", "fail", "takes no mail"),
        (
            {"ours.example": {"MX": [[10, "other.example"]]}},
            "MX ours.example",
            "fail",
            "leads to 10 other.example, not here",
        ),
        ({"ours.example": "TIMEOUT"}, "MX ours.example", "warn", "could not be asked (TIMEOUT)"),
        (
            {"ours.example": {"MX": [[5, "other.example"], [10, "mx.ours.example"]]}},
            "MX ours.example",
            "warn",
            "others come before us",
        ),
        (
            {"ours.example": {"MX": [[10, "alias.example"]]}, "alias.example": {"A": [HERE]}},
            "MX ours.example",
            "ok",
            "10 alias.example",
        ),
    ],
)
async def test_what_dns_says_of_us(zone, check, status, words):
    found = said(await check_names(world(zone)), check)
    assert found[0] == status
    assert words in found[1]


@pytest.mark.parametrize(
    ("certificate", "status", "words"),
    [
        (None, "warn", "STARTTLS is not offered"),
        (replace(CERTIFICATE, not_after=NOW - DAY), "fail", "was good until 2026-05-03"),
        (replace(CERTIFICATE, not_before=NOW + DAY), "fail", "good from 2026-05-05 on only"),
        (replace(CERTIFICATE, not_after=NOW + 3 * DAY), "warn", "ends 2026-05-07"),
        (replace(CERTIFICATE, names=("www.ours.example",)), "fail", "is for www.ours.example, not mx.ours.example"),
        (replace(CERTIFICATE, names=("*.ours.example",)), "ok", "is for mx.ours.example"),
        (replace(CERTIFICATE, names=("*.example",)), "fail", "is for *.example"),
        (replace(CERTIFICATE, is_self_signed=True, names=()), "ok", "self-signed"),
        (replace(CERTIFICATE, is_self_signed=True), "ok", "self-signed"),
        (replace(CERTIFICATE, is_self_signed=True, not_after=NOW + 3 * DAY), "warn", "ends 2026-05-07"),
        (replace(CERTIFICATE, is_self_signed=True, names=("old.example",)), "warn", "for old.example, not mx.ours"),
    ],
)
async def test_the_certificate_that_is_shown(certificate, status, words):
    found = said(await check_names(world(greeting=replace(GREETING, certificate=certificate))), "TLS 0.0.0.0:25")
    assert found[0] == status
    assert words in found[1]


async def test_nobody_listens():
    findings = await check_names(world(greeting=OSError(111, "Connection refused")))
    assert said(findings, "listener 0.0.0.0:25") == ("fail", "cannot be reached: Connection refused")
    assert said(findings, f"port 25 of {HERE}")[0] == "warn"


async def test_somebody_else_has_our_address_or_our_port():
    findings = await check_names(world(greeting=lambda host: replace(GREETING, banner="router.isp.example hi")))
    assert said(findings, "listener 0.0.0.0:25")[0] == "fail"
    assert "somebody else answers: router.isp.example" in said(findings, f"port 25 of {HERE}")[1]


async def test_mail_that_comes_over_ipv6_finds_nobody():
    findings = await check_names(world(settings=Settings(listen=("0.0.0.0:25",))))
    assert said(findings, "IPv6")[0] == "fail"


async def test_a_listener_on_loopback_is_no_port_25():
    findings = await check_names(world(settings=Settings()))
    assert said(findings, "port 25") == ("warn", "mail is taken on 127.0.0.1:2525 only")


async def test_a_name_that_nobody_can_look_up():
    findings = await check_names(world(hostname="vm"))
    assert said(findings, "hostname")[0] == "fail"


async def test_a_banner_cannot_write_to_the_terminal():
    findings = await check_names(world(greeting=replace(GREETING, banner="\x1b[2Jmx")))
    assert "\x1b[2J" not in _lines(findings)
    assert "\\x1b[2jmx" in _lines(findings)


LISTS = Settings(dnsbl_lists=("list.example",), dnsbl_domain_lists=("uri.example",), dns_servers=("192.0.2.53",))
GOOD = {"2.0.0.127.list.example": {"A": ["127.0.0.2"]}, "TEST.uri.example": {"A": ["127.0.0.2"]}}


@pytest.mark.parametrize(
    ("zone", "status", "words"),
    [
        ({}, "ok", "answers as it should"),
        ({"2.0.0.127.list.example": {"A": ["127.255.255.254"]}}, "fail", "refuses this resolver (127.255.255.254)"),
        ({"2.0.0.127.list.example": {"TXT": ["x"]}}, "fail", "does not know its own test entry"),
        ({"2.0.0.127.list.example": "TIMEOUT"}, "fail", "does not answer"),
        ({"1.0.0.127.list.example": {"A": ["127.0.0.2"]}}, "fail", "lists everything"),
        ({"2.0.0.127.list.example": {"A": ["10.0.0.1"]}}, "warn", "does not count"),
    ],
)
async def test_a_dns_list_shows_its_test_entries(zone, status, words):
    findings = await check_services(world({**GOOD, **zone}, settings=LISTS))
    found = said(findings, "DNS list list.example")
    assert found[0] == status
    assert words in found[1]
    assert said(findings, "DNS list uri.example")[0] == "ok"


@pytest.mark.parametrize("server", ["8.8.8.8", "1.1.1.1:53", "[2620:fe::fe]:53"])
async def test_a_public_resolver_is_no_use_with_lists(server):
    findings = await check_services(world(GOOD, settings=replace(LISTS, dns_servers=(server,))))
    assert said(findings, "DNS lists")[0] == "warn"
    assert not [each for each in await check_services(world(GOOD, settings=LISTS)) if each.check == "DNS lists"]


def test_the_servers_behind_systemds_stub_are_found(tmp_path):
    stub, behind = tmp_path / "stub", tmp_path / "behind"
    stub.write_text("nameserver 127.0.0.53\n")
    assert servers_of(Settings(), (behind, stub)) == ("127.0.0.53",)
    behind.write_text("# upstream\nnameserver 192.0.2.53\nsearch x\nnameserver\n")
    assert servers_of(Settings(), (behind, stub)) == ("192.0.2.53",)
    assert servers_of(Settings(), ()) == ()


async def test_a_resolver_that_is_dead_or_lies():
    class Lying(ZoneResolver):
        async def lookup(self, name, type):  # noqa: A002
            return await super().lookup("mx.ours.example" if name.endswith(".invalid") else name, type)

    findings = await check_services(world(resolver=Lying(ZONE)))
    assert "it lies" in said(findings, "resolver")[1]

    class Dead(ZoneResolver):
        async def lookup(self, name, type):  # noqa: A002
            return await ZoneResolver({"x": "TIMEOUT"}).lookup("x", type)

    assert said(await check_services(world(resolver=Dead({}))), "resolver")[0] == "fail"


async def test_answers_from_a_file_are_no_dns():
    findings = await check_services(world(settings=Settings(dns_zone=Path("zone.yaml"))))
    assert said(findings, "resolver")[0] == "warn"


@pytest.mark.parametrize(
    ("text", "check", "status"),
    [
        (RULES, "postmaster", "ok"),
        (RULES.replace("name: all,", "name: all, recipients: [x@ours.example],"), "postmaster", "warn"),
        (RULES.replace("domains: [ours.example]\n", ""), "domains", "warn"),
        (RULES.replace("disk", "dsik"), "rules", "fail"),
    ],
)
async def test_what_the_rules_take(text, check, status):
    assert said(await check_services(world(rules=opened(text))), check)[0] == status


@pytest.mark.parametrize(("tls", "status"), [("opportunistic", "ok"), ("starttls", "fail")])
async def test_a_relay_that_answers(tls, status):
    settings = Settings(relay_host="relay.example", relay_tls=tls)
    greeting = replace(GREETING, certificate=None)
    findings = await check_services(world(settings=settings, greeting=greeting))
    assert said(findings, "relay relay.example:25")[0] == status


@pytest.mark.parametrize("tls", ["opportunistic", "implicit"])
async def test_a_relay_that_does_not(tls):
    settings = Settings(relay_host="127.0.0.1", relay_port=9, relay_tls=tls)
    findings = await check_services(world(settings=settings, greeting=OSError(111, "Connection refused")))
    assert said(findings, "relay 127.0.0.1:9")[0] == "fail"


async def test_scanners_that_do_not_answer_are_named():
    settings = Settings(virus_clamd=("unix:/nowhere",), spam_engine="spamd", spam_spamd="127.0.0.1:9")
    findings = await check_services(world(settings=settings))
    assert said(findings, "virus scanner")[0] == "fail"
    assert said(findings, "spam scanner")[0] == "fail"


async def test_a_builtin_scorer_that_nobody_taught(tmp_path):
    settings = Settings(spam_engine="builtin", data=tmp_path)
    assert said(await check_services(world(settings=settings)), "spam scanner")[0] == "warn"


MOUNTS = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:30 / {} rw - {} none rw\n"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("ext4", "ok"), ("nfs4", "fail"), ("fuse.sshfs", "fail"), ("tmpfs", "warn"), ("overlay", "warn")],
)
def test_the_kind_of_file_system(kind, status, tmp_path):
    findings = disk(tmp_path, Settings(), MOUNTS.format(tmp_path.resolve(), kind))
    assert said(findings, "file system")[0] == status
    assert said(disk(tmp_path, Settings(), MOUNTS.format("/elsewhere", kind)), "file system") == ("ok", "ext4")


def test_a_mount_point_with_a_space_in_its_name(tmp_path):
    path = tmp_path / "my disk"
    path.mkdir()
    mounts = MOUNTS.format(str(path.resolve()).replace(" ", "\\040"), "nfs")
    assert said(disk(path, Settings(), mounts), "file system")[0] == "fail"


def test_room_on_the_disk(tmp_path, monkeypatch):
    def with_free(free):
        values = os.statvfs_result((4096, 4096, 10**7, free, free, 0, 0, 0, 0, 255))
        monkeypatch.setattr(machine.os, "statvfs", lambda _: values)
        return said(disk(tmp_path, Settings(), ""), "disk")[0]

    assert [with_free(free) for free in (10**4, 10**6, 9 * 10**6)] == ["fail", "warn", "ok"]


@pytest.mark.parametrize(("seconds", "status"), [(0.001, "ok"), (0.05, "warn"), (0.5, "fail")])
def test_how_long_a_sync_takes(seconds, status, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_times", lambda path: seconds)
    assert said(disk(tmp_path, Settings(), ""), "sync")[0] == status


def test_measuring_leaves_nothing_behind(tmp_path):
    assert said(disk(tmp_path, Settings(), ""), "sync")[1].startswith("a sync takes ")
    assert list(tmp_path.iterdir()) == []


def test_descriptors():
    assert said([descriptors(Settings(smtp_connections=10**9))], "descriptors")[0] == "fail"
    assert said([descriptors(Settings(smtp_connections=1))], "descriptors")[0] == "ok"


def test_a_clock_that_went_back_or_that_nobody_keeps(tmp_path, monkeypatch):
    settings = Settings(data=fill(tmp_path / "var", Mail(number=1)))
    behind = asyncio.run(clock(world(settings=settings, now=T0 - DAY)))
    assert behind.status == "fail"
    for kept, status in ((0.004, "ok"), (None, "warn")):
        monkeypatch.setattr(machine, "_uncertainty", lambda kept=kept: kept)
        assert asyncio.run(clock(world(settings=settings))).status == status


def test_who_may_read_what(tmp_path):
    data = fill(tmp_path / "var", Mail(number=1))
    (data / "keys").mkdir(mode=0o700)
    (data / "keys" / "mail.json").write_text("")
    (data / "keys" / "mail.json").chmod(0o644)
    config = tmp_path / "gatepost.yaml"
    config.write_text("")
    config.chmod(0o644)
    key = tmp_path / "key.pem"
    key.write_text("")
    key.chmod(0o604)
    settings = Settings(data=data, relay_password="x", files=(config,), tls_key=key)
    found = [(each.status.value, each.said) for each in rights(settings)]
    assert found == [
        ("fail", f"others may read {data}/keys/mail.json (0644)"),
        ("fail", f"others may read {key} (0604)"),
        ("warn", f"others may read {config}, which may hold a secret"),
    ]
    for path in (data / "keys" / "mail.json", key, config):
        path.chmod(0o600)
    assert [each.status.value for each in rights(settings)] == ["ok"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_state_that_the_server_cannot_read(tmp_path):
    data = fill(tmp_path / "var", Mail(number=1))
    (data / "rules.db").write_text("")
    (data / "rules.db").chmod(0o600)
    os.chown(data / "rules.db", 12345, 12345)
    (found,) = rights(Settings(data=data))
    assert "rules.db cannot be read by root" in found.said


async def test_the_whole_machine_is_looked_at(tmp_path):
    findings = await check_machine(world(settings=Settings(data=tmp_path / "not" / "there")))
    assert [each.check for each in findings] == ["disk", "file system", "sync", "descriptors", "clock", "rights"]


def peer(*said: bytes):
    """A server that says these things, one for each line that it hears."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            for words in said:
                connection.sendall(words)
                if not lines.readline():
                    break

    threading.Thread(target=serve, daemon=True).start()
    return listening


async def test_the_probe_reads_a_banner():
    with peer(b"220 mx.ours.example hi\r\n", b"250-mx\r\n250 SIZE 1\r\n", b"221 bye\r\n") as listening:
        found = await probe.dial(*listening.getsockname())
    assert found == Greeting(banner="mx.ours.example hi")


@pytest.mark.parametrize("words", [b"554 no\r\n", b"SSH-2.0-x\r\n", b"", b"220-x\r\n" * 100])
async def test_the_probe_tells_what_is_no_mail_server(words, monkeypatch):
    monkeypatch.setattr(probe, "_SECONDS", 0.3)
    with peer(words) as listening, pytest.raises(OSError):  # noqa: PT011 - any of them, and nothing else
        await probe.dial(*listening.getsockname())


def test_an_address_is_ours_or_not():
    assert probe.is_ours("127.0.0.1")
    assert not probe.is_ours("192.0.2.1")
