"""The control without knowledge: passages whose facts are another entity's.

Each passage keeps its form, its sums and its enlightenment; only the names of what it is about are
exchanged for other names of the same task, drawn anew for every passage, so that no fact is told
twice alike. What a model gains on them is the form of the tasks. Not stated in the paper.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
DRAWS = 50


def names_in(problem: Row) -> list[str]:
    """What a problem is about: its entities, or the document of a relevance pair."""
    return list(problem.get("entities") or ([problem["document"]] if "document" in problem else []))


def permuted(
    passages: Iterable[Row], problems: Sequence[Row], seed: int, held_out: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the passages with names exchanged; the order and the ids stay.

    Exchanged names can make a held-out question of a training problem. Then they are drawn again,
    and a passage that gives one at every draw is left out.

    Args:
        passages: rows of `passages.jsonl`.
        problems: training problems with `id`, `task`, and `entities` or `document`.
        seed: of the draws.
        held_out: questions that no text may hold.

    Raises:
        ValueError: no problem of a passage says what it is about, so nothing can be exchanged.
    """
    by_id = {row["id"]: row for row in problems}
    same_kind: dict[tuple[str, int], set[str]] = {}
    for row in problems:
        for place, name in enumerate(names_in(row)):
            same_kind.setdefault((row["task"], place), set()).add(name)
    pools = {kind: sorted(names) for kind, names in same_kind.items()}
    for passage in passages:
        rng = random.Random(f"permuted|{seed}|{passage['id']}")
        about = [by_id[one] for one in passage["problem_ids"]]
        for _ in range(DRAWS):
            other = _others(rng, about, pools)
            if not other:
                raise ValueError(
                    f"passage {passage['id']}: its problems name no entities that could be "
                    "exchanged; the control permuted_answers needs `entities` in the training "
                    "problems"
                )
            text = exchanged(passage["text"], other)
            if not any(question in text for question in held_out):
                yield {**passage, "text": text}
                break


def _others(
    rng: random.Random, about: Sequence[Row], pools: Mapping[tuple[str, int], Sequence[str]]
) -> dict[str, str]:
    """For each name in the problems, another one of the same task and place."""
    other: dict[str, str] = {}
    for row in about:
        for place, name in enumerate(names_in(row)):
            used = {name, *other.values()}
            left = [one for one in pools[row["task"], place] if one not in used]
            if name not in other and left:
                other[name] = rng.choice(left)
    return other


def exchanged(text: str, other: Mapping[str, str]) -> str:
    """The text with whole words or phrases in the place of others, all at once."""
    longest_first = sorted(other, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)")
    return pattern.sub(lambda found: other[found[1]], text)
