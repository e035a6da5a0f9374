"""Few-shot prompts: worked examples of the same task from the training problems, then the question.

Paper: tasks are tested few-shot, and in the fine-tuned setting without examples; its prompts are
not stated. Ours: the examples are drawn by seed from training problems and never from the test
set, anew for each question, so that no score rests on one lucky prompt; a file of one's own
examples can take their place.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
SEPARATOR = "\n\n"


def block(row: Row, answered: bool = True) -> str:
    """One problem as text: `Question: ...`, then `Answer: ...`, with or without its solution."""
    if answered:
        return f"Question: {row['question']}\nAnswer: {row['solution']}"
    return f"Question: {row['question']}\nAnswer:"


def pair_block(row: Row) -> str:
    """A relevance row as an example: its prompt with the continuation that is true."""
    return row["prompt"] + (row["positive"] if row["label"] else row["negative"])


def facts_of(row: Row) -> set[str]:
    """What a problem is about: its entities, else the query and document of a pair."""
    return {*row.get("entities", ())} or {row[k] for k in ("query", "document") if k in row}


def asked(row: Row) -> str:
    """The question of a problem, or the prompt of a relevance pair."""
    return row.get("question") or row["prompt"]


def by_task(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each task, in their order."""
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row["task"], []).append(row)
    return tasks


def choose(candidates: Sequence[Row], row: Row, shots: int, seed: int) -> list[Row]:
    """Draw `shots` examples for one question: the same ones for the same seed, id and candidates.

    An example about the same entity would state the facts that the question asks for, and one
    with the same question would state its answer; both are passed over.

    Raises:
        ValueError: too few examples are left.
    """
    about = facts_of(row)
    fitting = [
        one
        for one in candidates
        if not facts_of(one) & about and asked(one) != asked(row) and one["id"] != row["id"]
    ]
    if len(fitting) < shots:
        raise ValueError(
            f"task {row['task']!r} has {len(fitting)} training problems that can be examples of "
            f"{row['id']!r}, and {shots} are needed; lower the shots or add training problems"
        )
    return random.Random(f"{seed}|{row['id']}").sample(fitting, shots)


def prompt(row: Row, examples: Sequence[Row]) -> str:
    """The whole prompt of a problem: the examples, then the question with an open answer."""
    return SEPARATOR.join([*map(block, examples), block(row, answered=False)])


def fixed_prompt(row: Row, examples: str) -> str:
    """The prompt of a problem after examples that are given as text."""
    return SEPARATOR.join([examples.strip(), block(row, answered=False)])


def prompts(
    rows: Iterable[Row],
    train: Iterable[Row],
    shots: int,
    seed: int,
    shots_by_task: Mapping[str, int] | None = None,
    examples_folder: str | Path = "",
) -> dict[str, str]:
    """The prompt of every row, by its id.

    Args:
        rows: test problems.
        train: training problems; those of the same task are its examples.
        shots: examples in a prompt, unless `shots_by_task` gives the task's own number.
        seed: decides which examples.
        examples_folder: holds `<task>.txt` files with examples that replace the drawn ones.

    Raises:
        ValueError: a task has too few training problems.
    """
    candidates = by_task(train)
    made = {}
    for row in rows:
        file = Path(examples_folder) / f"{row['task']}.txt" if examples_folder else None
        if file and file.exists():
            made[row["id"]] = fixed_prompt(row, file.read_text(encoding="utf-8"))
            continue
        count = (shots_by_task or {}).get(row["task"], shots)
        made[row["id"]] = prompt(row, choose(candidates.get(row["task"], []), row, count, seed))
    return made


def pair_prompts(
    rows: Iterable[Row], train: Iterable[Row], shots: int, seed: int
) -> dict[str, str]:
    """The prompt of every relevance row, by its id: examples of both labels in turn, then its own.

    Raises:
        ValueError: a task has too few training pairs of one label.
    """
    candidates = by_task(train)
    made = {}
    for row in rows:
        pairs = candidates.get(row["task"], [])
        drawn = [
            choose([p for p in pairs if p["label"] == label], row, count, seed)
            for label, count in ((1, (shots + 1) // 2), (0, shots // 2))
        ]
        examples = [*drawn[0], *drawn[1]]
        random.Random(f"{seed}|{row['id']}|order").shuffle(examples)
        made[row["id"]] = SEPARATOR.join([*map(pair_block, examples), row["prompt"]])
    return made


def reserve(rows: Sequence[Row], count: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Part a set that has no training problems: `count` of each task as examples, the rest to ask.

    The reserved rows are asked of no model, so no example is ever a test question.
    """
    examples, rest = [], []
    for task, group in by_task(rows).items():
        shuffled = random.Random(f"{seed}|{task}").sample(list(group), len(group))
        taken = {row["id"] for row in shuffled[: min(count, max(len(group) - 1, 0))]}
        examples += [row for row in group if row["id"] in taken]
        rest += [row for row in group if row["id"] not in taken]
    return examples, rest


def shots_of(entries: Sequence[str]) -> dict[str, int]:
    """`["math=4"]` as {"math": 4}.

    Raises:
        ValueError: an entry that is not `task=number`.
    """
    made = {}
    for entry in entries:
        task, _, count = str(entry).partition("=")
        if not (task and count.isdigit()):
            raise ValueError(f"shots_by_task: {entry!r} is not of the form task=number")
        made[task] = int(count)
    return made
