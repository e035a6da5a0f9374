"""The direct route: requests one by one, as many at a time as allowed.

A request is entered in the ledger before it is sent and its reply before it is used; commits that
fall together are made as one. A few requests more than there are slots are under way, so that a
slot never waits for a commit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import openai
from tqdm import tqdm

from trait_lib.teacher import ledger as book
from trait_lib.teacher import replies
from trait_lib.teacher.ledger import Change, Ledger, Reply, Request
from trait_lib.teacher.prices import Price, estimate_tokens, most_tokens
from trait_lib.teacher.replies import Retry
from trait_lib.teacher.settings import BudgetReached, Limits, Settings, TeacherStopped

GATHER_SECONDS = 0.002  # changes that arrive within this time share a commit
SLOTS_PER_EXTRA = 4  # one request more than slots is under way for so many slots
FAILURES_IN_A_ROW = 20  # so many requests without a reply: the server is away


class Writer:
    """Commits changes to the ledger; those that arrive together share one commit.

    The statements run in the event loop's own thread: in another one each of them would wait for
    the interpreter's lock, up to 5 ms. Only the wait for the disk is left to another thread.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def commit(self, change: Change) -> None:
        """Return when the change is on the disk."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush())
        await asyncio.shield(done)

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            batch, self._waiting = self._waiting, []
            try:
                self._ledger.enter(change for change, _ in batch)
                await asyncio.to_thread(self._ledger.commit)
            except Exception as error:  # every waiter must hear of it, whatever it is
                for _, done in batch:
                    done.set_exception(error)
            else:
                for _, done in batch:
                    done.set_result(None)

    async def drain(self) -> None:
        """Return when nothing is left to commit."""
        if self._task is not None:
            await self._task


@dataclass
class _Pace:
    """Spaces sends so that `per_minute` is kept; 0 does not hold anything up."""

    per_minute: float
    _next: float = 0.0

    def delay(self, amount: float) -> float:
        """Seconds to wait before sending `amount`; the place in the queue is taken."""
        if not self.per_minute:
            return 0.0
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * 60 / self.per_minute
        return start - now


@dataclass
class Run:
    """The state of one run over the direct route."""

    clients: Sequence[openai.AsyncOpenAI]
    settings: Settings
    limits: Limits
    ledger: Ledger
    price: Price
    stop: TeacherStopped | None = None
    failures_in_a_row: int = 0
    paused_until: float = 0.0
    failed: dict[str, Reply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up what earlier runs spent."""
        totals = self.ledger.totals()
        self.spent = totals["cost"] + totals["at_risk"]
        self.reserved = 0
        self.settled = asyncio.Event()
        self.writer = Writer(self.ledger)
        self.slots: asyncio.LifoQueue[openai.AsyncOpenAI] = asyncio.LifoQueue()
        for i in range(self.limits.concurrency):
            self.slots.put_nowait(self.clients[i % len(self.clients)])
        self.pace_requests = _Pace(self.limits.requests_per_minute)
        self.pace_tokens = _Pace(self.limits.tokens_per_minute)

    async def send_all(self, todo: Mapping[str, Request]) -> dict[str, Reply]:
        """Send every request; returns the failed ones by key."""
        waiting = iter(todo.items())
        at_a_time = self.limits.concurrency + self.limits.concurrency // SLOTS_PER_EXTRA
        with tqdm(total=len(todo), desc="teacher", unit="reply", disable=None) as bar:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(at_a_time, len(todo))):
                        group.create_task(self._work(waiting, bar))
            finally:
                await self.writer.drain()
        if self.stop:
            raise self.stop
        return self.failed

    async def _work(self, waiting: Iterator[tuple[str, Request]], bar: tqdm) -> None:
        for key, request in waiting:
            if self.stop:
                return
            await self._finish(key, request)
            bar.update()

    async def _finish(self, key: str, request: Request) -> None:
        """Bring one request to its end: done, failed, or the end of the run."""
        error = ""
        for number in range(self.limits.tries):
            await self._wait_for_turn(request)
            if self.stop:
                break
            try:
                await self._send(key, request)
                self.failures_in_a_row = 0
                return
            except Retry as retry:
                error = retry.error
                self.paused_until = max(self.paused_until, time.monotonic() + retry.pause)
                if number + 1 < self.limits.tries:
                    await asyncio.sleep(replies.delay(self.limits, number))
            except TeacherStopped as stop:
                self.stop = self.stop or stop
                error = str(stop)
                break
        if not error:
            return  # never sent
        await self.writer.commit(book.failed(key, error))
        self.failed[key] = Reply(key, "", "", 0, 0, 0.0, error)
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= FAILURES_IN_A_ROW and not self.stop:
            count = f"{FAILURES_IN_A_ROW} requests in a row had no reply"
            self.stop = TeacherStopped(f"{count}, the last: {error}. Run again to go on from here")

    async def _wait_for_turn(self, request: Request) -> None:
        tokens = estimate_tokens(request) + self.settings.max_tokens
        delay = max(self.pace_requests.delay(1), self.pace_tokens.delay(tokens))
        if delay:
            await asyncio.sleep(delay)
        await self._wait_for_the_server()

    async def _wait_for_the_server(self) -> None:
        """Return when no Retry-After is running."""
        while (pause := self.paused_until - time.monotonic()) > 0 and not self.stop:
            await asyncio.sleep(pause + random.uniform(0, 0.1))

    async def _send(self, key: str, request: Request) -> None:
        """One send, entered in the ledger before and after."""
        worst = self.price.cost(most_tokens(request), self.settings.max_tokens)
        await self._reserve(worst)
        try:
            model, settings = self.settings.model, self.settings.without_model
            await self.writer.commit(book.sending(key, model, settings, request, worst))
            client = await self.slots.get()
            try:
                await self._wait_for_the_server()
                if self.stop:  # while this one waited
                    self.spent -= worst
                    reason = "not sent: the run stopped"
                    await self.writer.commit(book.withdrawn(key, worst, reason))
                    raise self.stop
                text = await self._exchange(client, key, request, worst)
            finally:
                self.slots.put_nowait(client)
            await self._receive(key, text, worst)
        finally:
            self.reserved -= 1
            self.settled.set()

    async def _reserve(self, worst: float) -> None:
        """Set aside the most that a request can cost, waiting for what others give back of theirs.

        Raises:
            BudgetReached: it does not fit, and no other request is under way.
        """
        while worst > 0 and self.spent + worst > self.limits.budget:
            if not self.reserved:
                raise BudgetReached(budget_text(self.limits, self.price, self.spent, worst))
            self.settled.clear()
            await self.settled.wait()
            if self.stop:
                raise self.stop
        self.spent += worst
        self.reserved += 1

    async def _exchange(
        self, client: openai.AsyncOpenAI, key: str, request: Request, worst: float
    ) -> str:
        """Send the request; returns the body of the answer."""
        body = self.settings.body(request)
        try:
            # the package checks each message against its types, which takes as long as sending it;
            # in `extra_body` the same bytes go out unchecked
            raw = await client.chat.completions.with_raw_response.create(
                model=self.settings.model, messages=[], extra_body=body
            )
        except openai.APIError as error:
            if isinstance(error, openai.APIStatusError):  # refused, so it costs nothing
                self.spent -= worst
                await self.writer.commit(book.refused(key, worst))
            raise replies.judge_error(error, client.api_key) from None
        return raw.text

    async def _receive(self, key: str, text: str, worst: float) -> None:
        """Enter what came back; a reply that is no completion may have cost money all the same."""
        received = replies.read_completion(key, replies.parse_json(text), self.price, worst)
        if received.reply is None and received.cost is None:
            raise Retry(f"the reply holds no choice: {text[:80]!r}")  # stays at risk
        self.spent += received.cost - worst
        if received.reply is None:
            used = (received.prompt_tokens, received.completion_tokens, received.cost)
            await self.writer.commit(book.billed(key, *used, worst))
            raise Retry(f"the reply holds no choice: {text[:80]!r}")
        await self.writer.commit(book.answered(received.reply, text, worst))


def budget_text(limits: Limits, price: Price, spent: float, worst: float) -> str:
    """What to say when the next request does not fit into the budget."""
    return (
        f"budget {limits.budget} {price.currency}: {spent:.4f} is spent or in flight, the next "
        f"request may cost {worst:.4f}. Finished replies are in the ledger; raise the budget and "
        "run again to go on from here"
    )
