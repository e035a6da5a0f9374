"""The teacher client: many requests to an OpenAI-compatible server, each paid for once.

Built on the official `openai` client, whose own retries are off: the ledger must know of every
send. The key comes from the environment only. The paper names GPT-4 and no client; ours.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai
from tqdm import tqdm

from trait_lib.passages import ledger as book
from trait_lib.passages.ledger import Change, Ledger, Reply, Request
from trait_lib.passages.prices import Plan, Price, estimate_tokens, make_plan, most_tokens

KEY_VARIABLE = "OPENAI_API_KEY"
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # seconds between tries
LONGEST_PAUSE = 600.0  # seconds; a server that asks for a longer pause ends the run
GATHER_SECONDS = 0.003  # a commit takes about as long; changes that arrive meanwhile share one
FAILURES_IN_A_ROW = 20  # so many requests without a reply: the server is away
RETRIED_STATUS = frozenset({408, 409, 425, 429})
ADVICE = {
    400: "the server finds the request itself wrong; check model, settings and prompt",
    401: f"the key is not accepted; set {KEY_VARIABLE} to a valid key of this server",
    402: "the account has no money left; add some, then run again",
    403: "the key may not use this model; choose another model or key",
    404: "the server knows no such model or path; check model and base_url",
    413: "the prompt is too long for this server; use a smaller k",
    422: "the server does not take a setting; check the sampling parameters",
}


class TeacherStopped(RuntimeError):
    """The run cannot go on; says why and what to do. Finished replies are in the ledger."""


class BudgetReached(TeacherStopped):
    """The next request could cost more than is left of the budget."""


@dataclass(frozen=True)
class Settings:
    """The sampling settings: with model, messages and attempt, all that decides a reply.

    `limit_field` is what the server calls the token limit; `seed` is sent plus the attempt.
    """

    model: str
    max_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    limit_field: str = "max_tokens"

    def body(self, request: Request) -> dict[str, Any]:
        """The request's JSON body."""
        body = {"model": self.model, "messages": [dict(m) for m in request.messages]}
        body |= {"temperature": self.temperature, "top_p": self.top_p}
        body[self.limit_field] = self.max_tokens
        if self.seed is not None:
            body["seed"] = self.seed + request.attempt
        return body

    def key(self, request: Request) -> str:
        """The request's key in the ledger."""
        settings = {name: value for name, value in asdict(self).items() if name != "model"}
        return book.request_key(self.model, settings, request)


@dataclass(frozen=True)
class Limits:
    """How fast and how far. Rates of 0 mean no limit; `budget` is money for the whole ledger."""

    concurrency: int = 16
    requests_per_minute: float = 0
    tokens_per_minute: float = 0
    timeout_seconds: float = 120
    tries: int = 6
    budget: float = 10.0


@dataclass(frozen=True)
class Server:
    """Where the teacher is; `base_url` None is OpenAI's own."""

    base_url: str | None = None
    needs_key: bool = True


def api_key(server: Server) -> str:
    """The key, from the environment only; a server that needs none is sent none.

    Raises:
        TeacherStopped: the server needs one and the environment has none.
    """
    if not server.needs_key:
        return "none"
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise TeacherStopped(
            f"no key: set {KEY_VARIABLE} in the environment, never in a file (any text will do for "
            "a server of your own that asks for none)"
        )
    return key


def open_client(server: Server, limits: Limits) -> openai.AsyncOpenAI:
    """The openai client for a server, without retries of its own."""
    host = urlsplit(server.base_url or "").hostname
    # a proxy set in the environment cannot reach this machine's loopback
    local = {"http_client": openai.DefaultAsyncHttpxClient(trust_env=False)}
    return openai.AsyncOpenAI(
        api_key=api_key(server),
        base_url=server.base_url,
        timeout=limits.timeout_seconds,
        max_retries=0,
        **(local if host in ("127.0.0.1", "localhost", "::1") else {}),
    )


