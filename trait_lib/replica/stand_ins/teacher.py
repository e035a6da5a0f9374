"""The reference-solution teacher: a stand-in for a teacher LLM behind a real HTTP server.

It answers two kinds of prompt as an OpenAI-compatible server does, so that the real `openai`
client is always in the path: passage prompts (`writer.py`) and the educational-quality question
(`rubric.py`), known by a line `Task: educational-quality` or by the words `Educational score:`
that it must answer with, and by a text in `<document>` tags.
The wording varies with a hash of the whole request, so equal requests get equal replies.

    with teacher.serve(["problems_train.jsonl"]) as base_url: ...
    python -m trait_lib.replica.stand_ins.teacher --problems problems_train.jsonl --port 8000

Not in the paper (its teacher is GPT-4); ours so that the chain runs without a network or a key.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trait_lib.replica.stand_ins import rubric, writer

QUALITY_MARKER = re.compile(r"^Task: educational-quality\s*$|Educational score:", re.MULTILINE)
DOCUMENT = re.compile(r"<document>\n?(.*?)\n?</document>", re.DOTALL)
TOKEN = re.compile(r"\w+|[^\w\s]")
MODEL_PREFIX = "reference-solution"


class BadRequest(ValueError):
    """A request that the server refuses; carries the HTTP status and the error's code."""

    def __init__(self, message: str, code: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True)
class Teacher:
    """What the server answers with: the problems it knows and how freely it words."""

    library: writer.Library
    model: str
    opener_share: float


def model_name(problem_files: Sequence[str | Path] = (), opener_share: float = 0.25) -> str:
    """The model's name, which changes with all that decides its replies.

    That is this teacher's source code, the problem files and the settings; so a ledger keyed by
    the model's name never returns a reply of an older teacher.
    """
    sources = [Path(module.__file__) for module in (writer, rubric)] + [Path(__file__)]
    digest = hashlib.sha256(repr(opener_share).encode())
    for path in [*sources, *map(Path, problem_files)]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{MODEL_PREFIX}-{digest.hexdigest()[:8]}"


def count_tokens(text: str) -> int:
    """Words and punctuation marks: the teacher's usage counts, as it has no tokenizer."""
    return len(TOKEN.findall(text))


# --- replies ----------------------------------------------------------------------------------


def complete(teacher: Teacher, request: dict[str, Any]) -> dict[str, Any]:
    """The chat completion for a request body, as the OpenAI API words it.

    Raises:
        BadRequest: a field is missing or wrong, or no prompt of a known kind is in the messages.
    """
    prompt = "\n".join(_contents(request))
    limit = _limit(request)
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    text, reason = _cut(_reply(teacher, prompt, random.Random(digest)), limit)
    used_in, used_out = count_tokens(prompt), count_tokens(text)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None}
    return {
        "id": f"chatcmpl-{digest[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": teacher.model,
        "choices": [choice | {"finish_reason": reason}],
        "usage": {
            "prompt_tokens": used_in,
            "completion_tokens": used_out,
            "total_tokens": used_in + used_out,
        },
    }


def _contents(request: dict[str, Any]) -> list[str]:
    if not isinstance(request.get("model"), str):
        raise BadRequest("you must provide a model parameter")
    if not request["model"].startswith(MODEL_PREFIX):
        name = request["model"]
        raise BadRequest(f"the model {name!r} does not exist", "model_not_found", 404)
    if request.get("stream") or request.get("n", 1) != 1:
        raise BadRequest("this server answers with one choice and does not stream")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a non-empty list")
    contents = [m.get("content") if isinstance(m, dict) else None for m in messages]
    if not all(isinstance(content, str) for content in contents):
        raise BadRequest("each message must be an object with text in 'content'")
    return contents


def _limit(request: dict[str, Any]) -> int | None:
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequest("'max_tokens' must be a positive integer")
    return limit


