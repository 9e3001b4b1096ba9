"""deliver and forward against real mail servers: Dovecot behind LMTP and Postfix as relay, their mailboxes read back."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail.address import Mailbox, parse_mailbox
from smtp.client import RelayClient, RelaySettings
from smtp.lmtp_client import LmtpClient, LmtpSettings

RAW = b"From: Alice <alice@sender.example>\r\nSubject: hello\r\n\r\n.a dot\r\nGood day.\r\n"
CONFIG = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
instance_name = gatepost-test
protocols = lmtp
ssl = no
auth_username_format = %Lu
mail_location = maildir:{base}/mail/%u
first_valid_uid = 1
service lmtp {{
  unix_listener {base}/lmtp {{
    mode = 0600
  }}
}}
passdb {{
  driver = passwd-file
  args = {base}/users
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
protocol lmtp {{
  postmaster_address = postmaster@example.com
}}
"""


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Path]:
    """The directory of a running Dovecot with the mailboxes ann and bob; its LMTP socket is `lmtp`."""
    if os.geteuid() != 0:
        pytest.skip("Dovecot must be started as root, to take the rights of its users")
    base = Path(tempfile.mkdtemp(prefix="dovecot"))
    base.chmod(0o755)  # its processes give root up
    user = pwd.getpwnam("nobody")
    (base / "mail").mkdir()
    os.chown(base / "mail", user.pw_uid, user.pw_gid)
    users = (f"{name}@example.com::{user.pw_uid}:{user.pw_gid}::{base}/mail::\n" for name in ("ann", "bob"))
    (base / "users").write_text("".join(users))
    (base / "users").chmod(0o644)
    (base / "dovecot.conf").write_text(CONFIG.format(base=base))
    program = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin") or "dovecot"
    process = subprocess.Popen([program, "-F", "-c", str(base / "dovecot.conf")])
    try:
        deadline = time.monotonic() + 20
        while not (base / "lmtp").exists():
            log = (base / "log").read_text() if (base / "log").exists() else ""
            assert process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)
        yield base
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(base)


def client(base: Path) -> LmtpClient:
    settings = LmtpSettings(place=str(base / "lmtp"), hostname="mx.example.com", timeout_seconds=30)
    return LmtpClient(settings, clock=lambda: datetime.now(UTC))


def mailbox(base: Path, name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((base / "mail" / f"{name}@example.com" / "new").glob("*"))]


async def send(base: Path, *names: str, raw: bytes = RAW, sender: Mailbox | None = None) -> list[str]:
    recipients = [parse_mailbox(f"{name}@example.com") for name in names]
    statuses = await client(base).send_all(sender or parse_mailbox("alice@sender.example"), recipients, raw)
    return [f"{status.action} {status.status}" for status in statuses]


@pytest.mark.engine("dovecot")
async def test_two_of_three_recipients_have_the_message_and_the_third_an_answer(dovecot: Path) -> None:
    assert await send(dovecot, "ann", "nobody", "bob") == ["delivered 2.0.0", "failed 5.1.1", "delivered 2.0.0"]
    for name in ("ann", "bob"):
        (stored,) = mailbox(dovecot, name)
        head, _, body = stored.replace(b"\r\n", b"\n").partition(b"\n\n")
        assert body == b".a dot\nGood day.\n"
        assert head.startswith(b"Return-Path: <alice@sender.example>\n")
        assert head.count(b"Return-Path:") == 1


@pytest.mark.engine("dovecot")
async def test_a_large_message_with_every_octet_arrives_whole(dovecot: Path) -> None:
    before = len(mailbox(dovecot, "ann"))
    lines = b"".join(b".%d " % number + bytes(range(128, 256)) + b"\r\n" for number in range(20_000))
    assert await send(dovecot, "ann", raw=b"Subject: large\r\n\r\n" + lines) == ["delivered 2.0.0"]
    stored = mailbox(dovecot, "ann")
    assert len(stored) == before + 1
    assert any(each.replace(b"\r\n", b"\n").endswith(lines.replace(b"\r\n", b"\n")) for each in stored)


MAIN = """
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = /dev/stdout
virtual_mailbox_domains = elsewhere.example
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = inline:{{ team@elsewhere.example=team/ }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtputf8_enable = yes
alias_maps =
alias_database =
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@pytest.fixture(scope="module")
def postfix() -> Iterator[tuple[Path, int]]:
    """The directory of a running Postfix with the mailbox team@elsewhere.example, and its port."""
    if os.geteuid() != 0:
        pytest.skip("Postfix must be started as root, to take the rights of its users")
    base = Path(tempfile.mkdtemp(prefix="postfix"))
    base.chmod(0o755)
    owner, user = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
    for name in ("queue", "data", "mail", "etc"):
        (base / name).mkdir()
    os.chown(base / "data", owner.pw_uid, owner.pw_gid)
    os.chown(base / "mail", user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (base / "etc" / "main.cf").write_text(MAIN.format(base=base, uid=user.pw_uid, gid=user.pw_gid))
    (base / "etc" / "master.cf").write_text(MASTER.format(port=port))
    program = shutil.which("postfix", path=f"{os.environ['PATH']}:/usr/sbin") or "postfix"
    with (base / "log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(base / "etc"), "start-fg"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not answers(port):
            assert process.poll() is None, (base / "log").read_text()
            assert time.monotonic() < deadline, (base / "log").read_text()
            time.sleep(0.1)
        yield base, port
    finally:
        subprocess.run([program, "-c", str(base / "etc"), "stop"], check=False, capture_output=True)
        process.wait(20)
        shutil.rmtree(base)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            return connection.recv(3) == b"220"
    except OSError:
        return False


def arrived(base: Path) -> bytes:
    """The one message of the mailbox, once Postfix has put it there."""
    deadline = time.monotonic() + 30
    while not (found := list((base / "mail" / "team" / "new").glob("*"))):
        assert time.monotonic() < deadline, (base / "log").read_text()
        time.sleep(0.1)
    return found[0].read_bytes().replace(b"\r\n", b"\n")


@pytest.mark.engine("postfix")
async def test_a_relay_takes_what_it_can_and_refuses_the_rest_by_recipient(postfix: tuple[Path, int]) -> None:
    base, port = postfix
    settings = RelaySettings(host="127.0.0.1", port=port, tls="none", hostname="mx.example.com", timeout_seconds=30)
    relay = RelayClient(settings, clock=lambda: datetime.now(UTC))
    sender = parse_mailbox("SRS0=abcdef=XY=sender.example=alice@srs.example.com")
    targets = [parse_mailbox(f"{name}@elsewhere.example") for name in ("team", "nobody")]
    statuses = await relay.send_all(sender, targets, RAW)
    assert [(status.action, status.status) for status in statuses] == [("relayed", "2.0.0"), ("failed", "5.1.1")]
    stored = arrived(base)
    assert stored.startswith(f"Return-Path: <{sender}>\n".encode())
    assert stored.partition(b"\n\n")[2] == b".a dot\nGood day.\n"
