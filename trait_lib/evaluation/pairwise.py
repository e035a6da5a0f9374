"""Win rate by a pairwise judge: a model says which of two answers to a question is better.

Each pair is shown in both orders. A verdict counts when both orders name the same model; else the
pair is a tie, and a tie counts half. The share of pairs whose orders disagree is the flip rate; a
judge above `FLIP_LIMIT` looks at the place and not at the text. Beside the raw win rate stands the
length-controlled one: the win rate that a logistic regression on the difference of lengths gives
at equal lengths, as AlpacaEval 2 does (Dubois et al. 2024; its terms for the difficulty of an
instruction are left out, because there is one pair of models). The paper names *win rate* for
generation and rewriting; judge, prompt and opponent were not found. Ours: the base model is the
opponent, and any model that the given `ask` reaches is the judge.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import numpy as np

from trait_lib import ROOT, records
from trait_lib.evaluation import statistics
from trait_lib.teacher import templates
from trait_lib.teacher.templates import Messages

Ask = Callable[[Sequence[Messages]], Sequence[str | None]]
FLIP_LIMIT = 0.15
NEWTON_STEPS = 25
BATCH = 64  # requests between two writes of the book
NAMED = re.compile(r"\bbetter\s*:\s*\W{0,3}(?:answer\s+)?(A|B|tie)\b", re.IGNORECASE)
TAG = re.compile(r"<(?=/?(?:answer|question)\b)", re.IGNORECASE)
WIN, TIE, LOSS = 1.0, 0.5, 0.0


@dataclass(frozen=True)
class Pair:
    """One question with the answers of the base and of the adapted model."""

    id: str
    task: str
    question: str
    base: str
    adapted: str


@dataclass(frozen=True)
class Judged:
    """What the judge said of a pair: `A` is the answer that it saw first.

    `base_first` and `adapted_first` are A, B or tie, or None where no verdict could be read;
    both are `same` when the answers are the same text and nothing was asked.
    """

    pair: Pair
    base_first: str | None
    adapted_first: str | None

    @property
    def score(self) -> float:
        """1 when the adapted model won in both orders, 0 when it lost in both, else 0.5."""
        return {("B", "A"): WIN, ("A", "B"): LOSS}.get((self.base_first, self.adapted_first), TIE)

    @property
    def asked(self) -> bool:
        """Was the judge needed?"""
        return self.base_first != "same"

    @property
    def readable(self) -> bool:
        """Did both replies hold a verdict?"""
        return None not in (self.base_first, self.adapted_first)

    @property
    def flipped(self) -> bool:
        """Do the two orders disagree?"""
        agree = {("B", "A"), ("A", "B"), ("tie", "tie"), ("same", "same")}
        return self.readable and (self.base_first, self.adapted_first) not in agree


# --- asking -----------------------------------------------------------------------------------


def template_path(domain: str) -> Path:
    """The domain's own template, `params/<domain>/prompts/judge.txt`."""
    return ROOT / "params" / domain / "prompts" / "judge.txt"


def load_template(path: str | Path) -> jinja2.Template:
    """Read a template of the judge's prompt; raises as `chat.load_template` does."""
    return templates.load_template(path, "win rates need prompts/judge.txt")


def messages(template: jinja2.Template, pair: Pair, adapted_first: bool) -> Messages:
    """The chat messages of one comparison; a tag of the prompt's own within an answer is opened.

    Raises:
        ValueError: the template uses a name other than task, question, first and second.
    """
    answers = [_shown(pair.base), _shown(pair.adapted)]
    first, second = reversed(answers) if adapted_first else answers
    given = {"task": pair.task, "question": _shown(pair.question)}
    given |= {"first": first, "second": second}
    return templates.render(template, given, "the judge's")


def _shown(text: str) -> str:
    return TAG.sub("‹", text.strip()) or "(no answer)"


def verdict(reply: str | None) -> str | None:
    """A, B or tie: what the last line of the form `Better: A` says; None without one."""
    found = NAMED.findall(reply or "")
    return None if not found else "tie" if found[-1].lower() == "tie" else found[-1].upper()


