"""A real HTTP server on loopback that answers, refuses and breaks as it is told."""

import asyncio
import hashlib
import json
import os
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trait_lib.replica.stand_ins.batches import BadRequest, Desk
from trait_lib.teacher import client, prices
from trait_lib.teacher.ledger import Ledger, Request

# a make that a test starts is not a part of the `make -j` that started the tests
for _of_make in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(_of_make, None)


def completion(text, reason="stop", tokens=(10, 5)):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return {"choices": [choice | {"finish_reason": reason}], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/v1/models":
            return self.answer({"data": [{"id": "tiny", "object": "model"}]})
        self.desk_answer("GET", b"")

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.endswith("/completions"):
            return self.desk_answer("POST", raw)
        body = json.loads(raw)
        name = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        server = self.server
        with server.lock:
            number = server.received[name]
            server.received[name] += 1
            server.bodies.append(body)
            server.keys.append(self.headers["Authorization"])
            server.times.append(time.monotonic())
            server.open += 1
            server.most_open = max(server.most_open, server.open)
        try:
            self.answer(server.behaviour(number, body))
        finally:
            with server.lock:
                server.open -= 1
        with server.lock:
            server.answered[name] += 1

    def desk_answer(self, method, raw):
        """Files and batches; `server.at(method, path)` may fault before or after they are made."""
        place = f"{method} {self.path.partition('?')[0].removeprefix('/v1/')}"
        fault = self.server.at(place) or {}
        if "status" in fault:
            return self.answer(fault)
        try:
            made = self.server.desk.handle(method, self.path, self.headers, raw)
        except BadRequest as error:
            return self.answer({"status": error.status, "body": json.dumps(error.body)})
        self.server.calls.append(place)
        if "hold" in fault:
            fault["hold"].set()
            time.sleep(60)
        text = made.decode() if isinstance(made, bytes) else json.dumps(made)
        self.answer({**fault, "body": text})

    def answer(self, reply):
        """`reply`: a completion, or a dictionary of status, headers, body, delay, drop."""
        if not reply.keys() & {"status", "body", "delay", "drop", "headers"}:
            reply = {"body": json.dumps(reply)}
        time.sleep(reply.get("delay", 0))
        content = reply.get("body", "{}").encode()
        self.send_response(reply.get("status", 200))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for key, value in reply.get("headers", {}).items():
            self.send_header(key, value)
        if reply.get("drop"):
            content, self.close_connection = content[: len(content) // 2], True
        self._headers_buffer.append(b"\r\n" + content)
        self.flush_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, behaviour):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.lock = threading.Lock()
        self.received, self.answered = Counter(), Counter()
        self.bodies, self.keys, self.times = [], [], []
        self.open = self.most_open = 0
        self.at, self.calls = lambda place: None, []
        self.desk = Desk(lambda body: behaviour(0, body), 0.0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_):
        """Clients that were killed hang up; that is what some tests are about."""


@pytest.fixture
def serve():
    """Start servers by `serve(behaviour)`; behaviour(nth time for this body, body) -> reply.

    The body is that of a chat or of a text completion.
    """
    started = []

    def start(behaviour):
        server = Server(behaviour)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.daemon = True
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


PRICE = prices.Price("m", "USD", "2026-01-01", input=1.0, output=2.0, batch_discount=0.5)


@pytest.fixture
def ask(tmp_path):
    """Ask a server for replies to texts: `ask(server, ["a", "b"], tries=3)`."""

    async def go(server, requests, ledger, price, needs_key, limits, route):
        settings = client.Settings(model="m", max_tokens=100)
        where = client.Server(server.url, needs_key)
        with Ledger(ledger) as book:
            return await client.ask(requests, settings, limits, book, price, where, route)

    def run(server, texts, needs_key=False, route=None, **limits):
        ledger = tmp_path / "ledger.sqlite"
        requests = [Request([{"role": "user", "content": text}]) for text in texts]
        limits = client.Limits(
            **{"concurrency": 4, "timeout_seconds": 5, "first_delay": 0.01, **limits}
        )
        return asyncio.run(
            go(server, requests, ledger, PRICE, needs_key, limits, route or client.Route())
        )

    return run