def missing(requests: Sequence[Request], settings: Settings, ledger: Ledger) -> list[Request]:
    """The requests, each once, that have no reply in the ledger."""
    by_key = {settings.key(request): request for request in requests}
    done = ledger.replies(by_key)
    return [request for key, request in by_key.items() if key not in done]


def plan(
    requests: Sequence[Request],
    settings: Settings,
    limits: Limits,
    ledger: Ledger,
    price: Price,
    reply_tokens: int,
    seconds_per_reply: float = 10.0,
) -> Plan:
    """What `ask` would send now: requests, tokens, money, time. Sends nothing."""
    return make_plan(
        requests,
        missing(requests, settings, ledger),
        price,
        min(reply_tokens, settings.max_tokens),
        settings.max_tokens,
        limits.concurrency,
        seconds_per_reply,
        limits.requests_per_minute,
        limits.tokens_per_minute,
    )


async def ask(
    requests: Sequence[Request],
    settings: Settings,
    limits: Limits,
    ledger: Ledger,
    price: Price,
    server: Server,
) -> list[Reply]:
    """The reply to each request, in order; from the ledger where it has one.

    Retries 429, 5xx, timeouts, dropped connections and replies that are no chat completion, with
    growing random delays and the server's Retry-After. A request without a usable reply after
    `limits.tries` sends comes back with `error` set, and is tried again by the next run.

    Raises:
        TeacherStopped: the key is missing or refused, the request is wrong, the quota is used
            up, the server is away. Requests in flight are waited for first.
        BudgetReached: the next request could exceed `limits.budget`.
    """
    keys = [settings.key(request) for request in requests]
    todo = {settings.key(request): request for request in missing(requests, settings, ledger)}
    failed: dict[str, Reply] = {}
    if todo:
        async with open_client(server, limits) as client:
            job = _Run(client, settings, limits, ledger, price)
            failed = await job.send_all(todo)
    done = ledger.replies(dict.fromkeys(keys))
    return [done.get(key) or failed[key] for key in keys]


class _Writer:
    """Commits changes to the ledger; those that arrive during a commit share the next one."""

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
                await asyncio.to_thread(self._ledger.apply, [change for change, _ in batch])
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


class _Retry(Exception):
    """A send that failed and may be repeated; `pause` is the server's Retry-After, in seconds."""

    def __init__(self, error: str, pause: float = 0.0) -> None:
        super().__init__(error)
        self.error, self.pause = error, pause


