"""An OpenAI-compatible completions server, such as vLLM: outputs, and log-likelihoods of prompts.

    vllm serve FOLDER --served-model-name adapted

then `base_url` is `http://localhost:8000/v1` and `served_adapted` is `adapted`. The key is taken
from the environment variable OPENAI_API_KEY and from nowhere else. Log-likelihoods need a server
that echoes the prompt with log-probabilities, as vLLM's completions do; prompts go there as
tokens, so that both routes read the same ones. Paper: vLLM 0.4.2 for inference.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import anyio.from_thread
import numpy as np
import openai

from trait_lib.teacher import replies, sender, settings
from trait_lib.teacher.ledger import storable
from trait_lib.teacher.settings import TeacherStopped

TRIES = 7  # of a request, with growing pauses: about a minute in all
TIMEOUT = 600.0  # seconds of one request: a server may keep it in its queue
ADVICE = {
    "HTTP 401": f"refuses the key; set the environment variable {settings.KEY_VARIABLE}",
    "HTTP 403": f"refuses the key; set the environment variable {settings.KEY_VARIABLE}",
    "HTTP 404": (
        "does not know the model {name!r}, or has no completions; its models: {known}. Set "
        "served_base and served_adapted; base_url ends with /v1"
    ),
    "onnect": "cannot be reached; start it, or correct base_url",
}


class ServerError(RuntimeError):
    """The server cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Remote:
    """A model behind a server: its address, the server's name of it, requests at a time."""

    base_url: str
    name: str
    workers: int = 1


@dataclass(frozen=True)
class Completion:
    """What a server gave for one request: `number` is its place among those asked.

    `tokens` is 0 when the server does not count; `logged` are the log-probabilities of prompt and
    text, where they were asked for and given.
    """

    number: int
    text: str
    tokens: int
    seconds: float
    logged: Sequence[float | None]


def completions(remote: Remote, asked: Sequence[Mapping[str, Any]]) -> Iterator[Completion]:
    """Yield completions as they come; greedy.

    Raises:
        ServerError: no connection, a wrong key, an unknown model, a refused request, an answer
            that is no completion.
    """
    made: SimpleQueue[Completion | None] = SimpleQueue()
    with anyio.from_thread.start_blocking_portal() as portal:
        job = portal.start_task_soon(_send_all, remote, asked, made.put)
        job.add_done_callback(lambda _: made.put(None))
        while (one := made.get()) is not None:
            yield one
        job.result()


async def _send_all(
    remote: Remote, asked: Sequence[Mapping[str, Any]], put: Callable[[Completion], None]
) -> None:
    """Have every request answered; each completion goes to `put`."""
    limits = settings.Limits(max(1, remote.workers), timeout_seconds=TIMEOUT, tries=TRIES)
    where = settings.Server(remote.base_url, bool(os.environ.get(settings.KEY_VARIABLE)))

    async def send(key: str, body: Mapping[str, Any]) -> None:
        async with job.slot() as one:
            if job.stop:
                raise job.stop
            started = time.perf_counter()
            try:
                text = await sender.exchange(one, "/completions", body)
            except openai.APIError as error:
                raise replies.fault_of(error, one.api_key) from None
        put(_read(int(key), text, time.perf_counter() - started))

    async def fail(key: str, error: str) -> None:
        job.stop = job.stop or TeacherStopped(error)

    whole = {"model": remote.name, "temperature": 0}
    bodies = {str(number): {**whole, **one} for number, one in enumerate(asked)}
    async with settings.open_clients(where, limits) as clients:
        job = sender.Sender(clients, limits, send, fail)
        try:
            await job.send_all(bodies, "completions")
        except TeacherStopped as stop:
            raise ServerError(f"{where.name} {await _advice(remote, clients[0], stop)}") from None


def _read(number: int, text: str, seconds: float) -> Completion:
    """The completion in a body; raises what `replies.fault_in` finds in one that holds none."""
    body = replies.parse_json(text)
    choice = replies.first_choice(body)
    if choice is None or not isinstance(choice.get("text"), str):
        raise replies.fault_in(body)
    used = replies.tokens_used(body) or (0, 0)
    logged = (choice.get("logprobs") or {}).get("token_logprobs") or []
    return Completion(number, storable(choice["text"]), used[1], seconds, logged)


async def _advice(remote: Remote, client: openai.AsyncOpenAI, stop: TeacherStopped) -> str:
    """What went wrong with the server, and what to do."""
    for sign, advice in ADVICE.items():
        if sign in str(stop):
            known = "it lists none"
            if "{known}" in advice:
                with contextlib.suppress(openai.OpenAIError):
                    known = ", ".join([model.id async for model in client.models.list()])
            return f"{advice.format(name=remote.name, known=known)} ({stop})"
    return f"cannot be used: {stop}"


def logged(
    remote: Remote, encoded: Sequence[tuple[Sequence[int], int]]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, log-probabilities of the tokens after the context), as replies come.

    Args:
        remote: the server.
        encoded: (tokens, how many of them are context, at least 1).

    Raises:
        ServerError: as `completions`; and a server that gives no log-probabilities of the prompt.
    """
    asked = [
        {"prompt": list(map(int, tokens)), "max_tokens": 1, "echo": True, "logprobs": 1}
        for tokens, _ in encoded
    ]
    for one in completions(remote, asked):
        tokens, known = encoded[one.number]
        values = one.logged[known : len(tokens)]
        if len(one.logged) < len(tokens) or None in values:
            raise ServerError(
                f"the server at {remote.base_url} gives no log-probabilities of a prompt (echo "
                "with logprobs), which relevance scores and held-out text need; vLLM does. "
                "Else leave base_url empty, and the weights are read on this machine"
            )
        yield one.number, np.array(values, float)
