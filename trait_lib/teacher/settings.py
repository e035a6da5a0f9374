"""How a teacher is asked: sampling settings, limits, server and route; and how a run is stopped.

Not stated in the paper; ours because all of this decides the replies or the bill.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import openai

from trait_lib.teacher import ledger as book
from trait_lib.teacher.ledger import Request

KEY_VARIABLE = "OPENAI_API_KEY"
CONNECTIONS_PER_CLIENT = 8
PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")  # never public


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

    @cached_property
    def without_model(self) -> Mapping[str, Any]:
        """The settings as the ledger keeps them, beside the model's name."""
        return {name: value for name, value in asdict(self).items() if name != "model"}

    def key(self, request: Request) -> str:
        """The request's key in the ledger."""
        return book.request_key(self.model, self.without_model, request)


@dataclass(frozen=True)
class Limits:
    """How fast and how far. Rates of 0 mean no limit; `budget` is money for the whole ledger.

    `first_delay` is the longest wait in seconds before the second try; it doubles with each try.
    """

    concurrency: int = 16
    requests_per_minute: float = 0
    tokens_per_minute: float = 0
    timeout_seconds: float = 120
    tries: int = 6
    budget: float = 10.0
    first_delay: float = 0.5


@dataclass(frozen=True)
class Route:
    """How requests travel: one by one (`direct`), or as files that a server works off (`batch`).

    `batch_requests` is the most that one batch holds. `wait_hours` is how long a run waits for
    open batches before it stops; the next run goes on waiting.
    """

    name: str = "direct"
    batch_requests: int = 10_000
    poll_seconds: float = 60.0
    wait_hours: float = 48.0


DIRECT = Route()


@dataclass(frozen=True)
class Server:
    """Where the teacher is; `base_url` None is OpenAI's own."""

    base_url: str | None = None
    needs_key: bool = True

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return f"the server at {self.base_url or 'OpenAI'}"

    @property
    def is_loopback(self) -> bool:
        """Is it on this machine, where no proxy that the environment names can reach it?"""
        if (address := _address(self.host)) is None:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return address.is_loopback or address.is_unspecified

    @property
    def is_own(self) -> bool:
        """Is it on this machine or in a private network? A name without a dot is in one."""
        if (address := _address(self.host)) is None:
            return bool(self.host) and ("." not in self.host or self.host.endswith(PRIVATE_NAMES))
        return not address.is_global

    @property
    def host(self) -> str:
        """The name or address in its URL."""
        return (urlsplit(self.base_url or "").hostname or "").rstrip(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is given by; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def api_key(server: Server) -> str:
    """The key, from the environment only; a server that needs none is sent none.

    Raises:
        TeacherStopped: the server needs one and the environment has none.
    """
    if not server.needs_key:
        return "none"
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and not server.is_loopback:
        raise TeacherStopped(
            f"no key: set {KEY_VARIABLE} in the environment, never in a file (any text will do for "
            "a server of your own that asks for none)"
        )
    return key or "none"


def _transport(**options: bool) -> openai.DefaultAsyncHttpxClient:
    """One of the package's own two transports; that of aiohttp takes half the processor time."""
    try:
        return openai.DefaultAioHttpClient(**options)
    except RuntimeError:  # openai without its extra `aiohttp`
        return openai.DefaultAsyncHttpxClient(**options)


@contextlib.asynccontextmanager
async def open_clients(server: Server, limits: Limits) -> AsyncIterator[list[openai.AsyncOpenAI]]:
    """The openai clients for a server, without retries of their own.

    Several, because the connection pool of each looks at all its connections for every request.
    """
    key = api_key(server)
    local = {"trust_env": False} if server.is_loopback else {}
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                openai.AsyncOpenAI(
                    api_key=key,
                    base_url=server.base_url,
                    timeout=limits.timeout_seconds,
                    max_retries=0,
                    http_client=_transport(**local),
                )
            )
            for _ in range(math.ceil(limits.concurrency / CONNECTIONS_PER_CLIENT))
        ]
        yield clients
