"""What a server sent back, told apart: a reply, a fault that passes, a fault that lasts."""

from __future__ import annotations

import email.utils
import json
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openai

from trait_lib.teacher.ledger import Reply, storable
from trait_lib.teacher.prices import Price
from trait_lib.teacher.settings import KEY_VARIABLE, Limits, TeacherStopped

USAGE = ("prompt_tokens", "completion_tokens")
MOST_TOKENS = 10**9  # more is no count
LONGEST_WORDS = 300  # characters of what a server said
PAGE_PARTS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_MARK = r"(?:seed:think|think|thinking|thought|reasoning)"
THOUGHT_START = re.compile(rf"(?:<|&lt;)\s*{_MARK}\s*(?:>|&gt;)|\[think\]|◁think▷", re.IGNORECASE)
THOUGHT_END = re.compile(
    rf"(?:<|&lt;)\s*/\s*{_MARK}\s*(?:>|&gt;)|\[/think\]|◁/think▷", re.IGNORECASE
)
THOUGHT = re.compile(
    rf"(?:{THOUGHT_START.pattern}).*?(?:{THOUGHT_END.pattern})\s*", re.DOTALL | re.IGNORECASE
)
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


class NoCompletion(Retry):
    """The server answered with status 200, but not with a completion."""


class TimedOut(Retry):
    """No answer in time; the server may still be at work on it."""


def delay(limits: Limits, number: int) -> float:
    """Seconds to wait after try `number` (from 0): random, and longer with each try."""
    longest = min(limits.first_delay * 2**number, LONGEST_DELAY)
    return random.uniform(longest / 2, longest)


def without_key(text: str, key: str) -> str:
    """The text without the key, which some servers repeat in their errors."""
    return text.replace(key, "***") if len(key) > 4 else text


def fault_of_status(
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


def fault_of(error: openai.APIError, key: str) -> Retry | TeacherStopped:
    """The same for what the openai client raises; `key` is taken out of its text."""
    if isinstance(error, openai.APIStatusError):
        message = without_key(error.message, key)
        names = {str(error.code), str(error.type)}
        code = next(iter(names & NO_MONEY), "")
        return fault_of_status(
            error.status_code, code, message, retry_after(error.response.headers)
        )
    cause = error.__cause__ or error  # timeouts and dropped connections
    kind = TimedOut if isinstance(error, openai.APITimeoutError) else Retry
    return kind(without_key(f"{type(cause).__name__}: {cause}", key))


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


# --- an answer with status 200 ------------------------------------------------------------------


@dataclass(frozen=True)
class Received:
    """A body that a server sent with status 200.

    `reply` is None when it is no completion; `cost` is None when it does not say what it used.
    """

    reply: Reply | None
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def parse_json(text: str) -> Any:
    """The value of a JSON text; the text itself when it is none."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return text


def first_choice(body: Any) -> dict[str, Any] | None:
    """The first choice of a completion; None when the body holds none."""
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def tokens_used(body: Any) -> tuple[int, int] | None:
    """Prompt and completion tokens as the body counts them; None when it does not."""
    usage = body.get("usage") if isinstance(body, dict) else None
    used = [usage.get(name) for name in USAGE] if isinstance(usage, dict) else []
    good = [type(n) is int and 0 <= n <= MOST_TOKENS for n in used]
    return (used[0], used[1]) if good == [True, True] else None


def read_completion(key: str, body: Any, price: Price, worst: float) -> Received:
    """Take a chat completion apart; a reply that does not say its cost is taken for `worst`.

    A completion without text is a reply: it was written and is paid for. An error costs nothing.
    """
    used = tokens_used(body)
    cost = price.cost(*used) if used else None
    choice = first_choice(body)
    message = choice.get("message") if choice else None
    if not isinstance(message, dict):
        free = (isinstance(body, dict) and body.get("error")) or _is_page(body)
        return Received(None, *(used or (0, 0)), 0.0 if cost is None and free else cost)
    text = _text_of(message.get("content")) or _text_of(message.get("refusal"))
    reason = storable(str(choice.get("finish_reason") or ""))
    paid = worst if cost is None else cost
    reply = Reply(key, storable(text), reason, *(used or (0, 0)), paid)
    return Received(reply, *(used or (0, 0)), paid)


def _text_of(content: Any) -> str:
    """The text of a message's content: a text, or a list of parts of which some are text."""
    if isinstance(content, list):
        parts = (p.get("text") if isinstance(p, dict) else p for p in content)
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _is_page(body: Any) -> bool:
    return isinstance(body, str) and body.lstrip().startswith("<")


def fault_in(body: Any) -> Retry | TeacherStopped:
    """What is wrong with a body that is no completion, in the server's words.

    An error that carries a status of HTTP, as gateways send them, is taken for that status.
    """
    error = body.get("error") if isinstance(body, dict) else None
    said = _words(error or body)
    if isinstance(error, dict):
        code = str(error.get("code") or error.get("type") or "")
        status = int(code) if code.isdecimal() and 400 <= int(code) <= 599 else 0
        if status or code in NO_MONEY:
            return fault_of_status(status or 429, code, said)
    kind = "an error" if error else "a page" if _is_page(body) else "what is no completion"
    return NoCompletion(f"status 200 with {kind}: {said} (is base_url right? it often ends in /v1)")


def _words(said: Any) -> str:
    """What a server said, in one line."""
    if isinstance(said, dict):
        said = said.get("message") or said.get("detail") or said
    text = said if isinstance(said, str) else json.dumps(said)
    text = PAGE_PARTS.sub(" ", text) if _is_page(text) else text
    return storable(" ".join(text.split())[:LONGEST_WORDS]) or "(nothing)"


# --- thoughts -----------------------------------------------------------------------------------


def without_thoughts(text: str) -> str:
    """A reply without what a reasoning model thought before or between.

    A closing mark alone ends a thought whose opening mark stood in the prompt; an opening mark
    alone begins one that lasts to the end.
    """
    text = THOUGHT.sub("", text)
    *_, text = THOUGHT_END.split(text)
    return THOUGHT_START.split(text)[0].strip() if THOUGHT_START.search(text) else text
