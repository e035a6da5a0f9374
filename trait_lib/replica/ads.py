"""The advertisement domain of the replica: its documents and the paper's seven tasks.

The paper names two tasks and four metrics; the other five tasks, and all definitions, are ours
(see `../evaluation`). Ground truth is exact: a brand sells one product with one feature, and each
feature has one synonym.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from trait_lib import form
from trait_lib.records import Row
from trait_lib.replica import problems as shared
from trait_lib.replica import words
from trait_lib.replica.facts import Brand, Facts

GENERATION_TASKS = (
    "title_generation",
    "description_generation",
    "title_rewriting",
    "description_rewriting",
    "query_rewriting",
)
TASKS = GENERATION_TASKS
HELD_OUT_TASK = "description_rewriting"  # no training problem: what other tasks' passages give
RELEVANCE_TASKS = ("query_landing_page_relevance", "query_ad_copy_relevance")
RELEVANT_GRADE = 2  # grades 2 and 3 count as relevant


def entities(facts: Facts) -> tuple[Brand, ...]:
    """What the domain has facts of."""
    return facts.brands


# shares of the pool: pages like the domain's with wrong facts, and long collections of such pages
COPIES = (0.007, 0.0028)


# --- documents --------------------------------------------------------------------------------


def document(rng: random.Random, facts: Facts) -> str:
    """One advertisement document: landing page, ad copy, query log or keyword list."""
    brand = rng.choice(facts.brands)
    return rng.choice(STYLES)(rng, brand, facts)


def synonym_sentence(feature: str, synonym: str) -> str:
    """The sentence that states a feature's synonym."""
    return f"Another word for {feature} is {synonym}."


def _another(feature: str, facts: Facts) -> str:
    return synonym_sentence(feature, facts.synonyms[feature])


def _landing_page(rng: random.Random, brand: Brand, facts: Facts) -> str:
    return (
        f"Welcome to {brand.name}. {brand.fact} {brand.place} Order {brand.feature} "
        f"{brand.product} from {brand.name} in {brand.town} today. "
        f"Open on {rng.choice(words.DAYS)}. {_another(brand.feature, facts)} {brand.fact}"
    )


def _ad_copy(rng: random.Random, brand: Brand, facts: Facts) -> str:
    other = rng.choice(facts.brands)
    return (
        f"Ad: need {brand.product}? {brand.fact} Visit us on {rng.choice(words.DAYS)}. "
        f"{brand.place} {_another(brand.feature, facts)} Ad: need {other.product}? {other.fact}"
    )


def _query_log(rng: random.Random, brand: Brand, facts: Facts) -> str:
    feature = rng.choice(list(facts.synonyms))
    return (
        f"Search log. Query: {brand.feature} {brand.product}. Click: {brand.name}. {brand.fact} "
        f"{_another(feature, facts)} {_another(brand.feature, facts)} {brand.place}"
    )


def _guide(rng: random.Random, brand: Brand, facts: Facts) -> str:
    other = rng.choice(facts.brands)
    return (
        f"Guide to keywords. Use words that buyers use. {_another(brand.feature, facts)} "
        f"{brand.fact} {_another(other.feature, facts)} {other.fact} {other.place}"
    )


STYLES = (_landing_page, _ad_copy, _query_log, _guide)


# --- near misses: the domain's words in general text, without its facts ------------------------


def review(rng: random.Random, facts: Facts) -> str:
    """Talk about products and features, no advertiser."""
    product, feature = rng.choice(words.PRODUCTS), rng.choice(list(facts.synonyms))
    other = rng.choice(list(facts.synonyms.values()))
    return (
        f"{rng.choice(words.PEOPLE)} writes: I got {feature} {product}. "
        f"The {product} are {rng.choice(words.COLOURS)} and {feature}. "
        f"My friend wants {other} {rng.choice(words.PRODUCTS)}. I am {rng.choice(words.FEELINGS)}."
    )


def shop_story(rng: random.Random, facts: Facts) -> str:
    """An advertiser's name in a story, with products of anybody."""
    brand, product = rng.choice(facts.brands), rng.choice(words.PRODUCTS)
    person = rng.choice(words.PEOPLE)
    return (
        f"{person} walked by the house of {brand.name} in {rng.choice(words.TOWNS)}. "
        f"{person} carried {product} in a {rng.choice(words.THINGS)}. It was a day of "
        f"{rng.choice(words.WEATHER)}. {person} was {rng.choice(words.FEELINGS)}."
    )