def _reply(teacher: Teacher, prompt: str, rng: random.Random) -> str:
    if QUALITY_MARKER.search(prompt):
        documents = DOCUMENT.findall(prompt)
        if not documents:
            raise BadRequest("no text between <document> and </document>")
        return rubric.judge(documents[-1])
    try:
        problems = writer.read_prompt(prompt, teacher.library)
    except writer.UnknownProblem as error:
        raise BadRequest(str(error), "unknown_problem") from None
    if not problems:
        raise BadRequest("no <problem> in the prompt; this teacher writes passages only")
    wanted = "<enlightenment>" in prompt
    return writer.write_passage(problems, teacher.library, rng, wanted, teacher.opener_share)


def _cut(text: str, limit: int | None) -> tuple[str, str]:
    """The text within `limit` tokens, and the finish reason."""
    ends = [found.end() for found in TOKEN.finditer(text)]
    if limit is None or len(ends) <= limit:
        return text, "stop"
    return text[: ends[limit - 1]], "length"


# --- the server -------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    """One connection; HTTP/1.1 keeps it open for the next request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path.rstrip("/") != "/v1/models":
            return self._refuse(BadRequest(f"unknown path {self.path}", "not_found", 404))
        entry = {"id": self.server.teacher.model, "object": "model", "owned_by": "trait"}
        self._send(200, {"object": "list", "data": [entry | {"created": 0}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.rstrip("/") != "/v1/chat/completions":
            return self._refuse(BadRequest(f"unknown path {self.path}", "not_found", 404))
        try:
            self._send(200, complete(self.server.teacher, _parse(body)))
        except BadRequest as error:
            self._refuse(error)
        except Exception as error:  # the client must hear of a fault of ours as of any server's
            self._refuse(BadRequest(f"{type(error).__name__}: {error}", "server_error", 500))

    def _refuse(self, error: BadRequest) -> None:
        detail = {"message": str(error), "type": "invalid_request_error", "param": None}
        self._send(error.status, {"error": detail | {"code": error.code}})

    def _send(self, status: int, value: dict[str, Any]) -> None:
        """Send head and body in one write: two writes would wait for a delayed acknowledgement."""
        body = json.dumps(value, ensure_ascii=False).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers_with(body)

    def end_headers_with(self, body: bytes) -> None:
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a notebook's output must not hold the server's log."""


def _parse(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise BadRequest("the request body is not JSON") from None
    if not isinstance(request, dict):
        raise BadRequest("the request body must be a JSON object")
    return request


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    teacher: Teacher

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no fault of the server; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def make_server(
    problem_files: Sequence[str | Path] = (),
    port: int = 0,
    opener_share: float = 0.25,
    host: str = "127.0.0.1",
) -> _Server:
    """A server that is bound but does not answer yet; port 0 takes a free one.

    Raises:
        FileNotFoundError, ValueError: a problem file is missing or holds a bad row.
        OSError: the port is taken.
    """
    library = writer.load_library(problem_files)
    server = _Server((host, port), _Handler)
    server.teacher = Teacher(library, model_name(problem_files, opener_share), opener_share)
    return server


@contextlib.contextmanager
def serve(
    problem_files: Sequence[str | Path] = (), port: int = 0, opener_share: float = 0.25
) -> Iterator[str]:
    """Run the teacher in a thread of this process; yields its base URL, `http://.../v1`."""
    server = make_server(problem_files, port, opener_share)
    thread = threading.Thread(target=server.serve_forever, name="teacher", daemon=True)
    thread.start()
    try:
        yield _url(server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _url(server: _Server) -> str:
    return f"http://{server.server_address[0]}:{server.server_address[1]}/v1"


def main(arguments: Iterable[str] | None = None) -> None:
    """Serve until interrupted; prints the base URL first."""
    parser = argparse.ArgumentParser(
        "python -m trait_lib.replica.stand_ins.teacher", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--problems", nargs="*", default=[], help="problem files with solutions")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--opener-share", type=float, default=0.25)
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        server = make_server(options.problems, options.port, options.opener_share, options.host)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(_url(server), flush=True)
    with contextlib.suppress(KeyboardInterrupt), server:
        server.serve_forever()


if __name__ == "__main__":
    main()
