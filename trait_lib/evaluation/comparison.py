"""Base beside adapted model: every score with the interval of the difference, in flat rows.

Paper: the gain over the base model, averaged over tasks (math 7.5 %, ads 8.0 %, few-shot), AUC for
relevance, diversity and density for rewriting. Ours: the intervals, the split by entities that
stand in documents only, and what was forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import records
from trait_lib.evaluation import pairwise, rewriting, statistics
from trait_lib.evaluation.fewshot import by_task
from trait_lib.evaluation.measure import Questions

REWRITING = "query_rewriting"
Row = dict[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """One model's results, read from its folder: answer rows by id, and arrays by name."""

    answers: dict[str, Row]
    scores: dict[str, np.ndarray]


def read_evaluated(folder: str | Path) -> Evaluated:
    """Read what `measure.evaluate` wrote."""
    rows = {row["id"]: row for row in records.read_rows(Path(folder) / "answers.jsonl")}
    with np.load(Path(folder) / "scores.npz") as arrays:
        return Evaluated(rows, dict(arrays))


def tasks_of(rows: Sequence[Mapping[str, Any]], general: Sequence[str]) -> list[str]:
    """The task names, in order of first appearance, without the general tasks."""
    return [task for task in dict.fromkeys(row["task"] for row in rows) if task not in general]


def table(
    questions: Questions,
    base: Evaluated,
    adapted: Evaluated,
    keywords: Sequence[Mapping[str, Any]] = (),
    judged: Sequence[pairwise.Judged] = (),
) -> list[Row]:
    """All scores as rows: name, group, unit, n, base, adapted, difference, intervals and errors.

    Shares (accuracy, AUC, density, ...) are between 0 and 1. Groups are tasks, mean, split,
    relevance, rewriting, win rate, text and general; a group without data has no rows. Tasks of
    which no training problem exists (problems with `held_out_task`) have a row of their own and one
    together, and are in neither the mean nor the split by entities. `p` is of no
    difference, and `p_holm` the same corrected for the number of rows in the group. Of a win rate
    the base model's is 1 - the adapted model's.

    Args:
        questions: what was asked.
        base: results of the base model.
        adapted: results of the adapted model.
        keywords: the advertisers' keywords, rows with `keyword`.
        judged: pairs with the verdicts of a judge (`pairwise.judge`).
    """

    def accuracy(name: str, group: str, tasks: Sequence[str], only: bool | None = None) -> Row:
        strata = [_verdicts(base, adapted, task, only) for task in tasks]
        return _row(name, group, "accuracy", statistics.compare([s for s in strata if len(s[0])]))

    tasks = tasks_of(questions.problems, questions.general)
    rows = [accuracy(task, "tasks", [task]) for task in tasks]
    held_out = [row["task"] for row in questions.problems if row.get("held_out_task")]
    tasks, held_out = [t for t in tasks if t not in held_out], [t for t in tasks if t in held_out]
    if len(tasks) > 1:
        rows.append(accuracy("mean of tasks", "mean", tasks))
    split = {bool(row.get("documents_only")) for row in questions.problems if row["task"] in tasks}
    if split == {True, False}:
        for name, only in (("entities in passages", False), ("entities in documents only", True)):
            rows.append(accuracy(name, "split", tasks, only))
    if held_out:
        rows.append(accuracy("held-out task", "split", held_out))
    rows += _relevance(questions, base, adapted)
    rows += _rewriting(questions, base, adapted, keywords)
    rows += _win_rates(judged)
    rows += _texts(questions, base, adapted) + _likely(questions, base, adapted)
    asked = {row["task"] for row in questions.problems}
    for task in questions.general:
        if task in asked:
            rows.append(accuracy(task.replace("_", " "), "general", [task]))
    return _corrected(rows)


