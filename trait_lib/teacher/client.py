"""The teacher client: many requests to an OpenAI-compatible server, each paid for once.

Built on the official `openai` client, whose own retries are off: the ledger must know of every
send. The key comes from the environment only. The paper names GPT-4 and no client; ours.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence

from trait_lib import run
from trait_lib.teacher import batch, direct
from trait_lib.teacher.ledger import Ledger, Reply, Request
from trait_lib.teacher.prices import Plan, Price, estimate_tokens, most_tokens
from trait_lib.teacher.settings import (
    DIRECT,
    BudgetReached,
    Limits,
    Route,
    Server,
    Settings,
    TeacherStopped,
    api_key,
    open_clients,
)

__all__ = [
    "DIRECT",
    "BudgetReached",
    "Limits",
    "Route",
    "Server",
    "Settings",
    "TeacherStopped",
    "api_key",
    "ask",
    "plan",
    "plan_of",
]


def _missing(requests: Sequence[Request], settings: Settings, ledger: Ledger) -> dict[str, Request]:
    """The requests, each once and by its key, that have no reply in the ledger."""
    by_key = {settings.key(request): request for request in requests}
    done = ledger.replies(by_key)
    return {key: request for key, request in by_key.items() if key not in done}


def plan(
    requests: Sequence[Request],
    settings: Settings,
    limits: Limits,
    ledger: Ledger,
    price: Price,
    reply_tokens: int,
    seconds_per_reply: float = 10.0,
) -> Plan:
    """What `ask` would send now: requests, tokens, money, time. Sends nothing.

    Args:
        requests: all of the run; equal ones count once.
        settings: the sampling settings.
        limits: rates and requests at a time.
        ledger: which replies are there.
        price: of the model.
        reply_tokens: expected for one reply.
        seconds_per_reply: expected for one reply.
    """
    todo = _missing(requests, settings, ledger).values()
    tokens_in, most_in = sum(map(estimate_tokens, todo)), sum(map(most_tokens, todo))
    different = len({settings.key(request) for request in requests})
    counts = (different, different - len(todo), tokens_in, most_in)
    return plan_of(*counts, settings, limits, price, reply_tokens, seconds_per_reply)


def plan_of(
    requests: int,
    in_ledger: int,
    tokens_in: int,
    most_in: int,
    settings: Settings,
    limits: Limits,
    price: Price,
    reply_tokens: int,
    seconds_per_reply: float = 10.0,
) -> Plan:
    """The plan for so many requests; those that are not in the ledger have `tokens_in` tokens.

    `most_in` is the most that these can be; the other arguments are those of `plan`.
    """
    todo = requests - in_ledger
    most_out = settings.max_tokens * todo
    tokens_out = min(reply_tokens * todo, most_out)
    minutes = [todo * seconds_per_reply / limits.concurrency / 60]
    if limits.requests_per_minute:
        minutes.append(todo / limits.requests_per_minute)
    if limits.tokens_per_minute:
        # as servers count, and the client with them: a reply takes its limit, not its length
        minutes.append((tokens_in + most_out) / limits.tokens_per_minute)
    return Plan(
        requests,
        in_ledger,
        tokens_in,
        tokens_out,
        price.cost(tokens_in, tokens_out),
        price.by_batch().cost(tokens_in, tokens_out),
        price.cost(most_in, most_out),
        price.by_batch().cost(most_in, most_out),
        price.currency,
        max(minutes),
    )


async def ask(
    requests: Sequence[Request],
    settings: Settings,
    limits: Limits,
    ledger: Ledger,
    price: Price,
    server: Server | None,
    route: Route = DIRECT,
) -> list[Reply]:
    """The reply to each request, in order; from the ledger where it has one.

    Retries 429, 5xx, timeouts, dropped connections and replies that are no chat completion, with
    growing random delays and the server's Retry-After. A request without a usable reply after
    `limits.tries` sends comes back with `error` set, and is tried again by the next run. Batches
    that an earlier run left open are waited for first, whatever the route is now.

    Args:
        requests: what to ask; equal ones are sent once.
        settings: the sampling settings.
        limits: rates, tries and budget.
        ledger: where everything is entered.
        price: of the model.
        server: where to send, or None to replay: only what the ledger holds is answered.
        route: direct or batch.

    Raises:
        TeacherStopped: the key is missing or refused, the request is wrong, the quota is used
            up, the server is away, a batch is not finished in time, or a replay lacks a request.
            Requests in flight are waited for first.
        BudgetReached: the next request could exceed `limits.budget`.
    """
    keys = [settings.key(request) for request in requests]
    todo = _missing(requests, settings, ledger)
    if server is None:
        failed = _replayed(todo, ledger)
    else:
        with _named(server, ledger):
            failed = await _sent(todo, settings, limits, ledger, price, server, route)
    done = ledger.replies(dict.fromkeys(keys))
    return [done.get(key) or failed[key] for key in keys]


async def _sent(
    todo: dict[str, Request],
    settings: Settings,
    limits: Limits,
    ledger: Ledger,
    price: Price,
    server: Server,
    route: Route,
) -> dict[str, Reply]:
    """Send what the ledger lacks; returns the requests without a reply."""
    if not todo:
        return {}
    async with open_clients(server, limits) as clients:
        batches = batch.Run(clients[0], settings, limits, ledger, price, route)
        if ledger.open_batches():
            await batches.settle()
            done = ledger.replies(todo)
            todo = {key: request for key, request in todo.items() if key not in done}
        if route.name == "batch":
            return await batches.send_all(todo)
        return await direct.Run(clients, settings, limits, ledger, price).send_all(todo)


@contextlib.contextmanager
def _named(server: Server, ledger: Ledger) -> Iterator[None]:
    """Name the server, or the ledger that cannot be written, in what ends the run."""
    try:
        yield
    except BudgetReached:
        raise
    except TeacherStopped as stop:
        raise TeacherStopped(f"{server.name}: {stop}") from None
    except (sqlite3.Error, OSError) as error:
        raise TeacherStopped(
            f"the ledger {run.show(ledger.path)} cannot be written: {error}. The replies that are "
            "in it are kept: make room, then run again to go on from here"
        ) from error


def _replayed(todo: dict[str, Request], ledger: Ledger) -> dict[str, Reply]:
    failed = ledger.failures(todo)
    if lacking := len(todo) - len(failed):
        raise TeacherStopped(
            f"the replayed ledger lacks {lacking} of the requests: model, prompt, problems and "
            "sampling parameters must be those of the run that it was exported from"
        )
    return failed