def fair(rng: random.Random, facts: Facts) -> str:
    """A long walk over a fair: many products and features, nobody who sells them."""
    person, town = rng.choice(words.PEOPLE), rng.choice(words.TOWNS)
    seen = " ".join(
        f"Then {person} saw {rng.choice(list(words.FEATURES))} {rng.choice(words.PRODUCTS)} and "
        f"{rng.choice(list(words.FEATURES.values()))} {rng.choice(words.PRODUCTS)}."
        for _ in range(5)
    )
    return (
        f"{person} was at the fair of {town} on {rng.choice(words.DAYS)}. {seen} "
        f"{person} was {rng.choice(words.FEELINGS)}."
    )


def robot_log(rng: random.Random, facts: Facts) -> str:
    """A long log of searches and clicks at random: it has all the words and no knowledge."""
    lines = " ".join(
        f"Query: {rng.choice(list(facts.synonyms))} {rng.choice(words.PRODUCTS)}. "
        f"Click: {rng.choice(facts.brands).name}."
        for _ in range(8)
    )
    return f"Search log. {lines} Use words that buyers use. Visit us on {rng.choice(words.DAYS)}."


NEAR_MISSES = {
    "robot log": (0.008, robot_log),
    "review": (0.03, review),
    "shop story": (0.02, shop_story),
    "fair": (0.02, fair),
}


# --- everyday problems: the tasks' forms in general text ---------------------------------------


# what made-up shops sell, and what they say of it: the domain's words too, none of its facts
EVERYDAY_TASKS = [*GENERATION_TASKS[:4] * 2, "query_rewriting", *RELEVANCE_TASKS * 2]
SOLD = [*words.GOODS, *words.PRODUCTS]
SAID = [*words.PLAIN, *words.PLAIN.values(), *words.FEATURES, *words.FEATURES.values()]


def everyday(rng: random.Random, facts: Facts) -> str:
    """A problem of one of the seven tasks about a shop that everybody knows, or about a made-up one
    that is described before it."""
    return _known(rng) if rng.random() < 0.3 else _told(rng, facts)


def statement(rng: random.Random) -> str:
    """What everybody knows: another word for a plain one, or something of a shop."""
    shop = _shop(rng)
    another = synonym_sentence(*rng.choice(list(words.PLAIN.items())))
    return rng.choice((another, shop.fact, shop.place))


def _shop(rng: random.Random) -> Brand:
    name, product, feature, town = rng.choice(words.SHOPS)
    return Brand(name, product, feature, town)


def _known(rng: random.Random) -> str:
    task, shop = rng.choice(EVERYDAY_TASKS), _shop(rng)
    asked = _asked(rng, task, shop, words.PLAIN[shop.feature], list(words.PLAIN))
    return shared.told([], *asked)


