"""An OpenAI-compatible completions server, such as vLLM: outputs, and log-likelihoods of prompts.

    vllm serve BASE_FOLDER --served-model-name base --port 8000
    vllm serve ADAPTED_FOLDER --served-model-name adapted --port 8001

A vLLM process serves one model, so each has an address: `base_url` of the base model is then
`http://localhost:8000/v1`, with `served_base: base`, and `adapted_url` `http://localhost:8001/v1`.
The key is taken from the environment variable OPENAI_API_KEY and from nowhere else. Prompts to be
scored go there as tokens, so that both routes read the same ones. vLLM echoes them with all their
log-probabilities; llama.cpp's server tells those of the next token only, and is asked once a
token. Paper: vLLM 0.4.2 for inference.
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
        "served_base and served_adapted; an address ends with /v1, and a vLLM process serves one "
        "model: base_url is that of the base model, adapted_url that of the adapted one"
    ),
    "onnect": "cannot be reached; start it, or correct base_url or adapted_url",
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
    text, where they were asked for and given; `of` are those that the first new token could have
    had, by token, as far as the server tells them.
    """

    number: int
    text: str
    tokens: int
    seconds: float
    logged: Sequence[float | None]
    of: Mapping[int, float]


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
    told = choice.get("logprobs") or {}
    of = {}
    if each := told.get("content"):  # as of a chat: what llama.cpp's server gives
        several = [*(each[0].get("top_logprobs") or []), each[0]]
        of = {one["id"]: float(one["logprob"]) for one in several if "id" in one}
    logged = told.get("token_logprobs") or []
    return Completion(number, storable(choice["text"]), used[1], seconds, logged, of)


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


Scored = tuple[Sequence[int], int]  # tokens, and how many of them are context, at least 1
BIAS = 100.0  # the most that is allowed: a token with it is the next one
TOGETHER = 32  # texts whose tokens are asked for at a time


def logged(remote: Remote, encoded: Sequence[Scored]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, log-probabilities of the tokens after the context), as replies come.

    Raises:
        ServerError: as `completions`; and a server that gives no log-probabilities of a prompt,
            neither by an echo nor token by token.
    """
    if first := list(_echoed(remote, encoded[:1])):
        yield from first
        for index, values in _echoed(remote, encoded[1:]):
            yield index + 1, values
    else:
        yield from _forced(remote, encoded)


def _echoed(remote: Remote, encoded: Sequence[Scored]) -> Iterator[tuple[int, np.ndarray]]:
    """The same from a server that echoes a prompt with log-probabilities; of another, nothing."""
    asked = [
        {"prompt": list(map(int, tokens)), "max_tokens": 1, "echo": True, "logprobs": 1}
        for tokens, _ in encoded
    ]
    try:
        for one in completions(remote, asked):
            tokens, known = encoded[one.number]
            values = one.logged[known : len(tokens)]
            if len(one.logged) < len(tokens) or None in values:
                return
            yield one.number, np.array(values, float)
    except ServerError as error:
        if "HTTP 400" not in str(error):  # which says who knows of no echo
            raise


def _forced(remote: Remote, encoded: Sequence[Scored]) -> Iterator[tuple[int, np.ndarray]]:
    """The same from a server that tells the log-probability of the next token only.

    A bias makes each token in turn the next one, and llama.cpp's server leaves the bias out of the
    log-probability that it tells. One that counts it in would tell nearly 0 of any token. Of a
    token that ends within a character nothing is told: it is looked up among all tokens.
    """
    if encoded:
        _check_bias(remote, encoded[0][0][:1])
    for start in range(0, len(encoded), TOGETHER):
        part = encoded[start : start + TOGETHER]
        places = [(n, end) for n, (ids, known) in enumerate(part) for end in range(known, len(ids))]
        found = {n: np.full(len(ids) - known, np.nan) for n, (ids, known) in enumerate(part)}
        for asking in (_forcing, _among_all):
            asked = [asking(part[n][0][:end], part[n][0][end]) for n, end in places]
            for one in completions(remote, asked):
                n, end = places[one.number]
                found[n][end - part[n][1]] = one.of.get(int(part[n][0][end]), np.nan)
            places = [(n, end) for n, end in places if np.isnan(found[n][end - part[n][1]])]
        if places:
            raise _silent(remote)
        yield from ((start + n, values) for n, values in found.items())


def _forcing(before: Sequence[int], token: int) -> dict[str, Any]:
    """Ask for `token` after others."""
    bias = {str(int(token)): BIAS}
    return {"prompt": list(map(int, before)), "max_tokens": 1, "logprobs": 1, "logit_bias": bias}


def _among_all(before: Sequence[int], _: int) -> dict[str, Any]:
    """Ask for all tokens after others; which of them is the next one does not matter."""
    return {**_forcing(before, 0), "logprobs": 10**6}


def _check_bias(remote: Remote, before: Sequence[int]) -> None:
    """Refuse a server that gives two different tokens probabilities of more than 1 together."""
    pair = [0, 1]
    asked = [_forcing(before, token) for token in pair]
    told = [one.of.get(pair[one.number], 0.0) for one in completions(remote, asked)]
    if np.exp(told).sum() > 1.001:
        raise _silent(remote)


def _silent(remote: Remote) -> ServerError:
    return ServerError(
        f"the server at {remote.base_url} gives no log-probabilities of a prompt (by echo with "
        "logprobs, or by logprobs beside logit_bias), which relevance scores and held-out text "
        "need; vLLM and llama.cpp's server do. Else leave base_url and adapted_url empty, and the "
        "weights are read on this machine"
    )