def _row(name: str, group: str, unit: str, compared: statistics.Comparison) -> Row:
    row = {"name": name, "group": group, "unit": unit, "difference": compared.difference}
    for key, value in vars(compared).items():
        if key.endswith("_interval"):
            side = key.removesuffix("_interval").replace("difference", "")
            prefix = f"{side}_" if side else ""
            row |= {f"{prefix}low": value[0], f"{prefix}high": value[1]}
        else:
            row[key] = value
    return row


def _corrected(rows: list[Row]) -> list[Row]:
    """The rows with `p_holm`: corrected for the number of rows in their group."""
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        for row, p in zip(own, statistics.holm([row["p"] for row in own]), strict=True):
            row["p_holm"] = p
    return rows


def _verdicts(
    base: Evaluated, adapted: Evaluated, task: str, only: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(base, adapted) verdicts of a task's items as 0 and 1, shape (items,)."""
    ids = [
        name
        for name, row in base.answers.items()
        if row["task"] == task and only in (None, row["documents_only"])
    ]
    first, second = ([one.answers[i]["correct"] for i in ids] for one in (base, adapted))
    return np.array(first, float), np.array(second, float)


def _relevance(questions: Questions, base: Evaluated, adapted: Evaluated) -> list[Row]:
    """AUC by task and kind of score."""
    rows = []
    for kind in ("label", "likelihood"):
        for task, pairs in by_task(questions.pairs).items() if kind in base.scores else ():
            at = np.array([row["task"] == task for row in questions.pairs])
            compared = statistics.compare_auc(
                np.array([row["label"] for row in pairs]),
                base.scores[kind][at],
                adapted.scores[kind][at],
                [row["topic"] or row["query"] for row in pairs],
            )
            rows.append(_row(f"{task} ({kind})", "relevance", "AUC", compared))
    return rows


def _rewriting(
    questions: Questions,
    base: Evaluated,
    adapted: Evaluated,
    keywords: Sequence[Mapping[str, Any]],
) -> list[Row]:
    """Diversity, density and copy rate by query; distinct-n and coverage of all rewrites."""
    problems = [row for row in questions.problems if row["task"] == REWRITING]
    if not problems:
        return []
    known = rewriting.keyword_set(keywords)
    extracted = [
        {row["id"]: one.answers[row["id"]]["extracted"] for row in problems}
        for one in (base, adapted)
    ]
    scored = [rewriting.items(problems, rewrites, known) for rewrites in extracted]
    compared = {
        name: statistics.compare([(scored[0][name], scored[1][name])])
        for name in scored[0]
        if name != "density" or known
    }
    texts = [list(rewrites.values()) for rewrites in extracted]
    wholes = {f"distinct-{n}": [rewriting.distinct(some, n) for some in texts] for n in (1, 2)}
    if known:
        wholes["coverage"] = [rewriting.coverage(some, known) for some in texts]
    for name, sides in wholes.items():
        moved = np.stack([statistics.jackknife(without) for _, without in sides])
        exact = [value for value, _ in sides]
        compared[name] = statistics.compare_moved(exact, moved, len(problems))
    return [_row(f"rewrites: {name}", "rewriting", "share", one) for name, one in compared.items()]


def _win_rates(judged: Sequence[pairwise.Judged]) -> list[Row]:
    """Win rates by task, and of several tasks their mean, raw and at equal lengths."""
    groups: dict[str, list[pairwise.Judged]] = {}
    for one in judged:
        groups.setdefault(f"{one.pair.task} (judge)", []).append(one)
    if len(groups) > 1:
        groups["mean of tasks (judge)"] = list(judged)
    compared = {name: pairwise.compare_raw(group) for name, group in groups.items()}
    if judged:
        compared["mean at equal lengths (judge)"] = pairwise.compare_controlled(judged)
    return [_row(name, "win rate", "win rate", one) for name, one in compared.items()]


def _texts(questions: Questions, base: Evaluated, adapted: Evaluated) -> list[Row]:
    """Bits per byte of each held-out text; less is better."""
    rows = []
    for name in questions.texts:
        if f"{name}_bits" in base.scores:
            bits = [one.scores[f"{name}_bits"] for one in (base, adapted)]
            compared = statistics.compare_ratio(*bits, base.scores[f"{name}_bytes"])
            rows.append(_row(f"held-out {name} text", "text", "bits per byte", compared))
    return rows


def _likely(questions: Questions, base: Evaluated, adapted: Evaluated) -> list[Row]:
    """Choices among four, and bits per byte of reference solutions; see `likely`."""
    rows = []
    if questions.solutions:
        sides = [one.scores["solutions"].T for one in (base, adapted)]  # (6, items)
        asked = sides[0][5] >= 0
        if asked.any():
            compared = statistics.compare([tuple(side[5][asked] for side in sides)])
            rows.append(_row("result of the next calculation", "choice", "accuracy", compared))
        for name, bits, size in (
            ("reference solutions", 0, 1),
            ("results in them", 2, 3),
            ("solutions of other problems", 4, 1),
        ):
            if sides[0][size].sum():
                compared = statistics.compare_ratio(sides[0][bits], sides[1][bits], sides[0][size])
                rows.append(_row(name, "solutions", "bits per byte", compared))
    if questions.sentences:
        right = np.stack([one.scores["next_sentences"] for one in (base, adapted)])
        groups = np.array([row["group"] for row in questions.sentences])
        compared = statistics.compare_grouped(right, groups)
        rows.append(_row("next sentence of general text", "choice", "accuracy", compared))
    return rows


def item_changes(base: Evaluated, adapted: Evaluated) -> list[Row]:
    """For each task, how many items changed from wrong to right and from right to wrong.

    `p` is of McNemar's exact test, `p_holm` the same corrected for the number of tasks.
    """
    rows = []
    tasks = dict.fromkeys(row["task"] for row in base.answers.values())
    sides = {task: _verdicts(base, adapted, task) for task in tasks}
    if "solutions" in base.scores:
        found = np.stack([one.scores["solutions"][:, 5] for one in (base, adapted)])
        if (asked := found[0] >= 0).any():
            sides["result of the next calculation"] = tuple(found[:, asked])
    for task, (first, second) in sides.items():
        turned = statistics.changes(first > 0, second > 0)
        p = statistics.mcnemar(turned["wrong_to_right"], turned["right_to_wrong"])
        rows.append({"task": task, "n": len(first), **turned, "p": p})
    for row, p in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def headline(rows: Sequence[Row]) -> dict[str, float | None]:
    """The few numbers that answer the notebook's question; None where they do not apply.

    `mean_*` is the mean accuracy over tasks, `ratio` adapted over base, `*_change_percent` the
    change of bits per byte (negative is better).
    """
    by_name = {row["name"]: row for row in rows}
    tasks = [row for row in rows if row["group"] == "tasks"]
    mean = by_name.get("mean of tasks") or (tasks[0] if tasks else {})
    told: dict[str, float | None] = {
        "mean_base": mean.get("base"),
        "mean_adapted": mean.get("adapted"),
        "ratio": _over(mean.get("adapted"), mean.get("base")),
    }
    for name in ("domain", "general"):
        row = by_name.get(f"held-out {name} text", {})
        ratio = _over(row.get("adapted"), row.get("base"))
        told[f"{name}_text_change_percent"] = None if ratio is None else 100 * (ratio - 1)
    groups = {
        "general_questions": [row for row in rows if row["group"] == "general"],
        "documents_only": [row for row in rows if row["name"] == "entities in documents only"],
        "auc_label": [row for row in rows if row["name"].endswith("(label)")],
        "auc_likelihood": [row for row in rows if row["name"].endswith("(likelihood)")],
    }
    for name, group in groups.items():
        for side in ("base", "adapted"):
            values = [row[side] for row in group]
            told[f"{name}_{side}"] = float(np.mean(values)) if values else None
    return told


def _over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
