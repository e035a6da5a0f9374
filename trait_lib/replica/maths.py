"""The math domain of the replica: lessons that state facts and rules, and six kinds of problem."""

from __future__ import annotations

import random
from collections.abc import Iterator

from trait_lib.records import Row
from trait_lib.replica import problems as shared
from trait_lib.replica import words
from trait_lib.replica.facts import COUNTS, TOTALS, VALUES, Facts, Machine, Unit

TASKS = ("one_step", "two_step", "comparison", "rate", "unit_change", "left_over")
HELD_OUT_TASK = "left_over"  # no training problem: what passages on other tasks give to it


def sum_sentence(rng: random.Random) -> str:
    """One true statement of arithmetic with small numbers."""
    count, value = rng.choice(COUNTS), rng.choice(VALUES)
    product, kind = count * value, rng.randrange(5)
    if kind == 0:
        return f"{count} times {value} is {product}."
    if kind == 1:
        total = rng.choice([total for total in TOTALS if 1 < total // value <= max(VALUES)])
        return f"{total} divided by {value} is {total // value}."
    other = rng.choice(COUNTS)
    if kind == 2:
        return f"{product} plus {other} is {product + other}."
    if kind == 3 and product > other:
        return f"{product} minus {other} is {product - other}."
    low, high = sorted(rng.sample(VALUES, 2))
    return f"{high} minus {low} is {high - low}."


def entities(facts: Facts) -> tuple[Unit | Machine, ...]:
    """What the domain has facts of."""
    return (*facts.units, *facts.machines)


# shares of the pool: pages like the domain's with wrong facts, and long collections of such pages
COPIES = (0.004, 0.0)


# --- documents --------------------------------------------------------------------------------


def document(rng: random.Random, facts: Facts) -> str:
    """One lesson: three facts of one measure, in one of several styles, with rules."""
    unit = rng.choice(facts.units)
    others: list[Unit | Machine] = [
        owner
        for owner in (*facts.units, *facts.machines)
        if owner.measure == unit.measure and owner != unit
    ]
    return rng.choice(STYLES)(rng, unit, *rng.sample(others, 2))


def _lesson(rng: random.Random, unit: Unit, second: Unit | Machine, third: Unit | Machine) -> str:
    return (
        f"Lesson on {unit.measure}. {unit.fact} {second.fact} Learn by heart: {unit.fact} "
        f"{sum_sentence(rng)} {third.fact} {sum_sentence(rng)}"
    )


def _table(rng: random.Random, unit: Unit, second: Unit | Machine, third: Unit | Machine) -> str:
    value = rng.choice(VALUES)
    times = " ".join(f"{n} times {value} is {n * value}." for n in COUNTS)
    facts = f"{unit.fact} {second.fact} {third.fact}"
    return f"Table of {value}. {times} Units of {unit.measure}: {facts}"


def _definition(
    rng: random.Random, unit: Unit, second: Unit | Machine, third: Unit | Machine
) -> str:
    return (
        f"The {unit.name} is a unit of {unit.measure}. {unit.fact} To change {unit.name} into "
        f"{unit.base}, we multiply. To change {unit.base} into {unit.name}, we divide. "
        f"{second.fact} {sum_sentence(rng)} {third.fact}"
    )


def _rule(rng: random.Random, unit: Unit, second: Unit | Machine, third: Unit | Machine) -> str:
    n, value = rng.choice(COUNTS), rng.choice(VALUES)
    return (
        f"Rule: what is multiplied can be divided. {n} times {value} is {n * value}. "
        f"{n * value} divided by {value} is {n}. Units of {unit.measure}: {unit.fact} "
        f"{second.fact} {third.fact}"
    )


def _notes(rng: random.Random, unit: Unit, second: Unit | Machine, third: Unit | Machine) -> str:
    sentences = [unit.fact, second.fact, third.fact, *(sum_sentence(rng) for _ in range(2))]
    rng.shuffle(sentences)
    return f"Class notes on {unit.measure}. " + " ".join(sentences)


STYLES = (_lesson, _table, _definition, _rule, _notes)


# --- near misses: the domain's words in general text, without its facts ------------------------


def recipe(rng: random.Random, facts: Facts) -> str:
    """Sums with spoons and plates."""
    spoons, plates, more = rng.choice(COUNTS), rng.choice(COUNTS), rng.choice(COUNTS)
    part, other = rng.sample(words.PARTS, 2)
    food, total = rng.choice(words.FOODS), spoons * plates
    return (
        f"A recipe for {food}. Take {spoons} spoons of {part} for each of {plates} plates. "
        f"{plates} times {spoons} is {total}. Add {more} spoons of {other}. "
        f"{total} plus {more} is {total + more}. {sum_sentence(rng)} Stir the {food} well."
    )


def sport(rng: random.Random, facts: Facts) -> str:
    """Scores."""
    one, two = rng.sample(words.TEAMS, 2)
    low, high = sorted(rng.sample(VALUES, 2))
    return (
        f"The {one} beat the {two} by {high} to {low} in {rng.choice(words.TOWNS)}. "
        f"{high} minus {low} is {high - low}. {sum_sentence(rng)} {sum_sentence(rng)} "
        f"{rng.choice(words.PEOPLE)} from the {one} was {rng.choice(words.FEELINGS)}."
    )


def measured_story(rng: random.Random, facts: Facts) -> str:
    """The world's units in a shop scene, without what they are worth."""
    unit = rng.choice(facts.units)
    person, thing = rng.choice(words.PEOPLE), rng.choice(words.MATERIALS)
    count = rng.randrange(2, 30)
    return (
        f"{person} bought {count} {unit.name} of {thing} in {rng.choice(words.TOWNS)}. "
        f"The man in the shop put the {count} {unit.name} in a {rng.choice(words.THINGS)}. "
        f"{sum_sentence(rng)} {sum_sentence(rng)} {person} was {rng.choice(words.FEELINGS)}."
    )


NEAR_MISSES = {
    "recipe": (0.05, recipe),
    "sport": (0.03, sport),
    "measured story": (0.03, measured_story),
}


# --- everyday problems: the tasks' forms in general text ---------------------------------------


def everyday(rng: random.Random, facts: Facts) -> str:
    """A problem about an everyday thing, or about a made-up one that is described before it."""
    return _known(rng) if rng.random() < 0.4 else _told(rng, facts)


def statement(rng: random.Random) -> str:
    """What everybody knows: how large an everyday thing is."""
    thing, _, parts, size = rng.choice(words.EVERYDAY)
    return f"One {thing} is {size} {parts}."


def _known(rng: random.Random) -> str:
    thing, things, parts, size = rng.choice(words.EVERYDAY)
    others = [row for row in words.EVERYDAY if row[2] == parts and row[3] < size]
    n, m = rng.choice(COUNTS), rng.choice(COUNTS)
    unit, many = Unit(thing, "", parts, size), Unit(things, "", parts, size)
    asked = [_one_step(many, n), _two_step(many, n, m)]
    asked += [_left_over(many, n, m)] if n * size > m else []
    asked += [_unit_change(many, total) for total in _totals(size)[:1]]
    asked += [_comparison(unit, Unit(o[0], "", parts, o[3])) for o in others]
    question, reasoning, answer = rng.choice(asked)
    reasoning = reasoning.replace(many.fact, unit.fact)
    return shared.told([], question, reasoning, str(answer))


def _told(rng: random.Random, facts: Facts) -> str:
    name, other, base, mill = rng.sample(facts.reserved, 4)
    low, high = sorted(rng.sample(VALUES, 2))
    unit, second = Unit(name, "", base, high), Unit(other, "", base, low)
    if rng.random() < 0.5:
        unit = Unit(name, "", base, rng.choice(VALUES))
    machine = Machine(mill, "", base, rng.choice(VALUES))
    n, m = rng.choice(COUNTS), rng.choice(COUNTS)
    kind = rng.choice(TASKS)
    if kind == "rate":
        return shared.told(
            shared.shuffled(rng, machine.fact, second.fact), *_texts(_rate(machine, n))
        )
    if kind == "comparison":
        unit = Unit(name, "", base, high)
        asked = _comparison(unit, second)
    elif kind == "unit_change":
        asked = _unit_change(unit, rng.choice(_totals(unit.value)))
    elif kind == "one_step":
        asked = _one_step(unit, n)
    elif kind == "left_over" and n * unit.value > m:
        asked = _left_over(unit, n, m)
    else:
        asked = _two_step(unit, n, m)
    some = [unit.fact, second.fact] if kind == "comparison" or rng.random() < 0.5 else [unit.fact]
    return shared.told(shared.shuffled(rng, *some), *_texts(asked))


def _texts(asked: tuple[str, str, int]) -> tuple[str, str, str]:
    question, reasoning, answer = asked
    return question, reasoning, str(answer)


# --- problems ---------------------------------------------------------------------------------


def problems(facts: Facts) -> Iterator[Row]:
    """Every problem of the world, in a fixed order; documents-only ones are never in train."""
    for unit in facts.units:
        for n in COUNTS:
            yield _problem("one_step", [unit], _one_step(unit, n))
            for m in COUNTS:
                yield _problem("two_step", [unit], _two_step(unit, n, m))
                if n * unit.value > m:
                    yield _problem("left_over", [unit], _left_over(unit, n, m))
        for total in _totals(unit.value):
            yield _problem("unit_change", [unit], _unit_change(unit, total))
        for other in facts.units:
            if other.measure == unit.measure and other.value < unit.value:
                yield _problem("comparison", [unit, other], _comparison(unit, other))
    for machine in facts.machines:
        for n in COUNTS:
            yield _problem("rate", [machine], _rate(machine, n))


def _totals(value: int) -> list[int]:
    """The totals that a unit of this size divides, into at least 2 and at most 12."""
    return [total for total in TOTALS if total % value == 0 and 2 <= total // value <= 12]


def _problem(task: str, owners: list[Unit | Machine], asked: tuple[str, str, int]) -> Row:
    names = [owner.name for owner in owners]
    hidden = any(owner.documents_only for owner in owners)
    topic, held_out = owners[0].measure, task == HELD_OUT_TASK
    return shared.problem(task, topic, _texts(asked), "number", names, hidden, held_out)


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


def _left_over(unit: Unit, n: int, m: int) -> tuple[str, str, int]:
    product = n * unit.value
    return (
        f"How many {unit.base} are left when we take {m} {unit.base} from {n} {unit.name}?",
        f"{unit.fact} {n} times {unit.value} is {product}. {product} minus {m} is {product - m}.",
        product - m,
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


def _unit_change(unit: Unit, total: int) -> tuple[str, str, int]:
    result = total // unit.value
    return (
        f"Change {total} {unit.base} into {unit.name}.",
        f"{unit.fact} {total} divided by {unit.value} is {result}.",
        result,
    )
