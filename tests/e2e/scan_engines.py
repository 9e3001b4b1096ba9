"""Real clamd, rspamd and spamd on loopback, in a directory of their own, ended by their own ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway_process import ROOT, until

VECTORS = ROOT / "tests" / "vectors"
SAMPLES = VECTORS / "scan-spamassassin"
GTUBE = SAMPLES / "spam" / "gtube.eml"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
# Nothing may leave this machine: these modules ask DNS, redis or the web.
RSPAMD_OFF = (
    "rbl fuzzy_check asn dmarc spf dkim arc surbl url_redirector greylist ratelimit neural mx_check phishing hfilter history_redis"
    " replies redis"
)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A running daemon: `where` is what a setting says of it, `group` the process group that it and its children form."""

    where: str
    group: int

    def freeze(self) -> None:
        os.killpg(self.group, signal.SIGSTOP)

    def kill(self) -> None:
        os.killpg(self.group, signal.SIGKILL)

    def thaw(self) -> None:
        os.killpg(self.group, signal.SIGCONT)


def samples() -> list[Path]:
    """The public sample messages, spam and nice."""
    return sorted(path for kind in ("spam", "nice") for path in (SAMPLES / kind).rglob("*") if path.is_file())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], directory: Path, where: str, is_ready: Callable[[], bool]) -> Iterator[Engine]:
    with (directory / "output").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        until(lambda: is_ready() or process.poll() is not None, f"{command[0]} answers", seconds=60, every=0.05)
        assert process.poll() is None, (directory / "output").read_text(errors="replace")
        yield Engine(where=where, group=process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said(address: tuple[str, int] | str, question: bytes) -> bytes:
    """What is answered first; nothing where nobody listens."""
    try:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
            probe.settimeout(5)
            probe.connect(address)
            probe.sendall(question)
            return probe.recv(65536)
    except OSError:
        return b""


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found is not None
    return found


@contextlib.contextmanager
def clamd(directory: Path, *, tcp: bool = False, stream_limit: str = "25M") -> Iterator[Engine]:
    database = directory / "db"
    database.mkdir(parents=True)
    shutil.copy(VECTORS / "scan-clamav" / "test.ndb", database)
    # The path of a unix socket is of 107 octets at most, and pytest's directories are long.
    path = Path(f"/tmp/gatepost-clamd-{os.getpid()}-{free_port()}.sock")
    port = free_port()
    lines = [
        "Foreground yes",
        f"DatabaseDirectory {database}",
        f"TemporaryDirectory {directory}",
        f"StreamMaxLength {stream_limit}",
        *(["TCPAddr 127.0.0.1", f"TCPSocket {port}"] if tcp else [f"LocalSocket {path}"]),
        *(["User root"] if os.geteuid() == 0 else []),
    ]
    (directory / "clamd.conf").write_text("\n".join(lines) + "\n")
    address = ("127.0.0.1", port) if tcp else str(path)
    try:
        with running(
            [program("clamd"), "-c", str(directory / "clamd.conf")],
            directory,
            f"tcp:127.0.0.1:{port}" if tcp else f"unix:{path}",
            lambda: said(address, b"zPING\0") == b"PONG\0",
        ) as engine:
            yield engine
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def spamd() -> Iterator[Engine]:
    # As root it reads its files as nobody, and pytest's directories are ours alone.
    with tempfile.TemporaryDirectory(prefix="gatepost-spamd-") as made:
        Path(made).chmod(0o755)
        with _spamd(Path(made)) as engine:
            yield engine


@contextlib.contextmanager
def _spamd(directory: Path) -> Iterator[Engine]:
    site, home = directory / "site", directory / "home"
    home.mkdir()
    shutil.copytree("/etc/spamassassin", site)
    (site / "local.cf").write_text("dns_available no\nskip_rbl_checks 1\nuse_bayes 0\nrequired_score 5.0\n")
    port = free_port()
    command = [program("spamd"), "-L", "-x", "-i", "127.0.0.1", "-p", str(port), "-A", "127.0.0.1", "-m", "2"]
    command += [f"--siteconfigpath={site}", f"--helper-home-dir={home}", "-s", "stderr"]
    ping = b"PING SPAMC/1.5\r\n\r\n"
    where = ("127.0.0.1", port)
    with running(command, directory, f"127.0.0.1:{port}", lambda: b"PONG" in said(where, ping)) as engine:
        yield engine


@contextlib.contextmanager
def rspamd(directory: Path) -> Iterator[Engine]:
    for name in ("db", "run", "log"):
        (directory / name).mkdir(parents=True)
    settings = directory / "conf"
    shutil.copytree("/etc/rspamd", settings)
    for name in ("local.d", "override.d"):
        (settings / name).mkdir(exist_ok=True)
    port, unused = free_port(), free_port()
    # A name server that answers nothing, so that no question leaves.
    nowhere = f'dns {{ nameserver = ["127.0.0.1:{unused}:1"]; timeout = 0.05s; retransmits = 1; sockets = 1; }}\n'
    texts = {
        "override.d/options.inc": nowhere,
        "local.d/options.inc": f'filters = "chartable,dkim,regexp";\nlocal_addrs = ["127.0.0.0/8"];\n'
        f'control_socket = "{directory}/run/control.sock mode=0600";\n',
        "override.d/worker-normal.inc": f'bind_socket = "127.0.0.1:{port}"; count = 1;\n',
        "override.d/worker-controller.inc": f'bind_socket = "127.0.0.1:{free_port()}"; password = "test";\n',
        "override.d/worker-proxy.inc": "enabled = false;\n",
        "override.d/logging.inc": 'type = "console"; level = "notice";\n',
        **{f"local.d/{name}.conf": "enabled = false;\n" for name in RSPAMD_OFF.split()},
    }
    for name, text in texts.items():
        (settings / name).write_text(text)
    places = {"CONFDIR": settings, "LOCAL_CONFDIR": settings, "DBDIR": "db", "RUNDIR": "run", "LOGDIR": "log"}
    command = [program("rspamd"), "-f", "-c", str(settings / "rspamd.conf")]
    command += [f"--var={name}={directory / place}" for name, place in places.items()]
    command += ["-i"] if os.geteuid() == 0 else []
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=5) as reply:
                return bool(reply.read().startswith(b"pong"))
        except (urllib.error.URLError, OSError):
            return False

    with running(command, directory, url, answers) as engine:
        yield engine
