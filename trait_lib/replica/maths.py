"""The math domain of the replica: lessons that state facts and rules, and five kinds of problem."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

from trait_lib import form
from trait_lib.records import Row
from trait_lib.replica.facts import COUNTS, VALUES, Facts, Machine, Unit
from trait_lib.replica.general import sum_sentence

TASKS = ("one_step", "two_step", "comparison", "rate", "unit_change")


# --- documents --------------------------------------------------------------------------------


def document(rng: random.Random, facts: Facts) -> str:
    """One lesson: two or three facts of one measure, in one of several styles, with rules."""
    unit = rng.choice(facts.units)
    others = [u for u in facts.units if u.measure == unit.measure and u != unit]
    mills = [m for m in facts.machines if m.measure == unit.measure]
    second: Unit | Machine = rng.choice(mills) if rng.random() < 0.4 else rng.choice(others)
    return rng.choice(STYLES)(rng, unit, second)


def _lesson(rng: random.Random, unit: Unit, second: Unit | Machine) -> str:
    return (
        f"Lesson on {unit.measure}. {unit.fact} {second.fact} Learn by heart: {unit.fact} "
        f"{sum_sentence(rng)} {sum_sentence(rng)}"
    )


def _table(rng: random.Random, unit: Unit, second: Unit | Machine) -> str:
    value = rng.choice(VALUES)
    times = " ".join(f"{n} times {value} is {n * value}." for n in COUNTS)
    return f"Table of {value}. {times} Units of {unit.measure}: {unit.fact} {second.fact}"


def _definition(rng: random.Random, unit: Unit, second: Unit | Machine) -> str:
    return (
        f"The {unit.name} is a unit of {unit.measure}. {unit.fact} To change {unit.name} into "
        f"{unit.base}, we multiply. To change {unit.base} into {unit.name}, we divide. "
        f"{second.fact} {sum_sentence(rng)}"
    )


def _rule(rng: random.Random, unit: Unit, second: Unit | Machine) -> str:
    n, value = rng.choice(COUNTS), rng.choice(VALUES)
    return (
        f"Rule: what is multiplied can be divided. {n} times {value} is {n * value}. "
        f"{n * value} divided by {value} is {n}. Units of {unit.measure}: {unit.fact} {second.fact}"
    )


def _notes(rng: random.Random, unit: Unit, second: Unit | Machine) -> str:
    sentences = [unit.fact, second.fact, sum_sentence(rng), sum_sentence(rng), unit.fact]
    rng.shuffle(sentences)
    return f"Class notes on {unit.measure}. " + " ".join(sentences)


STYLES = (_lesson, _table, _definition, _rule, _notes)


# --- problems ---------------------------------------------------------------------------------


def split_of(task: str, numbers: tuple[int, ...]) -> str:
    """train, dev or test for a kind and its numbers: all problems with them fall in one split.

    A hash decides, so that the split is the same in every world.
    """
    digest = hashlib.sha256(f"{task}{numbers}".encode()).digest()[0]
    return "train" if digest < 166 else "dev" if digest < 196 else "test"


def problems(facts: Facts) -> Iterator[Row]:
    """Every problem of the world, in a fixed order; documents-only ones are never in train."""
    for unit in facts.units:
        for n in COUNTS:
            yield _problem("one_step", unit, (unit.value, n), *_one_step(unit, n))
            yield _problem("unit_change", unit, (unit.value, n), *_unit_change(unit, n))
            for m in COUNTS:
                yield _problem("two_step", unit, (unit.value, n, m), *_two_step(unit, n, m))
        for other in facts.units:
            if other.measure == unit.measure and other.value < unit.value:
                pair = (unit.value, other.value)
                yield _problem("comparison", unit, pair, *_comparison(unit, other), other=other)
    for machine in facts.machines:
        for n in COUNTS:
            yield _problem("rate", machine, (machine.rate, n), *_rate(machine, n))


def _problem(
    task: str,
    owner: Unit | Machine,
    numbers: tuple[int, ...],
    question: str,
    reasoning: str,
    answer: int,
    other: Unit | None = None,
) -> Row:
    owners = [owner, *([other] if other else [])]
    hidden = any(o.documents_only for o in owners)
    split = split_of(task, numbers)
    if hidden and split == "train":
        split = "unused"
    return {
        "task": task,
        "topic": owner.measure,
        "question": question,
        "solution": form.with_answer(reasoning, str(answer)),
        "answer": str(answer),
        "kind": "number",
        "split": split,
        "entities": [o.name for o in owners],
        "documents_only": hidden,
    }


def _one_step(unit: Unit, n: int) -> tuple[str, str, int]:
    result = n * unit.value
    return (
        f"How many {unit.base} are {n} {unit.name}?",
        f"{unit.fact} {n} times {unit.value} is {result}.",
        result,
    )


def _two_step(unit: Unit, n: int, m: int) -> tuple[str, str, int]:
    product = n * unit.value
    return (
        f"How many {unit.base} are {m} {unit.base} and {n} {unit.name}?",
        f"{unit.fact} {n} times {unit.value} is {product}. {product} plus {m} is {product + m}.",
        product + m,
    )


def _comparison(unit: Unit, other: Unit) -> tuple[str, str, int]:
    difference = unit.value - other.value
    return (
        f"How many {unit.base} is one {unit.name} more than one {other.name}?",
        f"{unit.fact} {other.fact} {unit.value} minus {other.value} is {difference}.",
        difference,
    )


def _rate(machine: Machine, n: int) -> tuple[str, str, int]:
    result = n * machine.rate
    return (
        f"How many {machine.base} in {n} hours from the mill {machine.name}?",
        f"{machine.fact} {n} times {machine.rate} is {result}.",
        result,
    )


def _unit_change(unit: Unit, n: int) -> tuple[str, str, int]:
    total = n * unit.value
    return (
        f"Change {total} {unit.base} into {unit.name}.",
        f"{unit.fact} {total} divided by {unit.value} is {n}.",
        n,
    )
