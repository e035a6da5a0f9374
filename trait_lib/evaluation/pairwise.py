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

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from trait_lib import params
from trait_lib.evaluation import statistics
from trait_lib.teacher import templates
from trait_lib.teacher.prices import Price
from trait_lib.teacher.settings import Limits, Server, Settings
from trait_lib.teacher.survey import Survey
from trait_lib.teacher.templates import Messages

Ask = Callable[[Sequence[Messages]], Sequence[str | None]]
FLIP_LIMIT = 0.15
NEWTON_STEPS = 25
REPLY_TOKENS = 60  # expected of a verdict with its reason; for the plan only
AT_ONCE = 256  # pairs left out in turn at a time
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
    return params.find(f"{domain}/prompts/judge.txt")


def load_template(path: str | Path) -> jinja2.Template:
    """Read a template of the judge's prompt; raises as `templates.load_template` does."""
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


def judge(pairs: Sequence[Pair], template: jinja2.Template, ask: Ask) -> list[Judged]:
    """Have every pair judged in both orders.

    Args:
        pairs: see `Pair`.
        template: from `load_template`.
        ask: the replies to many chats in order, as verdicts; such as `openai_judge`.
    """
    chats = [chat for pair in pairs for chat in comparisons(pair, template)]
    said = iter(ask(chats) if chats else ())
    same = ("same", "same")
    return [Judged(pair, *((next(said), next(said)) if _differ(pair) else same)) for pair in pairs]


def comparisons(pair: Pair, template: jinja2.Template) -> list[Messages]:
    """The two chats that decide a pair; none where both answers are the same text."""
    return [messages(template, pair, order) for order in (False, True)] if _differ(pair) else []


def _differ(pair: Pair) -> bool:
    return _shown(pair.base) != _shown(pair.adapted)


def openai_judge(
    model: str,
    base_url: str | None,
    ledger: str | Path,
    price: Price,
    budget: float = 10.0,
    max_tokens: int = 256,
    workers: int = 8,
) -> Ask:
    """An `ask` that sends chats to an OpenAI-compatible server; temperature is 0.

    Nothing is asked twice: replies are in `ledger`, those of a killed run too. The plan with its
    cost is printed before the first call.

    Args:
        model: the judge.
        base_url: of the server; None is OpenAI's own. The key is read from OPENAI_API_KEY; a
            server on this machine needs none.
        ledger: a file; see `trait_lib.teacher.ledger`.
        price: of the model.
        budget: money for all replies in the ledger.
        max_tokens: of a reply.
        workers: chats in flight.

    Raises:
        TeacherStopped: when asking; see `client.ask`.
    """
    judge = Survey(
        Settings(model, max_tokens, temperature=0.0),
        Server(base_url),
        price,
        Path(ledger),
        Limits(workers, budget=budget),
    )
    return lambda chats: judge.ask(chats, verdict, REPLY_TOKENS, "verdicts")


def duels(
    ids: Sequence[str], base: Mapping[str, Mapping[str, Any]], adapted: Mapping[str, Any]
) -> list[Pair]:
    """Both models' answers to problems: what was extracted, else the whole output."""

    def text(row: Mapping[str, Any]) -> str:
        return row["extracted"] or row["output"]

    return [
        Pair(one, base[one]["task"], base[one]["question"], text(base[one]), text(adapted[one]))
        for one in ids
    ]


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


def win_rate(judged: Sequence[Judged]) -> WinRate:
    """Count verdicts: raw and length-controlled win rates, averaged over tasks that count equally.

    Raises:
        ValueError: no pairs.
    """
    if not judged:
        raise ValueError("no pairs to count")
    raw, level = compare_raw(judged), compare_controlled(judged)
    asked = [one for one in judged if one.asked]
    decided = [one for one in judged if one.score != TIE and _longer_by(one.pair)]
    places = [one for pair in asked for one in (pair.base_first, pair.adapted_first)]
    named = [place for place in places if place in ("A", "B")]
    return WinRate(
        n=len(judged),
        raw=raw.adapted,
        raw_interval=raw.adapted_interval,
        controlled=level.adapted,
        controlled_interval=level.adapted_interval,
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


def compare_raw(judged: Sequence[Judged]) -> statistics.Comparison:
    """The win rate, mean of tasks; the base model has the rest of it."""
    return statistics.compare([(1 - score, score) for score in _by_task(judged)[0]])


def compare_controlled(judged: Sequence[Judged]) -> statistics.Comparison:
    """The length-controlled win rate, mean of tasks; it is fitted again without each pair."""
    scores, lengths = _by_task(judged)
    rate = float(np.mean(list(map(controlled, scores, lengths))))
    without = [_without_each(*task) for task in zip(scores, lengths, strict=True)]
    moved = np.concatenate(list(map(statistics.jackknife, without))) / len(without)
    return statistics.compare_moved((1 - rate, rate), np.stack([-moved, moved]), len(judged))


def _without_each(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The controlled rate of one task without each of its pairs in turn, shape (pairs,)."""
    count = len(scores)
    if count == 1:
        return scores
    rates = np.empty(count)
    for start in range(0, count, AT_ONCE):
        left_out = np.arange(start, min(start + AT_ONCE, count))
        kept = np.arange(count - 1) + (np.arange(count - 1) >= left_out[:, None])
        rates[left_out] = controlled(scores[kept], lengths[kept])
    return rates


def _share(flags: Iterator[bool]) -> float | None:
    values = list(flags)
    return sum(values) / len(values) if values else None


def _longer_by(pair: Pair) -> int:
    """By how many characters the adapted model's answer is longer."""
    return len(pair.adapted.strip()) - len(pair.base.strip())


def controlled(scores: np.ndarray, longer_by: np.ndarray) -> np.ndarray:
    """The win rate at equal lengths, for each row.

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


def table(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Rows by task and for their mean: n, rates with intervals, counts, and what the judge did."""
    tasks = list(dict.fromkeys(one.pair.task for one in judged))
    groups = {task: [one for one in judged if one.pair.task == task] for task in tasks}
    if len(tasks) > 1:
        groups["mean of tasks"] = list(judged)
    rows = []
    for name, group in groups.items():
        rate = win_rate(group)
        row = {key: value for key, value in vars(rate).items() if not key.endswith("_interval")}
        row |= {"low": rate.raw_interval[0], "high": rate.raw_interval[1]}
        row |= {"controlled_low": rate.controlled_interval[0]}
        row |= {"controlled_high": rate.controlled_interval[1], "flagged": rate.flagged}
        rows.append({"name": name, **row})
    return rows
