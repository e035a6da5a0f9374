"""Few-shot prompts: worked examples of the same task, then the question.

Paper: tasks are tested few-shot, and in the fine-tuned setting without examples; its prompts are
not stated. Ours: examples that stand in the task's file, written by us, or else examples drawn by
seed from the task's training (or development) problems; never from the test set, nor a near copy
of one of its questions. A task has one set of examples, as in the harness of the paper's sister
papers; `examples_for="question"` draws anew for each question.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trait_lib import contamination, form, params

Row = Mapping[str, Any]
EXAMPLES_FOR = ("task", "question")
CLASH = 0.05  # an example that this share of the questions cannot have stands behind the others
NEAR = 0.85  # of all words of two questions in both: a near copy


@dataclass(frozen=True)
class Form:
    """How a task is asked; see `trait_lib.corpora.tasks` for what a task file may say.

    `examples`: rows with question, solution and answer, written for the task; without them they
    are drawn.
    """

    shots: int = 2
    stop: tuple[str, ...] = form.STOPS
    max_new_tokens: int = 48
    metric: str = "accuracy"
    examples: tuple[Row, ...] = ()


def form_of(settings: Mapping[str, Any], **given: Any) -> Form:
    """The form in a task file's settings; `given` replaces what it says."""
    named = {name: settings[name] for name in Form.__dataclass_fields__ if name in settings}
    made = {**named, **given}
    return Form(**{k: tuple(v) if isinstance(v, list) else v for k, v in made.items()})


def forms_of(
    settings: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Any]
) -> dict[str, Form]:
    """The form of each task, from the settings of its file and what a run sets for all of them.

    Args:
        settings: of the task files, by task.
        asked: parameters of notebook 04; `shots` and `relevance_shots` below 0, no `stop` and 0
            `max_new_tokens` leave what the files say, which `shots_by_task` replaces as well.
    """
    single = shots_of(asked["shots_by_task"])
    given = {name: asked[name] for name in ("stop", "max_new_tokens") if asked[name]}
    made = {}
    for name, one in settings.items():
        every = "relevance_shots" if one.get("form") == "relevance" else "shots"
        count = single.get(name, asked[every])
        made[name] = form_of(one, **given, **({"shots": count} if count >= 0 else {}))
    return made


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


def prompt(row: Row, examples: Sequence[Row]) -> str:
    """The whole prompt of a problem or pair: the examples, then its own with an open answer."""
    return form.SEPARATOR.join([*map(form.example, examples), form.prompt(row)])


# --- which examples ---------------------------------------------------------------------------


def near(first: str, second: str) -> bool:
    """Do two questions consist of nearly the same words?"""
    one, other = set(contamination.words(first)), set(contamination.words(second))
    return len(one & other) >= NEAR * len(one | other)


def fits(example: Row, row: Row) -> bool:
    """May an example stand before a question?

    One about the same entity would state the facts that the question asks for, and one with
    nearly the same question would state its answer.
    """
    return (
        not facts_of(example) & facts_of(row)
        and example.get("id") != row["id"]
        and not near(asked(example), asked(row))
    )


def repeats(first: Row, second: Row) -> bool:
    """Are two examples about the same entity, or do they have the same answer?"""
    same = "answer" in first and first["answer"] == second.get("answer") and "label" not in first
    return same or bool(facts_of(first) & facts_of(second))


class Examples:
    """The candidates of one task, in the order in which its questions take them.

    Ordered by seed; candidates about what many of the questions ask come last, so that nearly
    all questions get the same examples. A candidate whose text holds a test question, or shares
    13 words in a row with one, is never taken (see `trait_lib.contamination`).
    """

    def __init__(self, candidates: Sequence[Row], rows: Sequence[Row], seed: int) -> None:
        shuffled = random.Random(f"{seed}|{rows[0]['task']}").sample(candidates, len(candidates))
        counts = Counter(fact for row in rows for fact in facts_of(row))
        self.ordered = sorted(
            shuffled, key=lambda one: self._clashes(one, counts) > CLASH * len(rows)
        )
        self.index = contamination.build_index({row["id"]: asked(row) for row in rows})
        self.clean: dict[int, bool] = {}

    @staticmethod
    def _clashes(example: Row, counts: Counter[str]) -> int:
        return sum(counts[fact] for fact in facts_of(example))

    def is_clean(self, example: Row) -> bool:
        """Does no test question stand in the example?"""
        if id(example) not in self.clean:
            text = f"{asked(example)}\n{example.get('solution', '')}"
            self.clean[id(example)] = not contamination.hits(text, self.index)
        return self.clean[id(example)]

    def take(self, row: Row, shots: int, label: int | None = None, draw: str = "") -> list[Row]:
        """The first `shots` examples that fit a question, of one label if that is given.

        Examples about one entity, or with one answer, are taken together only when there are no
        others. With `draw` they are drawn anew by this seed.

        Raises:
            ValueError: too few fit.
        """
        ordered = self.ordered
        if draw:
            ordered = random.Random(draw).sample(ordered, len(ordered))
        taken: list[Row] = []
        for different in (True, False):
            for one in ordered:
                if len(taken) == shots:
                    break
                if label not in (None, one.get("label")) or one in taken:
                    continue
                if different and any(repeats(one, other) for other in taken):
                    continue
                if fits(one, row) and self.is_clean(one):
                    taken.append(one)
        if len(taken) < shots:
            raise ValueError(
                f"task {row['task']!r} has {len(taken)} training problems that can be examples of "
                f"{row['id']!r}, and {shots} are needed; lower the shots, add training problems, "
                "or write `examples` into the task's file"
            )
        return taken


