"""Do training texts of a run hold its test questions? A report by task, and scores without them.

A question is *touched* when a training text holds it whole, or shares 13 words in a row with it
(a question under 13 words must stand there whole); see `trait_lib.contamination`. Notebook 03
searches, before it trains; here its findings are read. Paper: not
stated; ours because a gain on problems that were trained on means nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trait_lib import records
from trait_lib.evaluation.fewshot import by_task
from trait_lib.evaluation.measure import Questions

Row = Mapping[str, Any]


@dataclass
class Found:
    """The touched questions: for each, by kind, the texts that touch it as `source/id`."""

    exact: dict[str, list[str]] = field(default_factory=dict)
    grams: dict[str, list[str]] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)

    @property
    def touched(self) -> set[str]:
        """The ids of all questions that some text touches."""
        return {*self.exact, *self.grams}


def read(path: str | Path, questions: Sequence[Row]) -> Found:
    """What notebook 03 has found of some questions, when it searched all that it trains on.

    Args:
        path: its `proof.json`.
        questions: problems and relevance pairs, with `id`.

    Raises:
        ValueError: a question that it did not look for.
    """
    proof = records.read_json(path)
    ids = {row["id"] for row in questions}
    if missing := sorted(ids.difference(proof["questions"])):
        raise ValueError(
            f"{path}: question {missing[0]!r} was not looked for; run notebook 03 again"
        )
    kept = ({n: proof[k][n] for n in proof[k].keys() & ids} for k in ("exact", "grams"))
    return Found(*kept, proof["texts"])


def without(evaluated: Any, questions: Questions, ids: Collection[str]) -> Any:
    """A model's results (see `comparison.Evaluated`) without some problems and pairs."""
    kept = [number for number, row in enumerate(questions.pairs) if row["id"] not in ids]
    scores = {
        name: values[kept] if name in ("label", "likelihood") else values
        for name, values in evaluated.scores.items()
    }
    answers = {name: row for name, row in evaluated.answers.items() if name not in ids}
    return replace(evaluated, answers=answers, scores=scores)


def table(questions: Sequence[Row], found: Found) -> list[dict[str, Any]]:
    """One row a task: items, those whose whole question stands in a text, those that share words.

    A question that stands whole in one text counts as exact only.
    """
    rows = []
    for task, group in by_task(questions).items():
        exact = sum(row["id"] in found.exact for row in group)
        grams = sum(row["id"] in found.grams and row["id"] not in found.exact for row in group)
        rows.append(
            {
                "task": task,
                "items": len(group),
                "exact questions": exact,
                "13 words shared": grams,
                "untouched": len(group) - exact - grams,
            }
        )
    return rows


def report(questions: Sequence[Row], found: Found, most: int = 5) -> dict[str, Any]:
    """What goes into the run folder: the table, the texts searched, the touched and where."""
    where = {
        one: {
            "exact": found.exact.get(one, [])[:most],
            "13 words shared": found.grams.get(one, [])[:most],
        }
        for one in sorted(found.touched)
    }
    return {"tasks": table(questions, found), "texts": found.texts, "touched": where}
