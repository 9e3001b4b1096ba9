"""A server on loopback that is called as AWS Lambda's API and as a container with the Runtime Interface Emulator are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """`body` that is no bytes goes out as JSON; the connection is closed without a reply where `status` is 0."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None


@dataclass
class Server:
    url: str
    reply: Reply = field(default_factory=Reply)
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    most_at_once: int = 0

    @property
    def events(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.seen]


@contextmanager
def function_server() -> Iterator[Server]:
    under_way = 0
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal under_way
            with counting:
                under_way += 1
                made.most_at_once = max(made.most_at_once, under_way)
            body = self.rfile.read(int(self.headers["content-length"]))
            made.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            reply = made.reply
            if reply.wait is not None:
                reply.wait.wait(10)
            with counting:
                under_way -= 1
            if not reply.status:
                self.close_connection = True
                return
            answer = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Server(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
