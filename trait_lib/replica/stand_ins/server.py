"""One OpenAI-compatible HTTP server for every stand-in: chat completions, files and batches.

    with server.serve(answer, "some-model") as base_url: ...

`answer` makes the completion for a request body, or raises `BadRequest`. Not in the paper; ours so
that the real `openai` client is always in the path, without a network or a key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from trait_lib.replica.stand_ins.batches import BadRequest, Desk, parse_body

Body = dict[str, Any]
Answer = Callable[[Body], Body]


def contents(request: Body, prefix: str) -> str:
    """The text of all messages of a chat request to a model whose name begins with `prefix`.

    Raises:
        BadRequest: a field is missing or wrong.
    """
    name, messages = request.get("model"), request.get("messages")
    if not isinstance(name, str):
        raise BadRequest("you must provide a model parameter")
    if not name.startswith(prefix):
        raise BadRequest(f"the model {name!r} does not exist", "model_not_found", 404)
    if request.get("stream") or request.get("n", 1) != 1:
        raise BadRequest("this server answers with one choice and does not stream")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a non-empty list")
    texts = [m.get("content") if isinstance(m, dict) else None for m in messages]
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest("each message must be an object with text in 'content'")
    return "\n".join(texts)


def digest(request: Body) -> str:
    """A hash of the whole request, which decides what chance decides."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def completion(
    request: Body, model: str, text: str, tokens: tuple[int, int], reason: str = "stop"
) -> Body:
    """A chat completion as the OpenAI API words it; `tokens` are those of prompt and reply."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return {
        "id": f"chatcmpl-{digest(request)[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage | {"total_tokens": sum(tokens)},
    }


class _Handler(BaseHTTPRequestHandler):
    """One connection; HTTP/1.1 keeps it open for the next request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._serve("GET", b"")

    def do_POST(self) -> None:
        self._serve("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _serve(self, method: str, body: bytes) -> None:
        try:
            status, value = 200, self._answer(method, body)
        except BadRequest as error:
            status, value = error.status, error.body
        except Exception as error:  # the client must hear of a fault of ours as of any server's
            fault = BadRequest(f"{type(error).__name__}: {error}", "server_error", 500)
            status, value = fault.status, fault.body
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        # head and body in one write: two would wait for a delayed acknowledgement
        self._headers_buffer.append(b"\r\n" + content)
        self.flush_headers()

    def _answer(self, method: str, body: bytes) -> Body | bytes:
        path = self.path.rstrip("/")
        if (method, path) == ("POST", "/v1/chat/completions"):
            return self.server.answer(parse_body(body))
        if (method, path) == ("GET", "/v1/models"):
            entry = {"id": self.server.model, "object": "model", "owned_by": "trait", "created": 0}
            return {"object": "list", "data": [entry]}
        found = self.server.desk.handle(method, self.path, self.headers, body)
        if found is None:
            raise BadRequest(f"unknown path {self.path}", "not_found", 404)
        return found

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a notebook's output must not hold the server's log."""


class Server(ThreadingHTTPServer):
    """Bound, but not answering yet; port 0 takes a free one.

    Args:
        answer: the completion for a request body.
        model: the name that it lists.
        seconds: from the creation of a batch to its end.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        answer: Answer,
        model: str,
        port: int = 0,
        host: str = "127.0.0.1",
        seconds: float = 0.0,
    ) -> None:
        super().__init__((host, port), _Handler)
        self.answer, self.model, self.desk = answer, model, Desk(answer, seconds)

    @property
    def url(self) -> str:
        """The base URL, `http://.../v1`."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no fault of the server; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def running(server: Server) -> Iterator[str]:
    """Answer in a thread of this process; yields the base URL."""
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
