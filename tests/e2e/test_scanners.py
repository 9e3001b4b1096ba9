"""Real scan engines: their verdict is ours, for every sample; and whatever becomes of them, the stated `on_error` happens."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import socket
import threading
import time
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start
from scan_engines import GTUBE, Engine, clamd, rspamd, samples, spamd

from gatepost.scanners import scanners_of
from gatepost.settings import Settings
from mail.client import Client
from mail.envelope import Envelope
from mail.errors import Permanent
from mail.verdict import ScanResult, Status

# In two pieces, so that no scanner of the disk takes this file away.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
CLEAN = b"From: a@b.example\r\nSubject: hello\r\n\r\nnothing in here\r\n"
RULES = """
version: 1
domains: [example.com]
active: default
rule_sets:
  default:
    - name: scanned
      recipients: [scanned@example.com]
      scan_enabled: true
      actions:
        - disk: {path: mail}
    - name: plain
      recipients: [plain@example.com]
      actions:
        - disk: {path: mail}
"""
REFUSING = """
version: 1
domains: [example.com]
active: default
rule_sets:
  default:
    - name: infected
      when: [{VERDICT: FAIL}]
      actions:
        - bounce: {smtp_reply_code: "554", status_code: "5.7.1", message: not here}
        - stop: {scope: Recipients}
    - name: rest
      actions:
        - disk: {path: mail}
