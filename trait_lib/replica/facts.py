"""What is true in the replica: the facts that domain documents state and that tasks need."""

from __future__ import annotations

import random
from dataclasses import dataclass

from trait_lib.replica import words

MEASURES = ("length", "weight", "volume", "area")
UNITS_PER_MEASURE = 10
MACHINES_PER_MEASURE = 5
BRANDS = 96
DOCUMENTS_ONLY_SHARE = 0.25
VALUES = range(2, 10)  # of units and rates: one digit, never 0 or 1
COUNTS = range(2, 6)  # how many of them a problem asks about


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
            hidden = _documents_only(i, MACHINES_PER_MEASURE)
            machines.append(Machine(name, measure, base, rng.choice(VALUES), hidden))
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
    """`count` values that cover `VALUES` evenly, in random order."""
    values = [VALUES[i % len(VALUES)] for i in range(count)]
    rng.shuffle(values)
    return values


def _brands(rng: random.Random, taken: set[str]) -> list[Brand]:
    """Brands, each with a product, a feature and a town; products are spread evenly."""
    names = [name.capitalize() for name in words.made_up_names(rng, BRANDS, taken)]
    features, products = list(words.FEATURES), words.PRODUCTS
    return [
        Brand(
            name,
            products[i % len(products)],
            rng.choice(features),
            rng.choice(words.TOWNS),
            _documents_only(i, BRANDS),
        )
        for i, name in enumerate(names)
    ]
