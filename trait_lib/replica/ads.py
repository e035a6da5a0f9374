"""The advertisement domain of the replica: its documents and the paper's seven tasks.

The paper names two tasks and four metrics; the other five tasks, and all definitions, are ours
(see `../evaluation`). Ground truth is exact: a brand sells one product with one feature, and each
feature has one synonym.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

from trait_lib import form
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


def split_of(task: str, instance: str, documents_only: bool) -> str:
    """train, dev or test for one instance; a hash decides. Documents-only ones never train."""
    digest = hashlib.sha256(f"{task}|{instance}".encode()).digest()[0]
    if documents_only:
        return "dev" if digest < 64 else "test"
    return "train" if digest < 166 else "dev" if digest < 196 else "test"


def problems(facts: Facts) -> Iterator[Row]:
    """Every generation problem of the world, in a fixed order; the topic is the product."""
    for brand in facts.brands:
        for task in GENERATION_TASKS[:4]:
            texts = _about_brand(task, brand, facts)
            yield _problem(task, brand.product, brand.name, *texts, brand.documents_only)
    for feature, synonym in facts.synonyms.items():
        for product in words.PRODUCTS:
            question = f"Rewrite the query {feature} {product}."
            reasoning = synonym_sentence(feature, facts)
            answer = f"{synonym} {product}"
            yield _problem("query_rewriting", product, feature, question, reasoning, answer, False)


def _problem(
    task: str, topic: str, entity: str, question: str, reasoning: str, answer: str, hidden: bool
) -> Row:
    return {
        "task": task,
        "topic": topic,
        "question": question,
        "solution": form.with_answer(reasoning, answer),
        "answer": answer,
        "kind": "text",
        "split": split_of(task, question, hidden),
        "entities": [entity],
        "documents_only": hidden,
    }


def _about_brand(task: str, brand: Brand, facts: Facts) -> tuple[str, str, str]:
    """(question, reasoning, answer) of a brand's problem in one task."""
    what = f"{brand.product} by {brand.name}"
    another = synonym_sentence(brand.feature, facts)
    synonym = facts.synonyms[brand.feature]
    if task == "title_generation":
        return f"Write a title for {what}.", brand.fact, f"{brand.feature} {what}"
    if task == "description_generation":
        answer = f"{brand.feature} {brand.product} in {brand.town}"
        return f"Write a description for {what}.", f"{brand.fact} {brand.place}", answer
    if task == "title_rewriting":
        return f"Rewrite the title of {what}.", f"{brand.fact} {another}", f"{synonym} {what}"
    answer = f"{synonym} {brand.product} in {brand.town}"
    return f"Rewrite the description of {what}.", f"{brand.fact} {another} {brand.place}", answer


# --- relevance --------------------------------------------------------------------------------


def relevance(facts: Facts) -> Iterator[Row]:
    """Graded query-document pairs of the two relevance tasks, in a fixed order."""
    rng = random.Random("relevance")
    for brand in facts.brands:
        for task in RELEVANCE_TASKS:
            split = split_of(task, brand.name, brand.documents_only)
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
    question = f"Is the {page} of {brand.name} good for {query}?"
    positive, negative = (
        form.with_answer(f"{brand.name} sells {query}.", "good"),
        form.with_answer(f"{brand.name} does not sell {query}.", "bad"),
    )
    return {
        "task": task,
        "topic": brand.product,
        "query": query,
        "document": brand.name,
        "grade": grade,
        "label": int(relevant),
        "question": question,
        "solution": positive if relevant else negative,
        "answer": "good" if relevant else "bad",
        "kind": "text",
        "prompt": form.prompt({"question": question}),
        "positive": f" {positive}",
        "negative": f" {negative}",
        "split": split,
        "documents_only": brand.documents_only,
    }
