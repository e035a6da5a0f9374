"""Batches for the stand-ins: `/v1/files` and `/v1/batches` as the OpenAI API words them.

Files and batches live in memory and are gone with the process. Not in the paper; ours so that the
batch route is the same code, over the same client, without a network or a key.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

Line = dict[str, Any]


class BadRequest(ValueError):
    """A request that the server refuses; carries the HTTP status and the error's code."""

    def __init__(self, message: str, code: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status

    @property
    def body(self) -> dict[str, Any]:
        """The error as the OpenAI API words it."""
        detail = {"message": str(self), "type": "invalid_request_error", "param": None}
        return {"error": detail | {"code": self.code}}


def parse_body(body: bytes) -> dict[str, Any]:
    """The object in a request's body; raises `BadRequest` when there is none."""
    try:
        request = json.loads(body)
    except ValueError:
        raise BadRequest("the request body is not JSON") from None
    if not isinstance(request, dict):
        raise BadRequest("the request body must be a JSON object")
    return request


class Desk:
    """The files and batches of one server.

    Args:
        answer: the completion for a request body; `BadRequest` becomes that line's error.
        seconds: from the creation of a batch to its end.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]], seconds: float) -> None:
        self.answer, self.seconds = answer, seconds
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def handle(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any] | bytes | None:
        """The answer to one HTTP request, or None where the path is not about files or batches.

        Raises:
            BadRequest: an unknown file or batch, or a request that lacks something.
        """
        url = urlsplit(target)
        path = [part for part in url.path.split("/") if part][1:]  # without v1
        with self._lock:
            match method, path:
                case "POST", ["files"]:
                    return self.keep(_uploaded(headers, body))
                case "GET", ["files", name, "content"]:
                    return self._found(self.files, name)
                case "POST", ["batches"]:
                    return self.create(parse_body(body))
                case "GET", ["batches"]:
                    return self._listed(parse_qs(url.query))
                case "GET", ["batches", name]:
                    return self.look(self._found(self.batches, name))
        return None

    def _found(self, things: Mapping[str, Any], name: str) -> Any:
        if name not in things:
            raise BadRequest(f"no such object: {name}", "not_found", 404)
        return things[name]

    def keep(self, content: bytes) -> dict[str, Any]:
        """Store a file; returns its description."""
        name = f"file-{next(self._numbers):06d}"
        self.files[name] = content
        about = {"id": name, "object": "file", "purpose": "batch", "bytes": len(content)}
        return about | {"created_at": 0, "filename": f"{name}.jsonl", "status": "processed"}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a batch of an uploaded file."""
        lines = self._found(self.files, str(request.get("input_file_id"))).splitlines()
        batch = {
            "id": f"batch_{next(self._numbers):06d}",
            "object": "batch",
            "endpoint": request["endpoint"],
            "completion_window": request["completion_window"],
            "input_file_id": request["input_file_id"],
            "metadata": request.get("metadata"),
            "created_at": int(time.time()),
            "status": "in_progress",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        self.batches[batch["id"]] = batch
        batch["_ready"] = time.monotonic() + self.seconds
        return _public(batch)

    def _listed(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        """A page of batches, the newest first."""
        names = list(self.batches)[::-1]
        after = query.get("after", [""])[0]
        start = names.index(after) + 1 if after in names else 0
        page = names[start : start + int(query.get("limit", ["20"])[0])]
        rows = [_public(self.batches[name]) for name in page]
        return {"object": "list", "data": rows, "has_more": start + len(page) < len(names)}

    def look(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch as it is now; it is worked off when somebody looks after its time."""
        if batch["status"] == "in_progress" and time.monotonic() >= batch["_ready"]:
            self.finish(batch)
        return _public(batch)

    def finish(self, batch: dict[str, Any]) -> None:
        """Answer every line of a batch."""
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        done = [self.work(line) for line in lines]
        good = [line for line in done if (line["response"] or {}).get("status_code") == 200]
        bad = [line for line in done if line not in good]
        for name, rows in (("output_file_id", good), ("error_file_id", bad)):
            text = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
            batch[name] = self.keep(text)["id"] if rows else None
        counts = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        batch.update(status="completed", request_counts=counts)

    def work(self, line: Line) -> Line:
        """The result line for one request line."""
        try:
            status, body = 200, self.answer(line["body"])
        except BadRequest as error:
            status, body = error.status, error.body
        response = {"status_code": status, "request_id": "", "body": body}
        return {"id": "", "custom_id": line["custom_id"], "response": response, "error": None}


def _public(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if not name.startswith("_")}


def _uploaded(headers: Mapping[str, str], body: bytes) -> bytes:
    """The file in a multipart form."""
    head = f"Content-Type: {headers.get('Content-Type')}\r\n\r\n".encode()
    for part in BytesParser().parsebytes(head + body).walk():
        if part.get_param("name", header="content-disposition") == "file":
            return part.get_payload(decode=True)
    raise BadRequest("the form holds no file")
