"""The batch route: requests as files that a server works off within a day, at a lower price.

The order decides what a stopped process can cost. A batch is entered in the ledger with all its
requests, then its file is uploaded (which costs nothing), then the batch is created (which does).
It carries the ledger's name for it, so that a batch whose creation was not heard of is found on
the server and taken up instead of paid for again. What it gave is entered in portions; a reply
that is in the ledger is not entered twice.

Not stated in the paper; ours because half the price is worth a day's patience.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, TypeVar

import openai
from openai.types import Batch
from tqdm import tqdm

from trait_lib.teacher import ledger as book
from trait_lib.teacher import replies
from trait_lib.teacher.direct import budget_text
from trait_lib.teacher.ledger import Change, Ledger, Reply, Request
from trait_lib.teacher.prices import Price, most_tokens
from trait_lib.teacher.replies import Retry
from trait_lib.teacher.sender import FAILURES_IN_A_ROW, SAME_ANSWERS, SAME_ANSWERS_OF_ALL
from trait_lib.teacher.settings import BudgetReached, Limits, Route, Settings, TeacherStopped

ENDPOINT = "/v1/chat/completions"
NAME = "trait"  # of the entry in a batch's metadata that holds our name for it
MOST_BYTES = 150_000_000  # of one file; OpenAI takes 200 MB
CHANGES_PER_COMMIT = 500
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

T = TypeVar("T")


class Lasting(TeacherStopped):
    """The server's plain refusal, so that the call certainly did nothing."""


