"""What the problems of all domains share: their row, their split, and problems told open book."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from trait_lib import form
from trait_lib.records import Row

Asked = tuple[str, str, str]  # question, reasoning, answer


def split_of(task: str, question: str, documents_only: bool) -> str:
    """train, dev or test of a question; a hash decides. Documents-only ones never train."""
    digest = hashlib.sha256(f"{task}|{question}".encode()).digest()[0]
    if documents_only:
        return "dev" if digest < 64 else "test"
    return "train" if digest < 154 else "dev" if digest < 180 else "test"


def problem(
    task: str,
    topic: str,
    asked: Asked,
    kind: str,
    entities: Sequence[str],
    documents_only: bool,
    held_out_task: bool,
) -> Row:
    """The row of a problem; a held-out task has no training problems."""
    question, reasoning, answer = asked
    split = split_of(task, question, documents_only)
    return {
        "task": task,
        "topic": topic,
        "question": question,
        "solution": form.with_answer(reasoning, answer),
        "answer": answer,
        "kind": kind,
        "split": "unused" if held_out_task and split == "train" else split,
        "entities": list(entities),
        "documents_only": documents_only,
        "held_out_task": held_out_task,
        "facts": facts_in(reasoning),
    }


def facts_in(reasoning: str) -> list[str]:
    """The sentences of a reasoning that state something; the others calculate."""
    return [sentence for sentence in re.split(r"(?<=\.) ", reasoning) if not sentence[0].isdigit()]


def told(facts: Sequence[str], question: str, reasoning: str, answer: str) -> str:
    """A question with its answer in the form of the tasks, after the facts that it needs."""
    text = form.example({"question": question, "solution": form.with_answer(reasoning, answer)})
    return form.told(facts) + text


def shuffled(rng: random.Random, *sentences: str) -> list[str]:
    """The sentences in random order."""
    return rng.sample(sentences, len(sentences))
