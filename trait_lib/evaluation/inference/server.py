"""An OpenAI-compatible completions server, such as vLLM: outputs, and log-likelihoods of prompts.

    vllm serve FOLDER --served-model-name adapted

then `base_url` is `http://localhost:8000/v1` and `served_adapted` is `adapted`. The key is taken
from the environment variable OPENAI_API_KEY and from nowhere else. Log-likelihoods need a server
that echoes the prompt with log-probabilities, as vLLM's completions do; prompts go there as
tokens, so that both routes read the same ones. Paper: vLLM 0.4.2 for inference.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

RETRIES = 6  # of a request, with growing pauses: about a minute in all
TIMEOUT = 600.0  # seconds of one request: a server may keep it in its queue


class ServerError(RuntimeError):
    """The server cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Remote:
    """A model behind a server: its address, the server's name of it, requests at a time."""

    base_url: str
    name: str
    workers: int = 1


def completions(
    remote: Remote, asked: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, Any, float]]:
    """Yield (number of the request, its reply, seconds) as the replies come; greedy.

    Raises:
        ServerError: no connection, a wrong key, an unknown model, a refused request.
    """
    import openai

    client = openai.OpenAI(
        base_url=remote.base_url,
        api_key=os.environ.get("OPENAI_API_KEY") or "none",
        max_retries=RETRIES,
        timeout=TIMEOUT,
    )

    def ask(number: int) -> tuple[int, Any, float]:
        started = time.perf_counter()
        reply = client.completions.create(model=remote.name, temperature=0, **asked[number])
        return number, reply, time.perf_counter() - started

    waiting = deque(range(len(asked)))
    running: set[Future[tuple[int, Any, float]]] = set()
    with client, ThreadPoolExecutor(max(1, remote.workers)) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * max(1, remote.workers):
                    running.add(pool.submit(ask, waiting.popleft()))
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ready)
        except openai.OpenAIError as error:
            raise ServerError(_advice(remote, client, error)) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _advice(remote: Remote, client: Any, error: Exception) -> str:
    """What went wrong with the server, and what to do."""
    import openai

    where = f"the server at {remote.base_url}"
    if isinstance(error, openai.APITimeoutError):
        return f"{where} did not answer within {TIMEOUT:.0f} s; lower workers, then run again"
    if isinstance(error, openai.APIConnectionError):
        return f"{where} cannot be reached ({error.__cause__}); start it, or correct base_url"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"{where} refuses the key; set the environment variable OPENAI_API_KEY"
    if isinstance(error, openai.NotFoundError):
        try:
            known = ", ".join(model.id for model in client.models.list())
        except openai.OpenAIError:
            known = "it lists none"
        return (
            f"{where} does not know the model {remote.name!r}, or has no completions; its models: "
            f"{known}. Set served_base and served_adapted; base_url ends with /v1"
        )
    if isinstance(error, openai.APIStatusError):
        return f"{where} refuses a request with status {error.status_code}: {error.message}"
    return f"{where}: {error}"


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
    for number, reply, _ in completions(remote, asked):
        tokens, known = encoded[number]
        found = getattr(reply.choices[0].logprobs, "token_logprobs", None) or []
        values = found[known : len(tokens)]
        if len(found) < len(tokens) or None in values:
            raise ServerError(
                f"the server at {remote.base_url} gives no log-probabilities of a prompt (echo "
                "with logprobs), which relevance scores and held-out text need; vLLM does. "
                "Else leave base_url empty, and the weights are read on this machine"
            )
        yield number, np.array(values, float)