"""


def settings_file(directory: Path, **sections: str) -> Path:
    path = directory / "settings.yaml"
    path.write_text("version: 1\nhostname: mx.example.com\n" + "".join(f"{k}: {v}\n" for k, v in sections.items()))
    return path


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def attached(content: bytes) -> bytes:
    """A mail with this as its attachment, in base64."""
    head = (
        b'From: a@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    )
    part = b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    lines = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return head + b"--b\r\n\r\nhello\r\n" + part + lines + b"--b--\r\n"


NESTED = {
    "body": b"Subject: x\r\n\r\n" + EICAR + b"\r\n",
    "attachment": attached(EICAR),
    "zip": attached(zipped("eicar.com", EICAR)),
    "zip in zip": attached(zipped("inner.zip", zipped("eicar.com", EICAR))),
    "zip in zip in a forwarded mail": b"Subject: fwd\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"
    + attached(zipped("a.zip", zipped("b.zip", zipped("eicar.com", EICAR)))),
}


def send(gateway: GatewayProcess, raw: bytes, to: str = "scanned@example.com") -> str:
    """The reply to the whole mail."""
    with gateway.connected() as wire:
        return str(wire.transaction("a@b.example", [to], raw))


def last_row(gateway: GatewayProcess) -> dict[str, object]:
    return gateway.objects("find", "--limit", "1")[0]


@pytest.fixture(scope="module")
def clamd_there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with clamd(tmp_path_factory.mktemp("clamd")) as engine:
        yield engine


@pytest.fixture(scope="module")
def spamd_there() -> Iterator[Engine]:
    with spamd() as engine:
        yield engine


@pytest.fixture(scope="module")
def rspamd_there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with rspamd(tmp_path_factory.mktemp("rspamd") / "rspamd") as engine:
        yield engine


# --- the verdict is the engine's ---


async def ours(settings: Settings, verdict: str, raws: list[bytes], *, at_once: int = 2) -> list[ScanResult]:
    """Our results, so many scans at a time."""
    scanners = scanners_of(settings)
    scanner = getattr(scanners, verdict)
    turns = asyncio.Semaphore(at_once)

    async def one(raw: bytes) -> ScanResult:
        async with turns:
            return await scanner.scan(raw, Envelope(reverse_path=None, recipients=()), Client(ip=None))

    try:
        return await asyncio.gather(*map(one, raws))
    finally:
        await scanners.close()


@pytest.mark.engine("clamd")
async def test_clamd_says_of_every_sample_what_its_own_client_hears(clamd_there: Engine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clamd as package  # noqa: PLC0415 - it warns of itself
    raws = [path.read_bytes() for path in samples()] + list(NESTED.values())
    client = package.ClamdUnixSocket(clamd_there.where.removeprefix("unix:"), timeout=20)
    theirs = [client.instream(io.BytesIO(raw))["stream"] for raw in raws]
    found = await ours(Settings(virus_clamd=(clamd_there.where,)), "virus", raws)
    expected = [("FAIL", (name,)) if status == "FOUND" else ("PASS", ()) for status, name in theirs]
    assert [(result.status.value, result.symbols) for result in found] == expected
    assert [result.status for result in found[-len(NESTED) :]] == [Status.FAIL] * len(NESTED)
    assert {result.version.split("/")[0].split(".")[0] for result in found} == {"ClamAV 1"}
    print(f"clamd: {len(raws)} messages agree, {sum(status == 'FOUND' for status, _ in theirs)} of them infected")


@pytest.mark.engine("spamd")
async def test_spamd_says_of_every_sample_what_it_says_to_anyone(spamd_there: Engine) -> None:
    host, _, port = spamd_there.where.rpartition(":")
    raws = [path.read_bytes() for path in samples()]

    def asked(raw: bytes) -> tuple[str, float, float, set[str]]:
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"SYMBOLS SPAMC/1.2\r\nContent-length: %d\r\n\r\n" % len(raw) + raw)
            connection.shutdown(socket.SHUT_WR)
            reply = connection.makefile("rb").read().decode()
        spam = re.search(r"Spam: (\w+) ; (\S+) / (\S+)", reply)
        assert spam is not None, reply
        names = {name for name in reply.split("\r\n\r\n", 1)[1].strip().split(",") if name}
        return ("FAIL" if spam[1] == "True" else "PASS"), float(spam[2]), float(spam[3]), names

    found = await ours(Settings(spam_engine="spamd", spam_spamd=spamd_there.where), "spam", raws)
    theirs = await asyncio.gather(*(asyncio.to_thread(asked, raw) for raw in raws))
    assert [(r.status.value, r.score, r.threshold, set(r.symbols)) for r in found] == theirs
    assert found[samples().index(GTUBE)].status is Status.FAIL
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", result.version) for result in found)
    print(f"spamd: {len(raws)} messages agree, {sum(status == 'FAIL' for status, *_ in theirs)} of them spam")


@pytest.mark.engine("rspamd")
async def test_rspamd_says_of_every_sample_what_it_says_to_anyone(rspamd_there: Engine) -> None:
    raws = [path.read_bytes() for path in samples()]

    def asked(raw: bytes) -> tuple[str, float, float, set[str]]:
        request = urllib.request.Request(f"{rspamd_there.where}/checkv2", data=raw, headers={"From": "<>"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            told = json.load(reply)
        return f"action {told['action']}", told["score"], told["required_score"], set(told["symbols"])

    found = await ours(Settings(spam_engine="rspamd", spam_rspamd=rspamd_there.where), "spam", raws, at_once=1)
    # One by one, here and above: how many names it fails to resolve in time depends on what else it does.
    theirs = [await asyncio.to_thread(asked, raw) for raw in raws]
    assert [(r.reason, r.score, r.threshold, set(r.symbols)) for r in found] == theirs
    words = {"no action": "PASS", "greylist": "GRAY"}
    assert [r.status.value for r in found] == [words.get(action[7:], "FAIL") for action, *_ in theirs]
    assert found[samples().index(GTUBE)].status is Status.FAIL
    assert all(result.version[0].isdigit() for result in found)
    print(f"rspamd: {len(raws)} messages agree, {sum(r.status is Status.FAIL for r in found)} of them spam")


@pytest.mark.engine("clamd")
async def test_clamds_own_limit_reads_as_too_large_on_either_socket(tmp_path: Path) -> None:
    for tcp in (False, True):
        with clamd(tmp_path / str(tcp), tcp=tcp, stream_limit="1M") as engine:
            settings = Settings(virus_clamd=(engine.where,))
            assert (await ours(settings, "virus", [bytes(1_000_000)]))[0].status is Status.PASS
            for _ in range(5):  # a race between its answer and its reset
                with pytest.raises(Permanent, match="too large for clamd"):
                    await ours(settings, "virus", [bytes(8_000_000)])


# --- through the gateway ---


@pytest.mark.engine("clamd")
def test_an_infected_mail_is_refused_in_the_session(gateway: Start, clamd_there: Engine, tmp_path: Path) -> None:
    config = settings_file(tmp_path, virus=f"{{clamd: ['{clamd_there.where}']}}")
    running_gateway = gateway(rules=REFUSING.replace("VERDICT", "virus"), config=config)
    for raw in NESTED.values():
        assert send(running_gateway, raw).startswith("554 5.7.1")
    assert send(running_gateway, CLEAN).startswith("250")
    (shown,) = running_gateway.objects("show", str(last_row(running_gateway)["id"]))
    virus = shown["verdicts"]["virus"]
    assert virus["status"] == "PASS"
    assert virus["results"][0]["properties"]["policy.version"].startswith("ClamAV")


@pytest.mark.engine("spamd")
@pytest.mark.engine("rspamd")
@pytest.mark.parametrize("engine", ["spamd", "rspamd"])
def test_gtube_is_refused_whatever_the_engine(
    gateway: Start, engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    there = request.getfixturevalue(f"{engine}_there")
    config = settings_file(tmp_path, spam=f"{{engine: {engine}, {engine}: '{there.where}'}}")
    running_gateway = gateway(rules=REFUSING.replace("VERDICT", "spam"), config=config)
    assert send(running_gateway, GTUBE.read_bytes().replace(b"\n", b"\r\n")).startswith("554 5.7.1")
    assert send(running_gateway, CLEAN).startswith("250")


FAILURES: dict[str, str] = {
    "stopped": "Connection refused|No such file or directory",
    "stopped in the middle": "closed the connection",
    "hung": "no answer within 1 s",
    "garbage": "answered 'HTTP/1.1 400 Bad Request'",
    "over size": "too large",
}
REPLIES = {"defer": "451 4.7.1", "accept": "250 2.0.0", "reject": "550 5.7.1"}


class Broken:
    """A TCP server that takes what comes, and says or does this."""

    def __init__(self, kind: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.where = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.kind = kind
        self.kept: list[socket.socket] = []
        if kind == "stopped":
            self.listener.close()
        else:
            self.thread = threading.Thread(target=self.serve, daemon=True)
            self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.kept.append(connection)  # hung: never answered, never closed
            if self.kind != "hung":
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\0" if self.kind == "garbage" else b"")
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self.kind != "stopped":
            # Without this a thread that waits in accept() goes on listening, and nobody closes what it takes then.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.thread.join()
        self.listener.close()
        for connection in self.kept:
            connection.close()


@pytest.mark.parametrize("on_error", REPLIES)
def test_what_could_not_be_scanned_is_answered_as_stated(gateway: Start, on_error: str, tmp_path: Path) -> None:
    for kind, reason in FAILURES.items():
        broken = Broken(kind)
        limit = ", size_limit: 10" if kind == "over size" else ""
        virus = f"{{clamd: ['{broken.where}'], on_error: {on_error}, deadline: 1s{limit}}}"
        running_gateway = gateway(rules=RULES, config=settings_file(tmp_path, virus=virus))
        try:
            assert send(running_gateway, CLEAN).startswith(REPLIES[on_error]), kind
            row = last_row(running_gateway)
            assert re.search(reason, str(row["detail"])), (kind, row)
            assert str(row["detail"]).startswith("unscanned: virus") == (on_error == "accept")
            found = running_gateway.objects("find", "--outcome", "unscanned")
            assert [each["id"] for each in found] == ([row["id"]] if on_error == "accept" else [])
            if on_error == "accept":
                (shown,) = running_gateway.objects("show", str(row["id"]))
                assert shown["verdicts"]["virus"]["status"] == "PROCESSING_FAILED"
            # Where nobody asks for a scan, nothing is missing.
            assert send(running_gateway, CLEAN, "plain@example.com").startswith("250")
            assert last_row(running_gateway)["detail"] == ""
        finally:
            broken.close()


@pytest.mark.engine("clamd")
def test_a_frozen_clamd_keeps_only_those_waiting_who_asked(gateway: Start, tmp_path: Path) -> None:
    with clamd(tmp_path / "clamd") as engine:
        config = settings_file(tmp_path, virus=f"{{clamd: ['{engine.where}'], deadline: 3s}}")
        running_gateway = gateway(rules=RULES, config=config)
        assert send(running_gateway, CLEAN).startswith("250")
        engine.freeze()
        replies: list[str] = []
        waiting = [threading.Thread(target=lambda: replies.append(send(running_gateway, CLEAN))) for _ in range(10)]
        for thread in waiting:
            thread.start()
        took = []
        while len(replies) == 0 and len(took) < 20:
            begun = time.monotonic()
            assert send(running_gateway, CLEAN, "plain@example.com").startswith("250")
            took.append(time.monotonic() - begun)
        for thread in waiting:
            thread.join()
        assert len(took) > 3
        assert max(took) < 1.0, f"sessions without a scan waited: {took}"
        assert {reply[:9] for reply in replies} == {"451 4.7.1"}
        engine.thaw()
        assert send(running_gateway, CLEAN).startswith("250"), "after the thaw it answers its ping and scans again"
        print(f"{len(took)} other sessions while clamd was frozen, the slowest in {max(took) * 1000:.0f} ms")


@pytest.mark.engine("clamd")
def test_a_clamd_that_is_killed_in_the_middle_defers(gateway: Start, tmp_path: Path) -> None:
    with clamd(tmp_path / "one") as one, clamd(tmp_path / "two", tcp=True) as two:
        config = settings_file(tmp_path, virus=f"{{clamd: ['{one.where}', '{two.where}'], deadline: 10s}}")
        running_gateway = gateway(rules=RULES, config=config)
        one.freeze()
        replies: list[str] = []
        thread = threading.Thread(target=lambda: replies.append(send(running_gateway, CLEAN)))
        thread.start()
        time.sleep(0.5)
        one.kill()
        thread.join()
        assert replies[0].startswith("451 4.7.1")
        assert "closed the connection" in str(last_row(running_gateway)["detail"])
        # The other one does the work from now on.
        assert [send(running_gateway, CLEAN)[:3] for _ in range(3)] == ["250"] * 3
