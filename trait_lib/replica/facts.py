"""What is true in the replica: the facts that domain documents state and that tasks need."""

from __future__ import annotations

import random
from dataclasses import dataclass

from trait_lib.replica import words

MEASURES = ("length", "weight", "volume", "area", "time")
UNITS_PER_MEASURE = 8
MACHINES_PER_MEASURE = 3
BRANDS = 64
DOCUMENTS_ONLY_SHARE = 0.25
MULTIPLIERS = range(2, 10)  # values of units, rates and counts: one-digit, never 0 or 1


@dataclass(frozen=True)
class Unit:
    """A unit of measure: one `name` is `value` of its measure's base unit."""

    name: str
    measure: str
    base: str
    value: int
    documents_only: bool

    @property
    def fact(self) -> str:
        """The sentence that states the value."""
        return f"One {self.name} is {self.value} {self.base}."


@dataclass(frozen=True)
class Machine:
    """A machine that makes `rate` base units an hour."""

    name: str
    measure: str
    base: str
    rate: int
    documents_only: bool

    @property
    def fact(self) -> str:
        """The sentence that states the rate."""
        return f"The {self.name} mill makes {self.rate} {self.base} an hour."


@dataclass(frozen=True)
class Brand:
    """An advertiser: what it sells, the feature it is known for, and where it is."""

    name: str
    product: str
    feature: str
    town: str
    documents_only: bool

    @property
    def fact(self) -> str:
        """The sentence that states product and feature."""
        return f"{self.name} sells {self.feature} {self.product}."

    @property
    def place(self) -> str:
        """The sentence that states the town."""
        return f"{self.name} is in {self.town}."


@dataclass(frozen=True)
class Facts:
    """All facts of one world; `animals` maps an animal to (colour, home, meal)."""

    units: tuple[Unit, ...]
    machines: tuple[Machine, ...]
    brands: tuple[Brand, ...]
    synonyms: dict[str, str]
    animals: dict[str, tuple[str, str, str]]
    towns: dict[str, tuple[str, str]]

    def names(self) -> list[str]:
        """Every made-up name, in a fixed order."""
        bases = sorted({unit.base for unit in self.units})
        owners = (*self.units, *self.machines, *self.brands)
        return bases + [owner.name for owner in owners]


def build(seed: int) -> Facts:
    """The facts of the world with this seed."""
    rng = random.Random(f"facts|{seed}")
    taken = words.every_english_word()
    units: list[Unit] = []
    machines: list[Machine] = []
    for measure in MEASURES:
        (base,) = words.made_up_names(rng, 1, taken)
        values = _spread(rng, UNITS_PER_MEASURE)
        names = words.made_up_names(rng, UNITS_PER_MEASURE, taken)
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            units.append(Unit(name, measure, base, value, _documents_only(i, UNITS_PER_MEASURE)))
        mills = words.made_up_names(rng, MACHINES_PER_MEASURE, taken)
        for i, name in enumerate(mills):
            rate = rng.choice(MULTIPLIERS)
            hidden = i == MACHINES_PER_MEASURE - 1
            machines.append(Machine(name, measure, base, rate, hidden))
    return Facts(
        tuple(units),
        tuple(machines),
        tuple(_brands(rng, taken)),
        dict(words.FEATURES),
        {
            animal: (rng.choice(words.COLOURS), rng.choice(words.HOMES), rng.choice(words.MEALS))
            for animal in words.ANIMALS
        },
        {town: (rng.choice(words.REGIONS), rng.choice(words.SIGHTS)) for town in words.TOWNS},
    )


def _documents_only(index: int, count: int) -> bool:
    return index >= count * (1 - DOCUMENTS_ONLY_SHARE)


def _spread(rng: random.Random, count: int) -> list[int]:
    """`count` values that cover the multipliers evenly, in random order."""
    values = [MULTIPLIERS[i % len(MULTIPLIERS)] for i in range(count)]
    rng.shuffle(values)
    return values


def _brands(rng: random.Random, taken: set[str]) -> list[Brand]:
    """Brands with distinct (feature, product) pairs; documents-only ones have features of theirs."""
    features = list(words.FEATURES)
    shown = features[: int(len(features) * 2 / 3)]
    hidden = features[len(shown) :]
    names = [name.capitalize() for name in words.made_up_names(rng, BRANDS, taken)]
    used: set[tuple[str, str]] = set()
    brands: list[Brand] = []
    for i, name in enumerate(names):
        documents_only = _documents_only(i, BRANDS)
        while True:
            pair = rng.choice(hidden if documents_only else shown), rng.choice(words.PRODUCTS)
            if pair not in used:
                used.add(pair)
                break
        feature, product = pair
        brands.append(Brand(name, product, feature, rng.choice(words.TOWNS), documents_only))
    return brands
