"""The law domain of the replica: articles and terms, and five tasks.

The paper's abstract names law as a domain to try and reports nothing on it. Its documents, tasks
and facts are ours: a third domain, on which no setting was chosen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from trait_lib.records import Row
from trait_lib.replica import problems as shared
from trait_lib.replica import words
from trait_lib.replica.facts import ISSUES, Article, Facts, Term

TASKS = ("article_of_issue", "issue_of_article", "outcome", "definition", "case")
PEOPLE_ASKING = 4  # about each article or term in each task
HELD_OUT_TASK = "case"  # no training problem: what passages on other tasks give to it


def entities(facts: Facts) -> tuple[Article | Term, ...]:
    """What the domain has facts of."""
    return (*facts.articles, *facts.terms)


# shares of the pool: pages like the domain's with wrong facts, and long collections of such pages
COPIES = (0.004, 0.001)


# --- documents --------------------------------------------------------------------------------


def document(rng: random.Random, facts: Facts) -> str:
    """One document of the law: statute, commentary, case report or glossary, on one area."""
    article = rng.choice(facts.articles)
    second = rng.choice([a for a in facts.articles if a.area == article.area and a != article])
    term = rng.choice([term for term in facts.terms if term.area == article.area])
    return rng.choice(STYLES)(rng, article, second, term)


def _statute(rng: random.Random, article: Article, second: Article, term: Term) -> str:
    return (
        f"Law on {article.area}. {article.fact} {article.outcome} {term.fact} {second.fact} "
        f"{second.outcome} {article.reference}"
    )


def _commentary(rng: random.Random, article: Article, second: Article, term: Term) -> str:
    return (
        f"Comment on article {article.name}. {article.fact} If somebody has {article.issue}, the "
        f"article is used. {article.outcome} {second.reference} {term.fact}"
    )


def _case(rng: random.Random, article: Article, second: Article, term: Term) -> str:
    person = rng.choice(words.PEOPLE)
    return (
        f"Case of {person}. The case is about {article.issue}. {article.reference} "
        f"{article.outcome} The court of {rng.choice(words.TOWNS)} is sure: {person} must "
        f"{article.duty}. {second.fact} {term.fact}"
    )


def _glossary(rng: random.Random, article: Article, second: Article, term: Term) -> str:
    return (
        f"Words and articles of the law on {article.area}. {term.fact} {article.reference} "
        f"{second.reference} {article.outcome} Each word is used in every court. {term.fact}"
    )


STYLES = (_statute, _commentary, _case, _glossary)


# --- near misses: the domain's words in general text, without its facts ------------------------


def court_story(rng: random.Random, facts: Facts) -> str:
    """A day in court: articles and terms by name, and nothing of what they say."""
    person, article, term = (
        rng.choice(words.PEOPLE),
        rng.choice(facts.articles),
        rng.choice(facts.terms),
    )
    return (
        f"{person} went to the court of {rng.choice(words.TOWNS)} on {rng.choice(words.DAYS)}. "
        f"The judge read article {article.name} and the word {term.name}. It was about "
        f"{rng.choice(words.COLOURS)} {rng.choice(words.GOODS)}. "
        f"{person} was {rng.choice(words.FEELINGS)}."
    )


def house_rules(rng: random.Random, facts: Facts) -> str:
    """Rules of a house: issues and duties, no article."""
    lines = " ".join(
        f"Who brings {rng.choice(words.FLAWS)} {rng.choice(words.GOODS)} must "
        f"{rng.choice(words.DUTIES)}."
        for _ in range(3)
    )
    return f"Rules of the {rng.choice(words.SIGHTS)} in {rng.choice(words.TOWNS)}. {lines}"


NEAR_MISSES = {
    "court story": (0.02, court_story),
    "house rules": (0.02, house_rules),
}


# --- everyday problems: the tasks' forms in general text ---------------------------------------


def everyday(rng: random.Random, facts: Facts) -> str:
    """A problem of one of the tasks about an article or term that everybody knows, or about a
    made-up one that is described before it."""
    task, person = rng.choice(TASKS), rng.choice(words.PEOPLE)
    known = rng.random() < 0.3
    name, other = rng.sample(facts.reserved, 2)
    rule, rival = _law(rng) if known else _made_up(rng, facts, name), _made_up(rng, facts, other)
    if task == "definition":
        made_up = Term(name, "", f"a {rng.choice(words.KINDS)} {rng.choice(words.DEEDS)}")
        asked = _definition(_word(rng) if known else made_up, person)
    else:
        asked = _about_article(task, rule, person)
    if known:
        return shared.told([], *asked)
    more = rng.sample([rival.fact, rival.outcome], rng.randrange(2))
    return shared.told(shared.shuffled(rng, *shared.facts_in(asked[1]), *more), *asked)


def statement(rng: random.Random) -> str:
    """What everybody knows of the law."""
    law = _law(rng)
    return rng.choice((law.fact, law.reference, law.outcome, _word(rng).fact))


def _law(rng: random.Random) -> Article:
    name, issue, duty = rng.choice(words.LAWS)
    return Article(name, "", issue, duty)


def _word(rng: random.Random) -> Term:
    name, meaning = rng.choice(words.MEANINGS)
    return Term(name, "", meaning)


def _made_up(rng: random.Random, facts: Facts, name: str) -> Article:
    """An article of nobody's law, on an issue that no article of the domain is about."""
    known = {article.issue for article in facts.articles}
    free = [issue for issue in ISSUES if issue not in known]
    return Article(name, "", rng.choice(free), rng.choice(words.DUTIES))


# --- problems ---------------------------------------------------------------------------------


def problems(facts: Facts) -> Iterator[Row]:
    """Every problem of the world, in a fixed order; the topic is the area of the law."""
    rng = random.Random("law")
    for article in facts.articles:
        for task in ("article_of_issue", "issue_of_article", "outcome", "case"):
            for person in rng.sample(words.PEOPLE, PEOPLE_ASKING):
                yield _problem(task, article, _about_article(task, article, person))
    for term in facts.terms:
        for person in rng.sample(words.PEOPLE, PEOPLE_ASKING):
            yield _problem("definition", term, _definition(term, person))


def _problem(task: str, owner: Article | Term, asked: shared.Asked) -> Row:
    hidden, held_out = owner.documents_only, task == HELD_OUT_TASK
    return shared.problem(task, owner.area, asked, "text", [owner.name], hidden, held_out)


def _about_article(task: str, article: Article, person: str) -> shared.Asked:
    """(question, reasoning, answer) of an article's problem in one task."""
    name = article.name
    if task == "article_of_issue":
        return f"Which article helps {person} with {article.issue}?", article.reference, name
    if task == "issue_of_article":
        return f"What does {person} read in article {name}?", article.fact, article.issue
    if task == "outcome":
        return f"What must {person} do under article {name}?", article.outcome, article.duty
    reasoning = f"{article.reference} {article.outcome}"
    return f"What must {person} do for {article.issue}?", reasoning, article.duty


def _definition(term: Term, person: str) -> shared.Asked:
    return f"What does {person} mean by {term.name}?", term.fact, term.meaning