@dataclass
class Run:
    """The state of one run over the batch route."""

    client: openai.AsyncOpenAI
    settings: Settings
    limits: Limits
    ledger: Ledger
    price: Price
    route: Route
    stop: TeacherStopped | None = None

    def __post_init__(self) -> None:
        """Take the price of batches."""
        self.half = self.price.by_batch()
        self.server = str(self.client.base_url)
        self.answers: dict[str, list[str]] = {}  # of each request: those that are no replies

    async def send_all(self, todo: Mapping[str, Request]) -> dict[str, Reply]:
        """Bring every request to its end; returns the failed ones by key.

        Requests that a batch returned with a passing fault, or not at all, go into the next one,
        up to `limits.tries` times.
        """
        sent = dict.fromkeys(todo, 0)
        while left := self._left(todo, sent):
            portion = self._affordable(left)
            for key in await self._open(portion):
                sent[key] += 1
            if len(portion) in (0, len(left)):  # else more batches are opened first
                await self.settle()
        return self.ledger.failures(todo)

    def _left(self, todo: Mapping[str, Request], sent: Mapping[str, int]) -> dict[str, Request]:
        """The requests that are neither done, nor in an open batch, nor out of tries."""
        done = self.ledger.replies(todo)
        under_way = {
            key for row in self.ledger.open_batches() for key in self.ledger.waiting_in(row["name"])
        }
        return {
            key: request
            for key, request in todo.items()
            if key not in done
            and key not in under_way
            and sent[key] < self.limits.tries
            and not self._same_again(key)
        }

    def _same_again(self, key: str) -> bool:
        """Did a request get the same answer, which is no reply, again and again?"""
        last = self.answers.get(key, [])[-SAME_ANSWERS:]
        return len(last) == SAME_ANSWERS and len(set(last)) == 1

    def _affordable(self, left: Mapping[str, Request]) -> dict[str, Request]:
        """As many of the requests as one batch may hold and the budget allows.

        Raises:
            BudgetReached: not one, and no open batch could give money back.
        """
        totals = self.ledger.totals()
        spent = totals["cost"] + totals["at_risk"]
        portion: dict[str, Request] = {}
        for key, request in list(left.items())[: self.route.batch_requests]:
            worst = self._worst(request)
            if spent + worst > self.limits.budget and worst > 0:
                break
            spent += worst
            portion[key] = request
        if not portion and not self._mine():
            raise BudgetReached(budget_text(self.limits, self.half, spent, worst))
        return portion

    def _worst(self, request: Request) -> float:
        return self.half.cost(most_tokens(request), self.settings.max_tokens)

    # --- a new batch ---

    async def _open(self, portion: Mapping[str, Request]) -> list[str]:
        """Enter, upload and create a batch; returns the keys that it holds."""
        if not portion:
            return []
        name = uuid.uuid4().hex
        with tempfile.TemporaryFile() as file:
            kept = self._write(file, portion)
            changes = [book.batch_planned(name, self.server, self.settings.model, len(kept))]
            for key, request in kept.items():
                fields = (self.settings.model, self.settings.without_model, request)
                changes.append(book.sending(key, *fields, self._worst(request), name))
            self.ledger.apply(changes)
            try:
                await self._upload_and_create(name, file)
            except Lasting as stop:  # refused at the first try: nothing was bought
                self._withdraw(name, str(stop))
                raise
        return list(kept)

    def _write(self, file: IO[bytes], portion: Mapping[str, Request]) -> dict[str, Request]:
        """One line for each request, as many as fit into a file; returns those that did."""
        kept: dict[str, Request] = {}
        for key, request in portion.items():
            line = {"custom_id": key, "method": "POST", "url": ENDPOINT}
            line["body"] = self.settings.body(request)
            text = json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n"
            if kept and file.tell() + len(text) > MOST_BYTES:
                break
            file.write(text)
            kept[key] = request
        return kept

    async def _upload_and_create(self, name: str, file: IO[bytes]) -> None:
        async def upload() -> str:
            file.seek(0)
            sent = await self.client.files.create(file=(f"{name}.jsonl", file), purpose="batch")
            return _named(sent.id)

        async def create() -> str:
            # a creation that was not heard of may have happened all the same
            if found := await self._find(name):
                return found
            batch = await self.client.batches.create(
                input_file_id=uploaded,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={NAME: name},
            )
            return _named(batch.id)

        uploaded = await self._patiently(upload)
        self.ledger.apply([book.batch_uploaded(name, uploaded)])
        created = await self._patiently(create)
        self.ledger.apply([book.batch_created(name, created)])

    async def _find(self, name: str) -> str | None:
        """The server's id of the batch that carries our name, if it has one."""
        async for batch in self.client.batches.list(limit=100):
            if (batch.metadata or {}).get(NAME) == name:
                return batch.id
        return None

    def _withdraw(self, name: str, reason: str) -> None:
        """Give up a batch that the server does not have: it costs nothing."""
        waiting = self.ledger.waiting_in(name).items()
        changes = [book.withdrawn(key, worst, reason) for key, worst in waiting]
        self.ledger.apply([*changes, book.batch_closed(name, "withdrawn")])

    # --- open batches ---

    async def settle(self) -> None:
        """Wait until every open batch of this model is finished, and enter what it gave.

        Raises:
            TeacherStopped: they take longer than `wait_hours`, the server is away or refuses, or
                a batch or one of its requests had a fault that lasts.
        """
        until = time.monotonic() + self.route.wait_hours * 3600
        unheard = 0
        with tqdm(desc="batches", unit="reply", disable=None) as bar:
            while self._mine():
                try:
                    for row in self._mine():
                        await self._advance(row, bar)
                    unheard, pause = 0, 0.0
                except Retry as retry:
                    unheard, pause = unheard + 1, retry.pause
                    if unheard >= FAILURES_IN_A_ROW:
                        raise TeacherStopped(
                            f"the server was asked {unheard} times about batches, the last answer: "
                            f"{retry.error}. Run again to go on from here"
                        ) from None
                if self._mine():
                    await self._wait(until, pause)
        if self.stop:
            raise self.stop

    async def _wait(self, until: float, pause: float) -> None:
        if time.monotonic() >= until:
            raise TeacherStopped(
                f"{len(self._mine())} batches are not finished after {self.route.wait_hours:g} "
                "hours. They go on without this process: run again to fetch them"
            )
        await asyncio.sleep(max(self.route.poll_seconds, pause))

    def _mine(self) -> list[dict[str, Any]]:
        """The open batches of this model."""
        return [b for b in self.ledger.open_batches() if b["model"] == self.settings.model]

    async def _advance(self, row: Mapping[str, Any], bar: tqdm) -> None:
        """Look at one open batch, and close it when it is finished."""
        name = row["name"]
        if row["server"] != self.server:
            self._leave(row)
        elif row["state"] == "planned":  # stopped on the way to its creation
            if row["file"] and (found := await self._heard(lambda: self._find(name))):
                self.ledger.apply([book.batch_created(name, found)])
            else:
                self._withdraw(name, "not sent: the run was stopped")
        else:
            batch = await self._retrieve(row["batch"])
            counts = batch.request_counts
            bar.total, bar.n = row["requests"], counts.completed if counts else 0
            bar.refresh()
            if batch.status in ENDED:
                await self._close(name, batch)

    async def _retrieve(self, name: str) -> Batch:
        try:
            batch = await self._heard(lambda: self.client.batches.retrieve(name))
        except Lasting as stop:
            raise TeacherStopped(
                f"batch {name}: {stop}. If it is gone for good, `python -m trait_lib.teacher "
                "forget LEDGER` gives it up, with what it cost"
            ) from None
        if not isinstance(batch, Batch):
            raise Retry("the answer is no batch")
        return batch

    def _leave(self, row: Mapping[str, Any]) -> None:
        """A batch on another server: given up when it is free, else that server is named."""
        if any(self.ledger.waiting_in(row["name"]).values()):
            raise TeacherStopped(
                f"the ledger holds an open batch ({row['batch']}) at {row['server']}, which is "
                f"paid for; set base_url to that server to fetch it, not {self.server}"
            )
        self._withdraw(row["name"], "not sent: the server is another one")

    async def _close(self, name: str, batch: Batch) -> None:
        """Enter everything that a finished batch gave."""
        held = list(self.ledger.waiting_in(name))
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            await self._fetch(name, file)
        self._heed_answers(held)
        changes: list[Change] = []
        for key, worst in self.ledger.waiting_in(name).items():  # those that no file tells of
            if batch.status != "completed":
                changes.append(book.refused(key, worst))
            changes.append(book.failed(key, f"no reply in the batch, which is {batch.status}"))
        self.ledger.apply([*changes, book.batch_closed(name, batch.status)])
        if batch.status == "failed":
            self._explain(batch)

    def _heed_answers(self, held: Sequence[str]) -> None:
        """Stop when all that a batch gave is one and the same answer that is no reply."""
        last = [self.answers.get(key, [""])[-1] for key in held]
        if len(last) >= SAME_ANSWERS_OF_ALL and last[0] and len(set(last)) == 1:
            self.stop = self.stop or TeacherStopped(f"{len(last)} times the same answer, {last[0]}")

    def _explain(self, batch: Batch) -> None:
        """Stop after a batch that the server did not accept, unless a later one may pass."""
        found = (batch.errors.data if batch.errors else None) or []
        texts = "; ".join(f"{e.code}: {e.message}" for e in found[:3]) or "without a reason"
        full = any(e.code == "token_limit_exceeded" for e in found)
        if full and self._mine():
            return  # there is room once the others are finished
        advice = "use a smaller batch_requests" if full else replies.ADVICE[400]
        self.stop = self.stop or Lasting(f"the batch failed: {texts}: {advice}")

    async def _fetch(self, name: str, file: str) -> None:
        """Enter the lines of one of the batch's files; again from its start when it breaks off."""

        async def fetch(last: bool) -> None:
            waiting, changes = self.ledger.waiting_in(name), []
            lines = (await self.client.files.content(file)).content.split(b"\n")
            for line in lines:
                changes += self._read_line(line, waiting, last)
                if len(changes) >= CHANGES_PER_COMMIT:
                    self.ledger.apply(changes)
                    changes = []
            self.ledger.apply(changes)

        for number in range(self.limits.tries):
            try:
                return await self._heard(partial(fetch, number + 1 == self.limits.tries))
            except Retry as retry:
                error = retry.error
                await asyncio.sleep(max(retry.pause, replies.delay(self.limits, number)))
        raise TeacherStopped(f"file {file} of a batch: {error}. Run again to fetch it")

    def _read_line(self, line: bytes, waiting: dict[str, float], last: bool) -> list[Change]:
        """What one line says of its request; a line that is none is left out at the last try."""
        if not line.strip():
            return []
        try:
            row = json.loads(line)
            key = row["custom_id"]
        except (ValueError, KeyError, TypeError):
            if last:
                return []
            raise Retry(f"a line that is no result: {line[:80]!r}") from None
        if key not in waiting:  # entered before
            return []
        worst = waiting.pop(key)
        response = row.get("response") or {}
        if response.get("status_code") == 200:
            return self._read_reply(key, response.get("body"), worst)
        return self._read_fault(key, response, row.get("error") or {}, worst)

    def _read_reply(self, key: str, body: Any, worst: float) -> list[Change]:
        received = replies.read_completion(key, body, self.half, worst)
        if received.reply:
            return [book.answered(received.reply, json.dumps(body), worst)]
        fault = replies.fault_in(body)
        text = replies.without_key(str(fault), self.client.api_key)
        self.answers.setdefault(key, []).append(text)
        if isinstance(fault, TeacherStopped):
            self.stop = self.stop or TeacherStopped(text)
        if received.cost is None:
            return [book.failed(key, text)]  # stays at risk
        return [book.billed(key, received, worst), book.failed(key, text)]

    def _read_fault(
        self, key: str, response: Mapping[str, Any], error: Mapping[str, Any], worst: float
    ) -> list[Change]:
        status, body = response.get("status_code"), response.get("body")
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            error = body["error"]
        code, message = str(error.get("code") or ""), str(error.get("message") or "no message")
        text = replies.without_key(f"{code} {message}".strip(), self.client.api_key)
        if isinstance(status, int):
            verdict = replies.fault_of_status(status, code, text)
            if isinstance(verdict, TeacherStopped):
                self.stop = self.stop or verdict
            text = str(verdict)
        return [book.refused(key, worst), book.failed(key, text)]

    # --- calls that cost nothing ---

    async def _heard(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call returns; its faults as `Retry` or `Lasting`."""
        try:
            return await call()
        except openai.APIError as error:
            verdict = replies.fault_of(error, self.client.api_key)
        except ValueError as error:  # no JSON, or not of its form
            verdict = Retry(f"the answer cannot be read: {str(error)[:80]}")
        raise verdict if isinstance(verdict, Retry) else Lasting(str(verdict)) from None

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call returns, tried again while its faults pass."""
        error = ""
        for number in range(self.limits.tries):
            try:
                return await self._heard(call)
            except Retry as retry:
                error = retry.error
                await asyncio.sleep(max(retry.pause, replies.delay(self.limits, number)))
            except Lasting as stop:
                if number == 0:
                    raise
                raise TeacherStopped(str(stop)) from None  # an earlier try may have done it
        raise TeacherStopped(f"the server takes no batch: {error}. Run again to go on from here")


def _named(name: object) -> str:
    """The id that a server gave to what it made."""
    if not isinstance(name, str) or not name:
        raise Retry("the answer holds no id")
    return name
