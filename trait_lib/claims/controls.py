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


def names_in(problem: Row) -> list[str]:
    """What a problem is about: its entities, or the document of a relevance pair."""
    return list(problem.get("entities") or ([problem["document"]] if "document" in problem else []))


def permuted(
    passages: Iterable[Row], problems: Sequence[Row], seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the passages with names exchanged; the order and the ids stay.

    Args:
        passages: rows of `passages.jsonl`.
        problems: training problems with `id`, `task`, and `entities` or `document`.
        seed: of the draws.

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
        other: dict[str, str] = {}
        for row in (by_id[one] for one in passage["problem_ids"]):
            for place, name in enumerate(names_in(row)):
                left = [
                    n for n in pools[row["task"], place] if n != name and n not in {*other.values()}
                ]
                if name not in other and left:
                    other[name] = rng.choice(left)
        if not other:
            raise ValueError(
                f"passage {passage['id']}: its problems name no entities that could be exchanged; "
                "the control permuted_answers needs `entities` in the training problems"
            )
        yield {**passage, "text": exchanged(passage["text"], other)}


def exchanged(text: str, other: Mapping[str, str]) -> str:
    """The text with whole words or phrases in the place of others, all at once."""
    longest_first = sorted(other, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)")
    return pattern.sub(lambda found: other[found[1]], text)
