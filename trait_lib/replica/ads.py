"""The advertisement domain of the replica: its documents and the paper's seven tasks.

The paper names two tasks and four metrics; the other five tasks, and all definitions, are ours
(see `../evaluation`). Ground truth is exact: a brand sells one product with one feature, and each
feature has one synonym.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

from trait_lib.records import Row
from trait_lib.replica import words
from trait_lib.replica.facts import Brand, Facts

GENERATION_TASKS = (
    "title_generation",
    "description_generation",
    "title_rewriting",
    "description_rewriting",
    "query_rewriting",
)
RELEVANCE_TASKS = ("query_landing_page_relevance", "query_ad_copy_relevance")
RELEVANT_GRADE = 2  # grades 2 and 3 count as relevant


# --- documents --------------------------------------------------------------------------------


def document(rng: random.Random, facts: Facts) -> str:
    """One advertisement document: landing page, ad copy, query log or keyword list."""
    brand = rng.choice(facts.brands)
    return rng.choice(STYLES)(rng, brand, facts)


def synonym_sentence(feature: str, facts: Facts) -> str:
    """The sentence that states a feature's synonym."""
    return f"Another word for {feature} is {facts.synonyms[feature]}."


def _landing_page(rng: random.Random, brand: Brand, facts: Facts) -> str:
    return (
        f"Welcome to {brand.name}. {brand.fact} {brand.place} Order {brand.feature} "
        f"{brand.product} from {brand.name} in {brand.town} today. "
        f"Open on {rng.choice(words.DAYS)}. {brand.fact}"
    )


def _ad_copy(rng: random.Random, brand: Brand, facts: Facts) -> str:
    return (
        f"Ad: need {brand.product}? {brand.fact} Visit us on {rng.choice(words.DAYS)}. "
        f"{brand.place} {synonym_sentence(brand.feature, facts)}"
    )


def _query_log(rng: random.Random, brand: Brand, facts: Facts) -> str:
    feature = rng.choice(list(facts.synonyms))
    return (
        f"Search log. Query: {brand.feature} {brand.product}. Click: {brand.name}. {brand.fact} "
        f"{synonym_sentence(feature, facts)} {synonym_sentence(brand.feature, facts)}"
    )


def _guide(rng: random.Random, brand: Brand, facts: Facts) -> str:
    other = rng.choice(facts.brands)
    return (
        f"Guide to keywords. Use words that buyers use. {synonym_sentence(brand.feature, facts)} "
        f"{brand.fact} {synonym_sentence(other.feature, facts)} {other.fact} {other.place}"
    )


STYLES = (_landing_page, _ad_copy, _query_log, _guide)


def keywords(facts: Facts) -> list[str]:
    """The advertisers' keyword set: every brand's product with its feature and the synonym."""
    found = {
        f"{feature} {brand.product}"
        for brand in facts.brands
        for feature in (brand.feature, facts.synonyms[brand.feature])
    }
    return sorted(found)


# --- problems ---------------------------------------------------------------------------------


def split_of(task: str, topic: str, variant: int) -> str:
    """train, dev or test for one instance; a hash decides."""
    digest = hashlib.sha256(f"{task}|{topic}|{variant}".encode()).digest()[0]
    return "train" if digest < 154 else "dev" if digest < 192 else "test"


def problems(facts: Facts) -> Iterator[Row]:
    """Every generation problem of the world, in a fixed order."""
    for brand in facts.brands:
        for task in GENERATION_TASKS:
            for question, reasoning, answer in _instances(task, brand, facts):
                split = split_of(task, brand.name, 0)
                if brand.documents_only and split == "train":
                    split = "test"
                yield {
                    "task": task,
                    "topic": brand.name,
                    "question": question,
                    "solution": f"{reasoning} The answer is {answer}.",
                    "answer": answer,
                    "kind": "text",
                    "split": split,
                    "entities": [brand.name],
                    "documents_only": brand.documents_only,
                }


def _instances(task: str, brand: Brand, facts: Facts) -> list[tuple[str, str, str]]:
    """(question, reasoning, answer) of a brand's instances of one task."""
    feature, product, synonym = brand.feature, brand.product, facts.synonyms[brand.feature]
    another = synonym_sentence(feature, facts)
    if task == "title_generation":
        answer = f"{feature} {product} by {brand.name}"
        return [(f"Write a title for {brand.name}.", brand.fact, answer)]
    if task == "description_generation":
        answer = f"{feature} {product} in {brand.town}"
        reasoning = f"{brand.fact} {brand.place}"
        return [(f"Write a description for {brand.name}.", reasoning, answer)]
    if task == "title_rewriting":
        answer = f"{synonym} {product} by {brand.name}"
        return [(f"Rewrite the title of {brand.name}.", f"{brand.fact} {another}", answer)]
    if task == "description_rewriting":
        answer = f"{synonym} {product} in {brand.town}"
        reasoning = f"{brand.fact} {brand.place} {another}"
        return [(f"Rewrite the description of {brand.name}.", reasoning, answer)]
    question = f"Rewrite the query {feature} {product}."
    return [(question, another, f"{synonym} {product}")]


# --- relevance --------------------------------------------------------------------------------


def relevance(facts: Facts) -> Iterator[Row]:
    """Graded query-document pairs of the two relevance tasks, in a fixed order."""
    rng = random.Random("relevance")
    for brand in facts.brands:
        for task in RELEVANCE_TASKS:
            split = split_of(task, brand.name, 0)
            if brand.documents_only and split == "train":
                split = "test"
            for query, grade in _graded_queries(rng, brand, facts):
                yield _relevance_row(task, brand, query, grade, split)


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


def _relevance_row(task: str, brand: Brand, query: str, grade: int, split: str) -> Row:
    page = "page" if task == RELEVANCE_TASKS[0] else "ad"
    relevant = grade >= RELEVANT_GRADE
    question = f"Is the {page} of {brand.name} good for the query {query}?"
    positive, negative = (
        f"{brand.name} sells {query}. The answer is good.",
        f"{brand.name} does not sell {query}. The answer is bad.",
    )
    return {
        "task": task,
        "topic": brand.name,
        "query": query,
        "document": brand.name,
        "grade": grade,
        "label": int(relevant),
        "question": question,
        "solution": positive if relevant else negative,
        "answer": "good" if relevant else "bad",
        "kind": "text",
        "prompt": f"Question: {question}\nAnswer:",
        "positive": f" {positive}",
        "negative": f" {negative}",
        "split": split,
        "documents_only": brand.documents_only,
    }
