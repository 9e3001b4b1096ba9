"""The verifying code of docs/webhooks.md accepts what we send, and nothing else, in each language that is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from console import ROOT, blocks

from actions.webhook import signature

PAGE = ROOT / "docs" / "webhooks.md"
SECRETS = ("whsec_YSBwdWJsaXNoZWQgc2FtcGxlIHNlY3JldCE=", "plain words")
NOW = 1_790_000_000
BODY = '{"notificationType":"Received","content":"Grüße\\r\\n"}'.encode()
KEY = "06gvsgk5r808e27miegev2e08bk1gq3a3drcvd01/0/support/2"


def code(language: str) -> str:
    (block,) = blocks(PAGE, f"{language} verify")
    return block.text


def sent(secret: str) -> dict[str, str]:
    return {
        "webhook-id": KEY,
        "webhook-timestamp": str(NOW),
        "webhook-signature": signature(secret, KEY, str(NOW), BODY),
    }


def cases() -> list[tuple[str, dict[str, str], bytes, int, bool]]:
    found = []
    for secret in SECRETS:
        headers = sent(secret)
        found += [
            (secret, headers, BODY, NOW + 10, True),
            (secret, {**headers, "webhook-signature": "v1,other " + headers["webhook-signature"]}, BODY, NOW, True),
            (secret, headers, BODY + b" ", NOW, False),
            (secret, {**headers, "webhook-id": KEY + "1"}, BODY, NOW, False),
            (secret, headers, BODY, NOW + 301, False),
            (secret[:-5] + "AAAA=", headers, BODY, NOW, False),
        ]
    return found


def test_python_verifies() -> None:
    names: dict = {}
    exec(code("python"), names)
    for secret, headers, body, now, expected in cases():
        assert names["verify"](secret, headers, body, now) is expected, (secret, headers)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_node_verifies(tmp_path: Path) -> None:
    lines = [
        f"console.log(verify({json.dumps(secret)}, {json.dumps(headers)}, Buffer.from({json.dumps(body.decode())}), {now}));"
        for secret, headers, body, now, _ in cases()
    ]
    script = tmp_path / "verify.mjs"
    script.write_text(code("js") + "\n".join(lines))
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected).lower() for *_, expected in cases()]


@pytest.mark.skipif(shutil.which("go") is None, reason="no go here")
def test_go_verifies(tmp_path: Path) -> None:
    rows = ""
    for secret, headers, body, now, expected in cases():
        sets = "".join(f"h.Set({json.dumps(name)}, {json.dumps(value)});" for name, value in headers.items())
        call = f"Verify({json.dumps(secret)}, h, []byte({json.dumps(body.decode(), ensure_ascii=False)}), time.Unix({now}, 0))"
        rows += f"\t{{h := http.Header{{}}; {sets} if {call} != {str(expected).lower()} {{ t.Error({json.dumps(secret)}) }} }}\n"
    (tmp_path / "go.mod").write_text("module webhook\n\ngo 1.21\n")
    (tmp_path / "verify.go").write_text(code("go"))
    (tmp_path / "verify_test.go").write_text(
        f'package webhook\nimport ("net/http"; "testing"; "time")\nfunc TestVerify(t *testing.T) {{\n{rows}}}\n'
    )
    done = subprocess.run(["go", "test", "./..."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Received(BaseHTTPRequestHandler):
    """Keeps each request that comes, and is content with it."""

    kept: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).kept.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


def request_of(rules: str, tmp_path: Path) -> tuple[dict[str, str], bytes]:
    """What really arrives at an endpoint when a sample message is walked by a webhook action."""
    Received.kept = []
    with HTTPServer(("127.0.0.1", 0), Received) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "rules.yaml").write_text(rules.format(url=f"http://127.0.0.1:{server.server_port}/inbound"))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gatepost", "replay", str(ROOT / "samples/messages/invoice.eml"), "--run"),
                *("--rules", "rules.yaml", "--dns", str(ROOT / "samples/dns/zone.yaml")),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert len(Received.kept) == 1, done.stdout
    return Received.kept[0]


RULES = """\
domains: [example.com]
rule_sets:
  default:
    - name: hook
      actions:
        - webhook:
            url: "{url}"
            secret: whsec_YSBwdWJsaXNoZWQgc2FtcGxlIHNlY3JldCE=
            headers: {{X-Source: mx1, Webhook-Id: forged}}
"""


def keys(value: Any) -> Any:
    """The shape of JSON: keys in their order, and what a list holds by its first item."""
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def test_a_real_request_is_the_one_that_the_page_describes(tmp_path: Path) -> None:
    headers, body = request_of(RULES, tmp_path)
    assert headers["webhook-id"].endswith("/0/hook/0")
    assert headers["x-source"] == "mx1"
    assert headers["content-type"] == "application/json"
    names: dict = {}
    exec(code("python"), names)
    assert names["verify"](SECRETS[0], headers, body, int(headers["webhook-timestamp"])) is True
    (shown,) = blocks(PAGE, "json")
    page, real = keys(json.loads(shown.text)), keys(json.loads(body))
    assert set(page["mail"].pop("commonHeaders")) <= set(real["mail"].pop("commonHeaders"))
    assert json.dumps(page) == json.dumps(real)
    assert json.loads(body)["receipt"]["action"]["encoding"] == "UTF8"