def judge(
    pairs: Sequence[Pair], template: jinja2.Template, ask: Ask, name: str, book: str | Path
) -> list[Judged]:
    """Have every pair judged in both orders; each comparison is asked once and kept in `book`.

    Answers that are the same text are a tie without a question. A killed run goes on with the
    replies that are in the book; a reply that could not be had (None) is asked for again by the
    next run.

    Args:
        pairs: see `Pair`.
        template: from `load_template`.
        ask: sends many chats and returns their replies in order, None for one without a reply;
            such as `openai_judge`.
        name: of the judge, with all settings that decide its replies.
        book: a `.jsonl` file of replies, made when there is none.

    Raises:
        ValueError: the book is not one, or another process writes it, or `ask` does not return as
            many replies as it got chats.
    """
    chats = {key_of(name, chat): chat for chat in comparisons(pairs, template)}
    replies = _asked(chats, ask, Path(book))
    by_chat = {json.dumps(chat): replies.get(key) for key, chat in chats.items()}
    return read_replies(pairs, template, lambda chat: by_chat.get(json.dumps(chat)))


def comparisons(pairs: Sequence[Pair], template: jinja2.Template) -> list[Messages]:
    """The chats that decide all pairs, two a pair; none where both answers are the same text."""
    return [
        messages(template, pair, order)
        for pair in pairs
        for order in (False, True)
        if _shown(pair.base) != _shown(pair.adapted)
    ]


def read_replies(
    pairs: Sequence[Pair], template: jinja2.Template, reply: Callable[[Messages], str | None]
) -> list[Judged]:
    """The pairs with their verdicts; `reply` gives the judge's text for one of `comparisons`."""

    def said(pair: Pair, adapted_first: bool) -> str | None:
        if _shown(pair.base) == _shown(pair.adapted):
            return "same"
        return verdict(reply(messages(template, pair, adapted_first)))

    return [Judged(pair, said(pair, False), said(pair, True)) for pair in pairs]


def openai_judge(
    model: str, base_url: str | None = None, max_tokens: int = 256, workers: int = 8
) -> Ask:
    """An `ask` that sends chats to an OpenAI-compatible server by the `openai` client.

    The key is read from OPENAI_API_KEY; a server on this machine needs none. Temperature is 0.
    A chat that fails after the client's own retries has no reply.

    Args:
        model: the judge.
        base_url: of the server; None is OpenAI's own.
        max_tokens: of a reply.
        workers: chats in flight.

    Raises:
        openai.OpenAIError: no key; or, when asking: the server knows no such model or key.
    """
    import openai

    local = urlsplit(base_url or "").hostname in ("127.0.0.1", "localhost", "::1")
    key = os.environ.get("OPENAI_API_KEY") or ("none" if local else None)
    # a proxy set in the environment cannot reach this machine's loopback
    http = {"http_client": openai.DefaultHttpxClient(trust_env=False)} if local else {}
    client = openai.OpenAI(api_key=key, base_url=base_url, max_retries=5, **http)

    def one(chat: Messages) -> str | None:
        try:
            done = client.chat.completions.create(
                model=model, messages=chat, max_tokens=max_tokens, temperature=0
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError):
            raise
        except openai.APIError:
            return None
        return (done.choices[0].message.content or "") if done.choices else None

    def ask(chats: Sequence[Messages]) -> list[str | None]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, chats))

    return ask


def key_of(name: str, chat: Messages) -> str:
    """A hash of all that decides a verdict: the judge and what it is asked."""
    return hashlib.sha256(json.dumps([name, chat], ensure_ascii=True).encode()).hexdigest()


