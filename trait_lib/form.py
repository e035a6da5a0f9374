r"""The one form in which problems are written, wherever a model reads or writes one.

    Question: How many legs have 2 hens?
    Answer: A hen has 2 legs. 2 times 2 is 4. The answer is 4.

Corpora, passages, fine-tuning and evaluation take it from here, so that what is trained on looks
like what is asked. A row may hold its own `prompt`, the text before the answer: a task file's
`prompt` puts it there, and a relevance pair always has one, with a `positive` and a `negative`
continuation of which its `label` names the true one. Templates are Jinja's. Paper: the form is
not stated; ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from jinja2 import meta

Row = Mapping[str, Any]
PROMPT = "Question: {{ question }}\nAnswer:"
SEPARATOR = "\n\n"  # between two problems of one text
STOPS = (SEPARATOR, "Question:")  # what ends a model's answer
SENTENCE = "The answer is {}"
ENDING = re.compile(r"\s*The answer is\s+(.+?)\.?\s*$")
FORMAT_FIELD = re.compile(r"(?<![\w{}\\])\{([A-Za-z_]\w*)(:[^{}]*)?\}(?!\})")
JINJA = jinja2.Environment(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
)


class TemplateError(ValueError):
    """A template that is not Jinja, or names what it is not given."""


@cache
def fields(template: str) -> frozenset[str]:
    """The names that a template uses.

    Raises:
        TemplateError: it is not valid Jinja, or it names fields as Python's `str.format` does.
    """
    if old := FORMAT_FIELD.search(template):
        raise TemplateError(f"templates are Jinja: write {{{{ {old[1]} }}}} for {old[0]}")
    try:
        return frozenset(meta.find_undeclared_variables(JINJA.parse(template)))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"not a Jinja template: {error.message}") from None


@cache
def _compiled(template: str) -> jinja2.Template:
    fields(template)
    return JINJA.from_string(template)


def fill(template: str, given: Row) -> str:
    """A template with its fields filled in.

    Raises:
        TemplateError: it is not valid, names a field that is not given, or cannot be filled.
    """
    compiled = _compiled(template)
    try:
        return compiled.render(given)
    except Exception as error:  # an expression of the template may fail in any way
        if missing := sorted(fields(template) - given.keys()):
            raise TemplateError(f"needs the field {missing[0]!r}") from None
        raise TemplateError(f"cannot be filled ({error})") from None


def prompt(row: Row) -> str:
    """The text of a problem or a relevance pair before its answer."""
    return row.get("prompt") or fill(PROMPT, {"question": row["question"]})


def open_book(row: Row) -> Row:
    """The same problem with the facts that its solution rests on told before the question."""
    return {**row, "prompt": told(row["facts"]) + prompt(row)} if row.get("facts") else row


def told(facts: Sequence[str]) -> str:
    """The line of facts before a question; a word stands first, so that every fact follows one."""
    return f"Note: {' '.join(facts)}\n" if facts else ""


def answer(row: Row) -> str:
    """What follows the prompt: the worked solution, or the true continuation of a pair."""
    if "positive" in row:
        return row["positive"] if row["label"] else row["negative"]
    return f" {row['solution']}"


def example(row: Row, solution: str | None = None) -> str:
    """A problem or a pair with its answer, as it is trained on and shown before others.

    A passage gives the teacher's paragraph as the solution, in place of the row's own answer.
    """
    return prompt(row) + (answer(row) if solution is None else f" {solution}")


def with_answer(solution: str, stated: str) -> str:
    """The worked solution, ending with the sentence "The answer is X."."""
    sentence = SENTENCE.format(stated) + ("" if stated.endswith(".") else ".")
    if solution.endswith(sentence):
        return solution
    return f"{solution}{chr(10) if chr(10) in solution else ' '}{sentence}".strip()


def parted(solution: str) -> tuple[str, str]:
    """The reasoning of a solution, and the answer of its last sentence ("" without one)."""
    ending = ENDING.search(solution)
    return (solution[: ending.start()], ending[1]) if ending else (solution, "")
