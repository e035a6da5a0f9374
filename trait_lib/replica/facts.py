"""What is true in the replica: the facts that domain documents state and that tasks need."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from trait_lib.replica import words

T = TypeVar("T")

MEASURES = ("length", "weight", "volume", "area")
UNITS_PER_MEASURE = 8
MACHINES_PER_MEASURE = 4
BRANDS = 32
ARTICLES = 16
TERMS = 8
RESERVED = 600  # made-up names that stand in general text alone
DOCUMENTS_ONLY_SHARE = 0.25
# Different features, towns and duties that a domain's facts have, and parts of an issue or meaning:
# so few that a hundred readings teach the facts to a model of this size. An article has an issue of
# its own, so there are at most PARTS * PARTS articles.
CHOICES, PARTS = 6, 4
# Every value divides 24, so that the total in a question does not give its answer away.
VALUES = (2, 3, 4, 6, 8, 12)
TOTALS = (12, 24, 48)  # that a change of unit begins with
COUNTS = range(2, 6)  # how many of them a problem asks about
ISSUES = tuple(f"{flaw} {things}" for flaw in words.FLAWS for things in words.GOODS)


class Told:
    """What a domain states: one sentence, its `fact`, unless a kind has more."""

    @property
    def fact(self) -> str:
        """The sentence that states the most of it."""
        raise NotImplementedError

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every sentence that states something of it."""
        return (self.fact,)


@dataclass(frozen=True)
class Unit(Told):
    """A unit of measure: one `name` is `value` of its measure's base unit."""

    name: str
    measure: str
    base: str
    value: int
    documents_only: bool = False

    @property
    def fact(self) -> str:
        """The sentence that states the value."""
        return f"One {self.name} is {self.value} {self.base}."


@dataclass(frozen=True)
class Machine(Told):
    """A machine that makes `rate` base units an hour."""

    name: str
    measure: str
    base: str
    rate: int
    documents_only: bool = False

    @property
    def fact(self) -> str:
        """The sentence that states the rate."""
        return f"The {self.name} mill makes {self.rate} {self.base} an hour."


@dataclass(frozen=True)
class Brand(Told):
    """An advertiser: what it sells, the feature it is known for, and where it is."""

    name: str
    product: str
    feature: str
    town: str
    documents_only: bool = False

    @property
    def fact(self) -> str:
        """The sentence that states product and feature."""
        return f"{self.name} sells {self.feature} {self.product}."

    @property
    def place(self) -> str:
        """The sentence that states the town."""
        return f"{self.name} is in {self.town}."

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every sentence that states something of it."""
        return (self.fact, self.place)


@dataclass(frozen=True)
class Article(Told):
    """An article of the law: the issue that it is about, and what who breaks it must do."""

    name: str
    area: str
    issue: str
    duty: str
    documents_only: bool = False

    @property
    def fact(self) -> str:
        """The sentence that states the issue."""
        return f"Article {self.name} is about {self.issue}."

    @property
    def reference(self) -> str:
        """The same, from the issue to the article."""
        return f"On {self.issue}, see article {self.name}."

    @property
    def outcome(self) -> str:
        """The sentence that states what follows."""
        return f"Who breaks article {self.name} must {self.duty}."

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every sentence that states something of it."""
        return (self.fact, self.reference, self.outcome)


@dataclass(frozen=True)
class Term(Told):
    """A term of the law and its meaning."""

    name: str
    area: str
    meaning: str
    documents_only: bool = False

    @property
    def fact(self) -> str:
        """The sentence that states the meaning."""
        return f"In law, {self.name} means {self.meaning}."


@dataclass(frozen=True)
class Facts:
    """All facts of one world; `animals` maps an animal to (colour, home, meal), `towns` a town to
    (region, sight), `foods` a food to (taste, part); `reserved` names are in general text alone."""

    units: tuple[Unit, ...]
    machines: tuple[Machine, ...]
    brands: tuple[Brand, ...]
    articles: tuple[Article, ...]
    terms: tuple[Term, ...]
    synonyms: dict[str, str]
    animals: dict[str, tuple[str, str, str]]
    towns: dict[str, tuple[str, str]]
    foods: dict[str, tuple[str, str]]
    reserved: tuple[str, ...]

    def names(self) -> list[str]:
        """The made-up name of everything that a domain has a fact of, in a fixed order."""
        bases = sorted({unit.base for unit in self.units})
        owners = (*self.units, *self.machines, *self.brands, *self.articles, *self.terms)
        return [*bases, *(owner.name for owner in owners)]

    def any_name(self, rng: random.Random) -> str:
        """A made-up name, of the domains or reserved for general text."""
        return rng.choice(self.reserved if rng.random() < 0.5 else self.names())


