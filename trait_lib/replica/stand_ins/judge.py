"""The rule-based judge: a stand-in for a judging LLM behind a real HTTP server.

It answers comparison prompts (a question, two answers in `<answer name="A">` tags) as an
OpenAI-compatible server does: the answer that shares more words with the reference answer of the
question is better, and equal shares are a tie. Two faults can be switched on, to test what finds
them: a share of its verdicts goes to the first answer whatever it says, and a share to the longer
one; a hash of the request decides which.

    with judge.serve(["problems_test.jsonl"], position_bias=0.3) as base_url: ...

Not in the paper (its judge was not found); ours so that win rates run without a network or a key.
What it prefers says nothing about what a model would prefer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trait_lib import records
from trait_lib.replica.stand_ins import server
from trait_lib.replica.stand_ins.batches import BadRequest

MODEL_PREFIX = "rule-based-judge"
VERSION = 1  # decides the model's name; a change of any verdict needs another number
WORD = re.compile(r"[a-z0-9]+")
QUESTION = re.compile(r"<question>\n(.*?)\n</question>", re.DOTALL)
ANSWER = re.compile(r'<answer name="([AB])">\n(.*?)\n</answer>', re.DOTALL)


@dataclass(frozen=True)
class Judge:
    """What decides a verdict: reference answers by question, and the two faults (0 to 1)."""

    references: Mapping[str, str]
    position_bias: float = 0.0
    length_bias: float = 0.0

    @property
    def model(self) -> str:
        """The model's name, which changes with all that decides its verdicts."""
        state = [VERSION, sorted(self.references.items()), self.position_bias, self.length_bias]
        return f"{MODEL_PREFIX}-{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:8]}"


def read_references(problem_files: Sequence[str | Path]) -> dict[str, str]:
    """The reference answer of each question in problem files (rows with question and answer)."""
    rows = (row for path in problem_files for row in records.read_rows(path))
    return {row["question"].strip(): str(row["answer"]) for row in rows}


def likeness(answer: str, reference: str) -> float:
    """F1 over words, between 0 and 1."""
    words, wanted = (Counter(WORD.findall(text.lower())) for text in (answer, reference))
    common = sum((words & wanted).values())
    return 2 * common / (sum(words.values()) + sum(wanted.values())) if common else 0.0


def reply(judge: Judge, prompt: str) -> str:
    """The text of a verdict.

    Raises:
        BadRequest: no question or not two answers, or a question without a reference answer.
    """
    question, answers = QUESTION.search(prompt), dict(ANSWER.findall(prompt))
    if question is None or set(answers) != {"A", "B"}:
        raise BadRequest("the prompt needs a <question> and two <answer>s, named A and B")
    reference = judge.references.get(question[1].strip())
    if reference is None:
        raise BadRequest("the question is in no problem file of this judge")
    chance = random.Random(hashlib.sha256(prompt.encode()).hexdigest())
    if chance.random() < judge.position_bias:
        return "The answer that stands first makes the better impression.\nBetter: A"
    if chance.random() < judge.length_bias and len(answers["A"]) != len(answers["B"]):
        longer = max(answers, key=lambda name: len(answers[name]))
        return f"Answer {longer} says more.\nBetter: {longer}"
    scores = {name: likeness(text, reference) for name, text in answers.items()}
    if scores["A"] == scores["B"]:
        return "Both share as many words with what is right.\nBetter: tie"
    better = max(scores, key=lambda name: scores[name])
    return f"Answer {better} shares more words with what is right.\nBetter: {better}"


def complete(judge: Judge, request: dict[str, Any]) -> dict[str, Any]:
    """The chat completion for a request body; raises `BadRequest` as `reply` does."""
    prompt = server.contents(request, MODEL_PREFIX)
    text = reply(judge, prompt)
    used = (len(prompt.split()), len(text.split()))
    return server.completion(request, judge.model, text, used)


@contextlib.contextmanager
def serve(
    problem_files: Sequence[str | Path],
    position_bias: float = 0.0,
    length_bias: float = 0.0,
) -> Iterator[tuple[str, str]]:
    """Run the judge in a thread of this process; yields its base URL and its model's name."""
    judge = Judge(read_references(problem_files), position_bias, length_bias)
    with server.running(server.Server(partial(complete, judge), judge.model)) as url:
        yield url, judge.model
