"""Sends requests to one server, as many at a time as allowed, again while its faults pass.

Every payer's requests go through here: passages, grades, the judge, and the completions of a
model behind a server. What a send means (a ledger entry before it, money after it) is the
caller's. Not stated in the paper; ours.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import openai
from tqdm import tqdm

from trait_lib.teacher import replies
from trait_lib.teacher.replies import NoCompletion, Retry, TimedOut
from trait_lib.teacher.settings import Limits, TeacherStopped

SLOTS_PER_EXTRA = 4  # one request more than slots is under way for so many slots
FAILURES_IN_A_ROW = 20  # so many requests without a reply: the server is away
SAME_ANSWERS = 2  # so often in a row the same answer that is no reply: asking again is no use
SAME_ANSWERS_OF_ALL = 5  # the same by the answers to all requests: the run is no use
FEWEST_TIMEOUTS = 6  # in a row, before a run stops for them
T = TypeVar("T")


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


class Sender(Generic[T]):
    """One run against one server.

    Args:
        clients: from `settings.open_clients`.
        limits: rates, tries, timeout.
        send: one send of a request by its key; raises `Retry` or `TeacherStopped`. It takes its
            connection by `slot`.
        fail: hears of a request that has no reply after all tries, with the last error.
        tokens: of a request, for the rate limit.
    """

    def __init__(
        self,
        clients: Sequence[openai.AsyncOpenAI],
        limits: Limits,
        send: Callable[[str, T], Awaitable[None]],
        fail: Callable[[str, str], Awaitable[None]],
        tokens: Callable[[T], int] = lambda _: 0,
    ) -> None:
        self.limits, self.send, self.fail, self.tokens = limits, send, fail, tokens
        self.stop: TeacherStopped | None = None
        # since the last reply came:
        self._failures, self._answers, self._timeouts = 0, list[str](), 0
        self._paused_until = 0.0
        self._slots: asyncio.LifoQueue[openai.AsyncOpenAI] = asyncio.LifoQueue()
        for i in range(limits.concurrency):
            self._slots.put_nowait(clients[i % len(clients)])
        self._requests = _Pace(limits.requests_per_minute)
        self._tokens = _Pace(limits.tokens_per_minute)

    async def send_all(self, todo: Mapping[str, T], what: str) -> None:
        """Bring every request to its end: sent, failed, or the end of the run.

        Raises:
            TeacherStopped: see `client.ask`; requests in flight are waited for first.
        """
        waiting = iter(todo.items())
        at_a_time = self.limits.concurrency + self.limits.concurrency // SLOTS_PER_EXTRA
        with tqdm(total=len(todo), desc=what, unit="reply", disable=None) as bar:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(at_a_time, len(todo))):
                        group.create_task(self._work(waiting, bar))
            except BaseExceptionGroup as several:  # a group's own text says nothing
                raise _first(several) from None
        if self.stop:
            raise self.stop

    async def _work(self, waiting: Iterator[tuple[str, T]], bar: tqdm) -> None:
        for key, request in waiting:
            if self.stop:
                return
            await self._finish(key, request)
            bar.update()

    async def _finish(self, key: str, request: T) -> None:
        error, answers = "", []
        for number in range(self.limits.tries):
            await self._wait_for_turn(request)
            if self.stop or answers[-SAME_ANSWERS:].count(error) == SAME_ANSWERS:
                break
            try:
                await self.send(key, request)
                self._failures, self._answers, self._timeouts = 0, [], 0
                return
            except TeacherStopped as stop:
                self.stop, error = self.stop or stop, str(stop)
                break
            except Retry as retry:
                error = retry.error
                self._paused_until = max(self._paused_until, time.monotonic() + retry.pause)
                if isinstance(retry, NoCompletion):
                    answers.append(error)
                    self._heed_answer(error)
                else:
                    answers.clear()
                if isinstance(retry, TimedOut):
                    self._tell_timeout(number)
            if number + 1 < self.limits.tries:
                await asyncio.sleep(replies.delay(self.limits, number))
        if not error:
            return  # never sent
        await self.fail(key, error)
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self._stop(f"{self._failures} requests in a row had no reply, the last: {error}")

    def _stop(self, reason: str) -> None:
        self.stop = self.stop or TeacherStopped(f"{reason}. Run again to go on from here")

    def _heed_answer(self, error: str) -> None:
        """Stop the run when the last answers say that the next ones will be no replies either."""
        self._answers.append(error)
        if self._answers[-SAME_ANSWERS_OF_ALL:].count(error) == SAME_ANSWERS_OF_ALL:
            self._stop(f"{SAME_ANSWERS_OF_ALL} times in a row the same answer, {error}")

    def _tell_timeout(self, number: int) -> None:
        """Say what a timeout means, and stop the run when nothing else comes."""
        self._timeouts += 1
        limits, seconds = self.limits, self.limits.timeout_seconds
        advice = (
            f"lower the requests at a time (now {limits.concurrency}) to "
            f"{max(1, limits.concurrency // 2)}, or raise the timeout to {2 * seconds:g} s"
        )
        if self._timeouts >= max(FEWEST_TIMEOUTS, 2 * limits.concurrency):
            self._stop(
                f"{self._timeouts} requests in a row had no reply within {seconds:g} s: {advice}. "
                "The server may still be at work on them, and bill them"
            )
        again = f"it is sent again ({number + 2} of {limits.tries})"
        last = self.stop or number + 1 == limits.tries
        tqdm.write(
            f"no reply within {seconds:g} s, {self._timeouts} in a row: the server may still be at "
            f"work on the request, and bill it; {'it is given up' if last else again}. If this "
            f"goes on, {advice}"
        )

    async def _wait_for_turn(self, request: T) -> None:
        delay = max(self._requests.delay(1), self._tokens.delay(self.tokens(request)))
        if delay:
            await asyncio.sleep(delay)
        await self._wait_for_the_server()

    async def _wait_for_the_server(self) -> None:
        """Return when no Retry-After is running."""
        while (pause := self._paused_until - time.monotonic()) > 0 and not self.stop:
            await asyncio.sleep(pause + random.uniform(0, 0.1))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[openai.AsyncOpenAI]:
        """A free connection, as soon as the server may be asked."""
        client = await self._slots.get()
        try:
            await self._wait_for_the_server()
            yield client
        finally:
            self._slots.put_nowait(client)


async def exchange(client: openai.AsyncOpenAI, path: str, body: Mapping[str, Any]) -> str:
    """Send one body to `path`; returns the text of the answer, without the key.

    The package's typed calls check each message, which takes as long as sending it.

    Raises:
        openai.APIError: refused, timed out or dropped.
    """
    text = await client.post(path, cast_to=str, body=dict(body))
    return replies.without_key(text, client.api_key)


def _first(several: BaseExceptionGroup) -> BaseException:
    """The first single exception in a group."""
    one: BaseException = several
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one
