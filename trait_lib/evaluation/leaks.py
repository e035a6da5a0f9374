"""Do training texts of a run hold its test questions? A report by task, and scores without them.

A question is *touched* when a training text holds it whole, or shares 13 words in a row with it
(a question under 13 words must stand there whole); see `trait_lib.contamination`. Paper: not
stated; ours because a gain on problems that were trained on means nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trait_lib import contamination
from trait_lib.evaluation.fewshot import asked, by_task
from trait_lib.evaluation.measure import Questions

Row = Mapping[str, Any]


NOT_TRAINED_ON = (
    "problems_test problems_dev relevance_test general_questions heldout_domain heldout_general"
).split()


def trained_on(inputs: Iterable[str]) -> list[str]:
    """Of the files that a training stage has read, as `stage/file`, those that it trained on."""
    rows = [name for name in inputs if ".jsonl" in name]
    return [name for name in rows if Path(name).name.split(".")[0] not in NOT_TRAINED_ON]


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


def search(questions: Sequence[Row], sources: Mapping[str, Iterable[Row]]) -> Found:
    """Search all texts of all sources for all questions.

    Args:
        questions: problems and relevance pairs, with `id`.
        sources: rows with `text`, or with `question` and `solution`, by the name of their source.
    """
    index = contamination.build_index({row["id"]: asked(row) for row in questions})
    found = Found()
    for source, rows in sources.items():
        found.texts[source] = 0
        for number, row in enumerate(rows, start=1):
            found.texts[source] += 1
            for match in contamination.matches(text_of(row), index):
                kind = found.exact if match.whole else found.grams
                kind.setdefault(match.question, []).append(f"{source}/{row.get('id', number)}")
    return found


def without(evaluated: Any, questions: Questions, ids: Collection[str]) -> Any:
    """A model's results (see `comparison.Evaluated`) without some problems and pairs."""
    kept = [number for number, row in enumerate(questions.pairs) if row["id"] not in ids]
    scores = {
        name: values[kept] if name in ("label", "likelihood") else values
        for name, values in evaluated.scores.items()
    }
    answers = {name: row for name, row in evaluated.answers.items() if name not in ids}
    return replace(evaluated, answers=answers, scores=scores)


def text_of(row: Row) -> str:
    """What is trained on of a row: its text, else its question and solution."""
    return row["text"] if "text" in row else f"{asked(row)}\n{row.get('solution', '')}"


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