@dataclass
class _Run:
    """The state of one `ask`."""

    client: openai.AsyncOpenAI
    settings: Settings
    limits: Limits
    ledger: Ledger
    price: Price
    stop: TeacherStopped | None = None
    failures_in_a_row: int = 0
    paused_until: float = 0.0
    failed: dict[str, Reply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        totals = self.ledger.totals()
        self.spent = totals["cost"] + totals["at_risk"]
        self.writer = _Writer(self.ledger)
        self.pace_requests = _Pace(self.limits.requests_per_minute)
        self.pace_tokens = _Pace(self.limits.tokens_per_minute)

    async def send_all(self, todo: Mapping[str, Request]) -> dict[str, Reply]:
        """Send every request; returns the failed ones by key."""
        waiting = iter(todo.items())
        with tqdm(total=len(todo), desc="teacher", unit="reply", disable=None) as bar:

            async def work() -> None:
                for key, request in waiting:
                    if self.stop:
                        return
                    await self._finish(key, request)
                    bar.update()

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.limits.concurrency, len(todo))):
                        group.create_task(work())
            finally:
                await self.writer.drain()
        if self.stop:
            raise self.stop
        return self.failed

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
            except _Retry as retry:
                error = retry.error
                self.paused_until = max(self.paused_until, time.monotonic() + retry.pause)
                if number + 1 < self.limits.tries:
                    longest = min(FIRST_DELAY * 2**number, LONGEST_DELAY)
                    await asyncio.sleep(random.uniform(longest / 2, longest))
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
        while (pause := self.paused_until - time.monotonic()) > 0 and not self.stop:
            await asyncio.sleep(pause + random.uniform(0, 0.1))

    async def _send(self, key: str, request: Request) -> None:
        """One send, entered in the ledger before and after."""
        worst = self.price.cost(most_tokens(request), self.settings.max_tokens)
        if self.spent + worst > self.limits.budget and worst > 0:
            raise BudgetReached(self._budget_text(worst))
        self.spent += worst
        settings = {n: v for n, v in asdict(self.settings).items() if n != "model"}
        change = book.sending(key, self.settings.model, settings, request, worst)
        await self.writer.commit(change)
        try:
            body = self.settings.body(request)
            raw = await self.client.chat.completions.with_raw_response.create(**body)
        except openai.APIStatusError as error:
            self.spent -= worst
            await self.writer.commit(book.refused(key, worst))
            raise self._status_error(error) from None
        except openai.APIConnectionError as error:  # timeouts and dropped connections
            cause = error.__cause__ or error
            raise _Retry(self._safe(f"{type(cause).__name__}: {cause}")) from None
        await self._receive(key, raw.text, worst)

    async def _receive(self, key: str, text: str, worst: float) -> None:
        """Enter what came back; a reply that is no completion may have cost money all the same."""
        try:
            body = json.loads(text)
        except json.JSONDecodeError:
            raise _Retry(f"the reply is not JSON: {text[:80]!r}") from None
        usage = (body.get("usage") or {}) if isinstance(body, dict) else {}
        used = [usage.get(n) for n in ("prompt_tokens", "completion_tokens")]
        counted = all(isinstance(n, int) for n in used)
        cost = self.price.cost(*used) if counted else worst
        tokens_in, tokens_out = used if counted else (0, 0)
        reply = _read_choice(key, body, tokens_in, tokens_out, cost)
        if reply is None and not counted:
            raise _Retry(f"the reply holds no choice: {text[:80]!r}")  # stays at risk
        self.spent += cost - worst
        if reply is None:
            await self.writer.commit(book.billed(key, tokens_in, tokens_out, cost, worst))
            raise _Retry(f"the reply holds no choice: {text[:80]!r}")
        await self.writer.commit(book.answered(reply, text, worst))

    def _status_error(self, error: openai.APIStatusError) -> Exception:
        status, code = error.status_code, str(error.code or "")
        message = self._safe(f"HTTP {status} {error.message}")
        if code == "insufficient_quota":
            return TeacherStopped(f"{message}. The account's quota is used up: add money or wait")
        if status in RETRIED_STATUS or status >= 500:
            pause = retry_after(error.response.headers)
            if pause > LONGEST_PAUSE:
                return TeacherStopped(
                    f"{message}. The server asks to wait {pause:.0f} s: run later"
                )
            return _Retry(message, pause)
        return TeacherStopped(f"{message}: {ADVICE.get(status, ADVICE[400])}")

    def _safe(self, text: str) -> str:
        """Without the key, which some servers repeat in their errors."""
        return text.replace(self.client.api_key, "***") if len(self.client.api_key) > 4 else text

    def _budget_text(self, worst: float) -> str:
        money = self.price.currency
        return (
            f"budget {self.limits.budget} {money}: {self.spent:.4f} is spent or in flight, the "
            f"next request may cost {worst:.4f}. Finished replies are in the ledger; raise the "
            "budget and run again to go on from here"
        )


def _read_choice(key: str, body: Any, tokens_in: int, tokens_out: int, cost: float) -> Reply | None:
    """The reply in a completion's first choice, or None when it has none."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or message.get("refusal") or ""
        reason = choice.get("finish_reason") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if not isinstance(text, str) or not (text or reason):
        return None
    return Reply(key, text, str(reason), tokens_in, tokens_out, cost)


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that a server asks to wait: in milliseconds, seconds or as a date; else 0."""
    with_unit = ((headers.get("retry-after-ms"), 1e-3), (headers.get("retry-after"), 1.0))
    for text, unit in with_unit:
        try:
            return max(0.0, float(text or "") * unit)
        except ValueError:
            continue
    try:
        when = email.utils.parsedate_to_datetime(headers.get("retry-after") or "")
    except ValueError:
        return 0.0
    return max(0.0, when.timestamp() - time.time())
