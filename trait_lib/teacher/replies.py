"""What a server sent back, told apart: a reply, a fault that passes, a fault that lasts."""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openai

from trait_lib.teacher.ledger import Reply
from trait_lib.teacher.prices import Price
from trait_lib.teacher.settings import KEY_VARIABLE, Limits, TeacherStopped

LONGEST_DELAY = 60.0  # seconds between two tries
LONGEST_PAUSE = 600.0  # seconds; a server that asks for a longer pause ends the run
RETRIED_STATUS = frozenset({408, 409, 425, 429})
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
ADVICE = {
    400: "the server finds the request itself wrong; check model, settings and prompt",
    401: f"the key is not accepted; set {KEY_VARIABLE} to a valid key of this server",
    402: "the account has no money left; add some, then run again",
    403: "the key may not use this model; choose another model or key",
    404: "the server knows no such model or path; check model and base_url",
    413: "the prompt is too long for this server; use a smaller k",
    422: "the server does not take a setting; check the sampling parameters",
}


class Retry(Exception):
    """A send that failed and may be repeated; `pause` is the server's Retry-After, in seconds."""

    def __init__(self, error: str, pause: float = 0.0) -> None:
        super().__init__(error)
        self.error, self.pause = error, pause


def delay(limits: Limits, number: int) -> float:
    """Seconds to wait after try `number` (from 0): random, and longer with each try."""
    longest = min(limits.first_delay * 2**number, LONGEST_DELAY)
    return random.uniform(longest / 2, longest)


def without_key(text: str, key: str) -> str:
    """The text without the key, which some servers repeat in their errors."""
    return text.replace(key, "***") if len(key) > 4 else text


def judge_status(
    status: int, code: str, message: str, pause: float = 0.0
) -> Retry | TeacherStopped:
    """Whether a refusal passes or lasts, and then what to do about it.

    Args:
        status: of HTTP.
        code: the error's code or type, as the OpenAI API words them.
        message: of the server, without the key.
        pause: the seconds of its Retry-After.
    """
    message = f"HTTP {status} {message}"
    if code in NO_MONEY:
        return TeacherStopped(f"{message}. The account's quota is used up: add money or wait")
    if status in RETRIED_STATUS or status >= 500:
        if pause > LONGEST_PAUSE:
            return TeacherStopped(f"{message}. The server asks to wait {pause:.0f} s: run later")
        return Retry(message, pause)
    return TeacherStopped(f"{message}: {ADVICE.get(status, ADVICE[400])}")


def judge_error(error: openai.APIError, key: str) -> Retry | TeacherStopped:
    """The same for what the openai client raises; `key` is taken out of its text."""
    if isinstance(error, openai.APIStatusError):
        message = without_key(error.message, key)
        names = {str(error.code), str(error.type)}
        code = next(iter(names & NO_MONEY), "")
        return judge_status(error.status_code, code, message, retry_after(error.response.headers))
    cause = error.__cause__ or error  # timeouts and dropped connections
    return Retry(without_key(f"{type(cause).__name__}: {cause}", key))


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


@dataclass(frozen=True)
class Received:
    """A body that a server sent with status 200.

    `reply` is None when it holds no choice; `cost` is None when it does not say what it used.
    """

    reply: Reply | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def read_completion(key: str, body: Any, price: Price, worst: float) -> Received:
    """Take a chat completion apart; a reply that does not say its cost is taken for `worst`."""
    usage = (body.get("usage") or {}) if isinstance(body, dict) else {}
    used = [usage.get(n) for n in ("prompt_tokens", "completion_tokens")]
    counted = all(isinstance(n, int) for n in used)
    tokens_in, tokens_out = used if counted else (0, 0)
    cost = price.cost(tokens_in, tokens_out) if counted else None
    text, reason = _choice(body)
    if not text and not reason:
        return Received(None, tokens_in, tokens_out, cost)
    paid = worst if cost is None else cost
    return Received(
        Reply(key, text, reason, tokens_in, tokens_out, paid), tokens_in, tokens_out, paid
    )


def _choice(body: Any) -> tuple[str, str]:
    """Text and finish reason of a completion's first choice; both empty when it has none."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or message.get("refusal") or ""
        reason = choice.get("finish_reason") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        return "", ""
    return (text, str(reason)) if isinstance(text, str) else ("", "")


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        Retry: it is none.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise Retry(f"the reply is not JSON: {text[:80]!r}") from None
