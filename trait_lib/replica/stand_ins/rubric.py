"""The reference-solution teacher's answer to the educational-quality question: 0 to 5 points.

A heuristic stand-in for the judgement of a teacher LLM. FineWeb-Edu's rubric is additive: each
point names one thing that a text must do. This one is additive too, and each point is a rule on
the surface of the text, so that anyone can check why a document got its score. It sees the text
alone: no label, no source, no identifier.
"""

from __future__ import annotations

import re
from collections import Counter

CHARACTERS = 4000  # the public FineWeb-Edu scorer too reads only a beginning: 512 tokens
BOILERPLATE = re.compile(
    r"click here|subscribe|sign up|log ?in|cookie|all rights reserved|copyright|privacy policy|"
    r"terms of (?:use|service)|free shipping|buy now|best price|add to cart|share this|read more|"
    r"follow us|home \||\|\s*contact|lorem ipsum|advertisement|newsletter|limited offer",
    re.IGNORECASE,
)
STATES = re.compile(
    r"\b(?:is|are|was|were|means?|equals?|has|have|makes?|contains?|consists? of|called|known)\b|=",
    re.IGNORECASE,
)
EXPLAINS = re.compile(
    r"\b(?:because|so|therefore|thus|hence|for example|for instance|such as|that is why|if|when|"
    r"first|then|next|finally|rule|step|lesson|learn|remember|to find|how to|in order to|which "
    r"means|times|divide[ds]?|multipl(?:y|ied|ies)|add(?:s|ed)?|subtract(?:s|ed)?|each|every)\b|=",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"(?:[^.!?\n]|\n(?!\s*\n|\s*[-*#|]))+[.!?]+(?!\w)")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
BROKEN = re.compile(
    r"\ufffd|&[a-z]+;|</?[a-z][^<>]*>|"
    r"[^\w\s.,;:!?'\"()\-–—“”‘’…•%$€£+*/=<>°_#|\[\]{}^\\~@&]{2,}"
)


def sentences(text: str) -> list[list[str]]:
    """The words of each complete sentence: one that ends in a full stop, `!` or `?`."""
    return [words for s in SENTENCE.findall(text) if (words := WORD.findall(s))]


def is_readable(text: str) -> bool:
    """Most words stand in complete sentences of ordinary length, and few characters are broken."""
    total = len(WORD.findall(text))
    inside = sum(len(s) for s in sentences(text) if 3 <= len(s) <= 80)
    return total > 0 and inside >= 0.6 * total and len(BROKEN.findall(text)) <= 0.02 * total


def is_clean(text: str) -> bool:
    """No menu or sales phrases, and no word fills the text as a spammed keyword does."""
    words = [w.lower() for w in WORD.findall(text)]
    frequent = [n for w, n in Counter(words).most_common() if len(w) > 3][:1]
    spammed = bool(frequent) and len(words) >= 20 and frequent[0] > 0.25 * len(words)
    return bool(words) and not BOILERPLATE.search(text) and not spammed


def is_coherent(text: str) -> bool:
    """At least three sentences and 20 words, few of them said twice."""
    found = [" ".join(s).lower() for s in sentences(text)]
    distinct = len(set(found))
    return (
        distinct >= 3 and sum(len(s.split()) for s in found) >= 20 and distinct >= len(found) * 0.8
    )


def states_facts(text: str) -> bool:
    """At least half of the sentences say what something is, has, makes or equals."""
    found = SENTENCE.findall(text)
    return bool(found) and sum(bool(STATES.search(s)) for s in found) >= 0.5 * len(found)


def explains(text: str) -> bool:
    """At least a quarter of the sentences give a reason, a step, a rule or an example."""
    found = SENTENCE.findall(text)
    return bool(found) and sum(bool(EXPLAINS.search(s)) for s in found) >= 0.25 * len(found)


POINTS = (
    "written in complete, readable sentences",
    "free of boilerplate and keyword spam",
    "coherent: long enough and without repetition",
    "states facts or definitions",
    "explains with reasons, steps or examples",
)


def points(text: str) -> dict[str, bool]:
    """Which of the five points a text gets; only its first 4,000 characters are read.

    The points after the second count only for a text that has the first two.
    """
    text = text[:CHARACTERS]
    basic = [is_readable(text), is_clean(text)]
    rest = [all(basic) and rule(text) for rule in (is_coherent, states_facts, explains)]
    return dict(zip(POINTS, basic + rest, strict=True))


def reply(text: str) -> str:
    """The teacher's reply, one line: `Educational score: N`."""
    return f"Educational score: {sum(points(text).values())}"