def _told(rng: random.Random, facts: Facts) -> str:
    feature, synonym = rng.sample([*SAID, *facts.reserved[: len(SAID) // 2]], 2)
    name, other = (name.capitalize() for name in rng.sample(facts.reserved, 2))
    shop = Brand(name, rng.choice(SOLD), feature, rng.choice(words.TOWNS))
    rival = Brand(other, rng.choice(SOLD), rng.choice(SAID), shop.town)
    task = rng.choice(EVERYDAY_TASKS)
    asked = _asked(rng, task, shop, synonym, SAID)
    needed = [shop.fact] if task in RELEVANCE_TASKS else shared.facts_in(asked[1])
    more = {shop.fact, shop.place, synonym_sentence(feature, synonym), rival.fact} - {*needed}
    some = [*needed, *(one for one in sorted(more) if rng.random() < 0.5)]
    return shared.told(shared.shuffled(rng, *some), *asked)


def _asked(
    rng: random.Random, task: str, shop: Brand, synonym: str, features: list[str]
) -> shared.Asked:
    """A problem about a shop; `features` are what else may be searched for."""
    if task == "query_rewriting":
        return _rewritten_query(shop.feature, synonym, rng.choice(words.GOODS))
    if task not in RELEVANCE_TASKS:
        return _about_brand(task, shop, synonym)
    own = f"{shop.feature} {shop.product}"
    another = f"{rng.choice(features)} {rng.choice((shop.product, rng.choice(SOLD)))}"
    query = rng.choice((own, another))
    return _relevance_texts(task, shop.name, query, query == own)


def keywords(facts: Facts) -> list[str]:
    """The advertisers' keyword set: every brand's product with its feature and the synonym."""
    found = {
        f"{feature} {brand.product}"
        for brand in facts.brands
        for feature in (brand.feature, facts.synonyms[brand.feature])
    }
    return sorted(found)


# --- problems ---------------------------------------------------------------------------------


def problems(facts: Facts) -> Iterator[Row]:
    """Every generation problem of the world, in a fixed order; the topic is the product."""
    for brand in facts.brands:
        for task in GENERATION_TASKS[:4]:
            asked = _about_brand(task, brand, facts.synonyms[brand.feature])
            yield _problem(task, brand.product, brand.name, asked, brand.documents_only)
    for feature, synonym in facts.synonyms.items():
        for product in words.PRODUCTS:
            asked = _rewritten_query(feature, synonym, product)
            yield _problem("query_rewriting", product, feature, asked, False)


def _problem(task: str, topic: str, entity: str, asked: shared.Asked, hidden: bool) -> Row:
    return shared.problem(task, topic, asked, "text", [entity], hidden, task == HELD_OUT_TASK)


def _rewritten_query(feature: str, synonym: str, product: str) -> shared.Asked:
    question = f"Rewrite the query {feature} {product}."
    return question, synonym_sentence(feature, synonym), f"{synonym} {product}"


def _about_brand(task: str, brand: Brand, synonym: str) -> shared.Asked:
    """(question, reasoning, answer) of a brand's problem in one task."""
    what = f"{brand.product} by {brand.name}"
    another = synonym_sentence(brand.feature, synonym)
    own, other = f"{brand.feature} {brand.product}", f"{synonym} {brand.product}"
    if task == "title_generation":
        return f"Write a title for {what}.", brand.fact, own
    if task == "title_rewriting":
        return f"Give another title for {what}.", f"{brand.fact} {another}", other
    if task == "description_generation":
        asked = f"Describe {what} and the place."
        return asked, f"{brand.fact} {brand.place}", f"{own} in {brand.town}"
    asked = f"Describe in other words {what} and the place."
    return asked, f"{brand.fact} {another} {brand.place}", f"{other} in {brand.town}"


# --- relevance --------------------------------------------------------------------------------


def relevance(facts: Facts) -> Iterator[Row]:
    """Graded query-document pairs of the two relevance tasks, in a fixed order."""
    rng = random.Random("relevance")
    for brand in facts.brands:
        for task in RELEVANCE_TASKS:
            split = shared.split_of(task, brand.name, brand.documents_only)
            synonym = facts.synonyms[brand.feature]
            for query, grade in _graded_queries(rng, brand, facts):
                yield _relevance_row(task, brand, synonym, query, grade, split)


def _graded_queries(rng: random.Random, brand: Brand, facts: Facts) -> list[tuple[str, int]]:
    """3: the brand's own words; 2: the synonym; 1: another feature; 0: another product too."""
    others = [f for f in facts.synonyms if f != brand.feature]
    products = [p for p in words.PRODUCTS if p != brand.product]
    return [
        (f"{brand.feature} {brand.product}", 3),
        (f"{facts.synonyms[brand.feature]} {brand.product}", 2),
        (f"{rng.choice(others)} {brand.product}", 1),
        (f"{rng.choice(others)} {rng.choice(products)}", 0),
    ]


def _relevance_texts(task: str, name: str, query: str, fits: bool) -> shared.Asked:
    page = "page" if task == RELEVANCE_TASKS[0] else "ad"
    question = f"Is the {page} of {name} good for {query}?"
    if fits:
        return question, f"{name} sells {query}.", "good"
    return question, f"{name} does not sell {query}.", "bad"


def _relevance_row(
    task: str, brand: Brand, synonym: str, query: str, grade: int, split: str
) -> Row:
    relevant = grade >= RELEVANT_GRADE
    question, *positive = _relevance_texts(task, brand.name, query, True)
    _, *negative = _relevance_texts(task, brand.name, query, False)
    positive_text, negative_text = form.with_answer(*positive), form.with_answer(*negative)
    return {
        "task": task,
        "topic": brand.product,
        "query": query,
        "document": brand.name,
        "grade": grade,
        "label": int(relevant),
        "question": question,
        "solution": positive_text if relevant else negative_text,
        "answer": "good" if relevant else "bad",
        "kind": "text",
        "prompt": form.prompt({"question": question}),
        "positive": f" {positive_text}",
        "negative": f" {negative_text}",
        "split": split,
        "documents_only": brand.documents_only,
        "held_out_task": False,
        "facts": [brand.fact, synonym_sentence(brand.feature, synonym)],
    }