def check_own(task: str, examples: Sequence[Row], rows: Sequence[Row]) -> None:
    """Refuse examples of a task's file that stand in its test set.

    Raises:
        ValueError: one is a test question, or nearly one.
    """
    index = contamination.build_index({row["id"]: row["question"] for row in rows})
    for number, one in enumerate(examples, start=1):
        found = contamination.hits(f"{one['question']}\n{one['solution']}", index)
        found |= {row["id"] for row in rows if near(one["question"], row["question"])}
        if found:
            raise ValueError(
                f"task {task!r}: example {number} is, or nearly is, the test question "
                f"{min(found)!r}; write another one into the task's file"
            )


def prompts(
    rows: Iterable[Row],
    train: Iterable[Row],
    forms: Mapping[str, Form],
    seed: int,
    examples_for: str = "task",
    examples_folder: str | Path = "",
) -> dict[str, str]:
    """The prompt of every row, by its id.

    Args:
        rows: test problems.
        train: training problems; those of the same task are its examples.
        forms: the form of each task; a task without one has `Form()`.
        seed: decides which examples.
        examples_for: `task`, or `question` to draw anew for each of them.
        examples_folder: holds `<task>.txt` files with examples as text, that replace all others;
            `params.locate` finds a relative one.

    Raises:
        ValueError: a task has too few training problems, or an example is a test question.
    """
    if examples_for not in EXAMPLES_FOR:
        raise ValueError(f"examples_for must be one of {', '.join(EXAMPLES_FOR)}")
    candidates = by_task(train)
    made: dict[str, str] = {}
    for task, group in by_task(rows).items():
        asked_as = forms.get(task, Form())
        file = params.locate(examples_folder) / f"{task}.txt"
        if examples_folder and file.exists():
            text = file.read_text(encoding="utf-8").strip()
            made |= {row["id"]: text + form.SEPARATOR + form.prompt(row) for row in group}
            continue
        own = asked_as.examples[: asked_as.shots]
        if own:
            check_own(task, own, group)
        examples = Examples(candidates.get(task, []), group, seed)
        for row in group:
            draw = f"{seed}|{row['id']}" if examples_for == "question" else ""
            made[row["id"]] = prompt(row, own or examples.take(row, asked_as.shots, draw=draw))
    return made


def pair_prompts(
    rows: Iterable[Row], train: Iterable[Row], forms: Mapping[str, Form], seed: int
) -> dict[str, str]:
    """The prompt of every relevance row, by its id: examples of both labels, then its own.

    Raises:
        ValueError: a task has too few training pairs of one label.
    """
    candidates = by_task(train)
    made = {}
    for task, group in by_task(rows).items():
        shots = forms.get(task, Form()).shots
        examples = Examples(candidates.get(task, []), group, seed)
        order = random.Random(f"{seed}|{task}|order").sample(range(shots), shots)
        for row in group:
            drawn = [
                *examples.take(row, (shots + 1) // 2, label=1),
                *examples.take(row, shots // 2, label=0),
            ]
            made[row["id"]] = prompt(row, [drawn[place] for place in order])
    return made


def reserve(rows: Sequence[Row], counts: Mapping[str, int], seed: int) -> tuple[list[Row], ...]:
    """Part a set that has no training problems: some of each task as examples, the rest to ask.

    The reserved rows are asked of no model, so no example is ever a test question. `counts`
    says how many by task; a task that is not in it keeps all its rows.
    """
    examples, rest = [], []
    for task, group in by_task(rows).items():
        shuffled = random.Random(f"{seed}|{task}").sample(list(group), len(group))
        taken = {row["id"] for row in shuffled[: min(counts.get(task, 0), max(len(group) - 1, 0))]}
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