def _asked(chats: Mapping[str, Messages], ask: Ask, book: Path) -> dict[str, str]:
    """The replies by key, from the book or by asking; written after every `BATCH`."""
    book.parent.mkdir(parents=True, exist_ok=True)
    with _locked(book) as handle:
        known = _read(book, handle)
        todo = [key for key in chats if key not in known]
        for start in range(0, len(todo), BATCH):
            keys = todo[start : start + BATCH]
            replies = ask([chats[key] for key in keys])
            if len(replies) != len(keys):
                raise ValueError(f"the judge got {len(keys)} chats and gave {len(replies)} replies")
            new = {key: text for key, text in zip(keys, replies, strict=True) if text is not None}
            lines = (json.dumps({"key": key, "reply": text}) + "\n" for key, text in new.items())
            handle.write("".join(lines).encode())
            handle.flush()
            os.fsync(handle.fileno())
            known |= new
    return {key: known[key] for key in chats if key in known}


@contextmanager
def _locked(book: Path) -> Iterator[Any]:
    """The book, open to append, for this process alone."""
    with open(book, "ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{book}: another process has the judge write here; wait") from None
        yield handle


def _read(book: Path, handle: Any) -> dict[str, str]:
    """The replies in the book; a last line that was cut off by a kill is taken out."""
    data = book.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        handle.truncate(whole)
    replies = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        row = records.parse_row(line, f"{book}:{number}")
        if not isinstance(row.get("key"), str) or not isinstance(row.get("reply"), str):
            raise ValueError(f"{book}:{number}: not a reply of a judge")
        replies[row["key"]] = row["reply"]
    return replies


# --- counting ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class WinRate:
    """The adapted model against the base model in one task, or in the mean of tasks.

    `raw` and `controlled` (at equal lengths) lie between 0 and 1, 0.5 is equality; intervals are
    of 95 %. `flip_rate` is over the pairs that were asked, None when none was; `flagged` when it
    is above `FLIP_LIMIT`.
    """

    n: int
    raw: float
    raw_interval: tuple[float, float]
    controlled: float
    controlled_interval: tuple[float, float]
    wins: int
    losses: int
    ties: int
    same: int
    unreadable: int
    flip_rate: float | None
    first_rate: float | None
    longer_rate: float | None

    @property
    def flagged(self) -> bool:
        """Is the judge's flip rate too high to trust its win rate?"""
        return self.flip_rate is not None and self.flip_rate > FLIP_LIMIT


def win_rate(judged: Sequence[Judged], seed: int, resamples: int = 1000) -> WinRate:
    """Count verdicts: raw and length-controlled win rates, averaged over tasks that count equally.

    Args:
        judged: from `judge`.
        seed: of the resampling, which draws pairs within their task.
        resamples: the length-controlled rate is fitted again in each.

    Raises:
        ValueError: no pairs.
    """
    if not judged:
        raise ValueError("no pairs to count")
    scores, lengths = _by_task(judged)
    raw, fitted = _resampled(scores, lengths, seed, resamples)
    asked = [one for one in judged if one.asked]
    decided = [one for one in judged if one.score != TIE and _longer_by(one.pair)]
    places = [one for pair in asked for one in (pair.base_first, pair.adapted_first)]
    named = [place for place in places if place in ("A", "B")]
    return WinRate(
        n=len(judged),
        raw=float(np.mean([one.mean() for one in scores])),
        raw_interval=statistics.percentiles(raw),
        controlled=float(np.mean(list(map(controlled, scores, lengths)))),
        controlled_interval=statistics.percentiles(fitted),
        wins=sum(one.score == WIN for one in judged),
        losses=sum(one.score == LOSS for one in judged),
        ties=sum(one.score == TIE for one in judged),
        same=sum(not one.asked for one in judged),
        unreadable=sum(not one.readable for one in judged),
        flip_rate=_share(one.flipped for one in asked if one.readable),
        first_rate=_share(place == "A" for place in named),
        longer_rate=_share((one.score == WIN) == (_longer_by(one.pair) > 0) for one in decided),
    )