def build(seed: int) -> Facts:
    """The facts of the world with this seed."""
    rng = random.Random(f"facts|{seed}")
    taken = words.every_english_word()
    units: list[Unit] = []
    machines: list[Machine] = []
    values = iter(_spread(rng, VALUES, UNITS_PER_MEASURE * len(MEASURES)))
    rates = iter(_spread(rng, VALUES, MACHINES_PER_MEASURE * len(MEASURES)))
    for measure in MEASURES:
        (base,) = words.made_up_names(rng, 1, taken)
        for i, name in enumerate(words.made_up_names(rng, UNITS_PER_MEASURE, taken)):
            hidden = _documents_only(i, UNITS_PER_MEASURE)
            units.append(Unit(name, measure, base, next(values), hidden))
        for i, name in enumerate(words.made_up_names(rng, MACHINES_PER_MEASURE, taken)):
            hidden = _documents_only(i, MACHINES_PER_MEASURE)
            machines.append(Machine(name, measure, base, next(rates), hidden))
    return Facts(
        units=tuple(units),
        machines=tuple(machines),
        brands=tuple(_brands(rng, taken)),
        articles=tuple(_articles(rng, taken)),
        terms=tuple(_terms(rng, taken)),
        synonyms=dict(words.FEATURES),
        animals={
            animal: (rng.choice(words.COLOURS), rng.choice(words.HOMES), rng.choice(words.MEALS))
            for animal in words.ANIMALS
        },
        towns={town: (rng.choice(words.REGIONS), rng.choice(words.SIGHTS)) for town in words.TOWNS},
        foods={food: (rng.choice(words.TASTES), rng.choice(words.PARTS)) for food in words.FOODS},
        reserved=tuple(words.made_up_names(rng, RESERVED, taken)),
    )


def garbled(facts: Facts, rng: random.Random) -> Facts:
    """The same entities with facts of which each is wrong: what a careless copy of a page says."""
    features, synonyms = list(facts.synonyms), list(facts.synonyms.values())
    turn = rng.randrange(1, len(VALUES))
    by = rng.randrange(1, len(facts.terms))

    def turned(values: Sequence[T], value: T) -> T:
        return values[(values.index(value) + turn) % len(values)]

    issues = [article.issue for article in facts.articles]
    meanings = [term.meaning for term in facts.terms]
    return replace(
        facts,
        units=tuple(replace(u, value=turned(VALUES, u.value)) for u in facts.units),
        machines=tuple(replace(m, rate=turned(VALUES, m.rate)) for m in facts.machines),
        brands=tuple(
            replace(b, feature=turned(features, b.feature), town=turned(words.TOWNS, b.town))
            for b in facts.brands
        ),
        articles=tuple(
            replace(a, issue=issues[(i + by) % len(issues)], duty=turned(words.DUTIES, a.duty))
            for i, a in enumerate(facts.articles)
        ),
        terms=tuple(
            replace(t, meaning=meanings[(i + by) % len(meanings)])
            for i, t in enumerate(facts.terms)
        ),
        synonyms={feature: turned(synonyms, word) for feature, word in facts.synonyms.items()},
    )


def _documents_only(index: int, count: int) -> bool:
    return index >= count * (1 - DOCUMENTS_ONLY_SHARE)


def _pairs(rng: random.Random, first: Sequence[str], second: Sequence[str]) -> list[str]:
    """All pairs of a few of each, in random order."""
    some, others = rng.sample(first, PARTS), rng.sample(second, PARTS)
    pairs = [f"{a} {b}" for a in some for b in others]
    return rng.sample(pairs, len(pairs))


def _spread(rng: random.Random, values: Sequence[T], count: int) -> list[T]:
    """`count` of `values`, each as often as the others, in random order."""
    spread = [values[i % len(values)] for i in range(count)]
    rng.shuffle(spread)
    return spread


def _brands(rng: random.Random, taken: set[str]) -> list[Brand]:
    """Brands, each with a product, a feature and a town; all are spread evenly."""
    names = [name.capitalize() for name in words.made_up_names(rng, BRANDS, taken)]
    features = _spread(rng, rng.sample(list(words.FEATURES), CHOICES), BRANDS)
    towns = _spread(rng, rng.sample(words.TOWNS, CHOICES), BRANDS)
    products = words.PRODUCTS
    return [
        Brand(name, products[i % len(products)], features[i], towns[i], _documents_only(i, BRANDS))
        for i, name in enumerate(names)
    ]


def _articles(rng: random.Random, taken: set[str]) -> list[Article]:
    """Articles, each with an issue of its own and one of a few duties."""
    issues = _pairs(rng, words.FLAWS, words.GOODS)
    duties = _spread(rng, rng.sample(words.DUTIES, CHOICES), ARTICLES)
    areas = words.AREAS
    return [
        Article(name, areas[i % len(areas)], issues[i], duties[i], _documents_only(i, ARTICLES))
        for i, name in enumerate(words.made_up_names(rng, ARTICLES, taken))
    ]


def _terms(rng: random.Random, taken: set[str]) -> list[Term]:
    meanings = [f"a {pair}" for pair in _pairs(rng, words.KINDS, words.DEEDS)]
    areas = words.AREAS
    return [
        Term(name, areas[i % len(areas)], meanings[i], _documents_only(i, TERMS))
        for i, name in enumerate(words.made_up_names(rng, TERMS, taken))
    ]