def _by_task(judged: Sequence[Judged]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each task the scores and the differences of length, each of shape (pairs,)."""
    tasks = list(dict.fromkeys(one.pair.task for one in judged))
    groups = [[one for one in judged if one.pair.task == task] for task in tasks]
    scores = [np.array([one.score for one in group]) for group in groups]
    return scores, [np.array([_longer_by(one.pair) for one in group]) for group in groups]


def _resampled(
    scores: Sequence[np.ndarray], lengths: Sequence[np.ndarray], seed: int, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """The raw and the controlled rate in each resample, tasks counting equally; (resamples,)."""
    generator = np.random.default_rng(seed)
    raw, fitted = np.zeros(resamples), np.zeros(resamples)
    for score, longer in zip(scores, lengths, strict=True):
        drawn = generator.integers(len(score), size=(resamples, len(score)))
        raw += score[drawn].mean(axis=1) / len(scores)
        fitted += controlled(score[drawn], longer[drawn]) / len(scores)
    return raw, fitted


def compare_controlled(
    judged: Sequence[Judged], seed: int, resamples: int
) -> statistics.Comparison:
    """The length-controlled win rate, mean of tasks; the base model has the rest of it."""
    scores, lengths = _by_task(judged)
    rate = float(np.mean(list(map(controlled, scores, lengths))))
    fitted = _resampled(scores, lengths, seed, resamples)[1]
    return statistics.of_samples((1 - rate, rate), np.stack([1 - fitted, fitted]), len(judged))


def _share(flags: Iterator[bool]) -> float | None:
    values = list(flags)
    return sum(values) / len(values) if values else None


def _longer_by(pair: Pair) -> int:
    """By how many characters the adapted model's answer is longer."""
    return len(pair.adapted.strip()) - len(pair.base.strip())


def controlled(scores: np.ndarray, longer_by: np.ndarray) -> np.ndarray:
    """The win rate at equal lengths, for each row (a resample).

    Logistic regression of the score (ties as half a win and half a loss) on
    tanh(difference / its standard deviation), as AlpacaEval 2; its intercept is the answer. The
    slope has a unit normal prior, as scikit-learn's with C = 1. Without a difference, or where all
    scores are on the same side, it is the raw rate.

    Args:
        scores: 0, 0.5 or 1, shape (..., pairs).
        longer_by: the adapted answer's length minus the base answer's, shape (..., pairs).

    Returns:
        Shape (...).
    """
    raw = scores.mean(axis=-1)
    spread = np.std(longer_by, axis=-1, keepdims=True)
    x = np.tanh(longer_by / np.where(spread > 0, spread, 1))
    level, slope = np.zeros_like(raw), np.zeros_like(raw)
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-(level[..., None] + slope[..., None] * x)))  # (..., pairs)
        weight = p * (1 - p)
        up = (scores - p).sum(axis=-1), ((scores - p) * x).sum(axis=-1) - slope
        a, b = weight.sum(axis=-1) + 1e-9, (weight * x).sum(axis=-1)
        c = (weight * x * x).sum(axis=-1) + 1
        determinant = a * c - b * b
        level = np.clip(level + (c * up[0] - b * up[1]) / determinant, -20, 20)
        slope = np.clip(slope + (a * up[1] - b * up[0]) / determinant, -20, 20)
    told = (raw > 0) & (raw < 1) & (spread[..., 0] > 0)
    return np.where(told, 1 / (1 + np.exp(-level)), raw)


def table(judged: Sequence[Judged], seed: int, resamples: int = 1000) -> list[dict[str, Any]]:
    """Rows by task and for their mean: n, rates with intervals, counts, and what the judge did."""
    tasks = list(dict.fromkeys(one.pair.task for one in judged))
    groups = {task: [one for one in judged if one.pair.task == task] for task in tasks}
    if len(tasks) > 1:
        groups["mean of tasks"] = list(judged)
    rows = []
    for name, group in groups.items():
        rate = win_rate(group, seed, resamples)
        row = {key: value for key, value in vars(rate).items() if not key.endswith("_interval")}
        row |= {"low": rate.raw_interval[0], "high": rate.raw_interval[1]}
        row |= {"controlled_low": rate.controlled_interval[0]}
        row |= {"controlled_high": rate.controlled_interval[1], "flagged": rate.flagged}
        rows.append({"name": name, **row})
    return rows
