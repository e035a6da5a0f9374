"""How the reference-solution teacher writes: from problems with known solutions to a passage.

The paper's teacher is GPT-4. This one solves nothing and knows no language: it copies the worked
solutions, compares them sentence by sentence, and says what is the same and what is not, so all
that it writes is true. Its prompt format is the one of the templates in `params/<domain>/prompts`.
Not stated in the paper; ours because the replica needs a teacher that is exact, free and offline.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trait_lib import form, records

PROBLEM = re.compile(r"<problem\b([^>]*)>\s*(.*?)\s*</problem>", re.DOTALL)
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
CALCULATION = re.compile(r"<<[^>]*>>")  # GSM8K's calculator notes
FACT_COUNT = 2  # a sentence that stands in so many solutions is knowledge, not a calculation

OPENERS = ("Let us see.", "Step by step.", "Think first.", "We know this.")
SHARED_FACT = ("{who} use the same fact:", "{who} need the same fact:", "The shared fact:")
OWN_STEP = ("{which} needs this:", "{which} uses this:", "{which} turns on this:")
ORDINALS = "first second third fourth fifth sixth seventh eighth".split()
OPERATIONS = {
    "+": "adding",
    "plus": "adding",
    "-": "subtracting",
    "minus": "subtracting",
    "*": "multiplying",
    "x": "multiplying",
    "times": "multiplying",
    "/": "dividing",
    "divided by": "dividing",
}
VERBS = {
    "adding": "adds",
    "subtracting": "subtracts",
    "multiplying": "multiplies",
    "dividing": "divides",
}
SIGN = r"([+\-*/x]|plus|minus|times|divided by)"
OPERATION = re.compile(rf"(?:[\d)%]\s*{SIGN}\s*|[^\W\d]\s+{SIGN}\s+)[($]*\d")
POINTS_BACK = re.compile(r"(?:That|This|These|Those|It|Its|He|She|They|So|Then|Thus)\b")
STOP_WORDS = frozenset(
    "a all an and answer are as at be but by can did do does each for from had has have he her his "
    "how if in into is it its many more much of on one or our she so than that the their them then "
    "there they this to total two was we were what when which who will with you your".split()
)


class UnknownProblem(ValueError):
    """A question whose solution or answer is neither shown nor in the problem files."""


@dataclass(frozen=True)
class Problem:
    """A problem as the teacher sees it; `solution` ends with "The answer is `answer`."."""

    question: str
    solution: str
    answer: str
    task: str = ""
    topic: str = ""

    @property
    def sentences(self) -> list[str]:
        """The solution's sentences in order, without the answer sentence."""
        return split_sentences(form.parted(self.solution)[0])

    @property
    def words(self) -> set[str]:
        """The words of question and solution that may name a subject."""
        found = re.findall(r"[^\W\d_]{3,}", f"{self.question} {self.solution}".lower())
        return set(found) - STOP_WORDS


@dataclass
class Library:
    """The problem files: solutions by question; in how many problems each sentence and word is."""

    by_question: dict[str, Problem] = field(default_factory=dict)
    sentence_count: Counter[str] = field(default_factory=Counter)
    word_count: Counter[str] = field(default_factory=Counter)


def load_library(files: Iterable[str | Path]) -> Library:
    """Read problem rows (`question`, `solution`, optionally `answer`, `task`, `topic`).

    Raises:
        ValueError: a row has no question or no solution; the message names file and row.
    """
    library = Library()
    for file in files:
        for number, row in enumerate(records.read_rows(file), start=1):
            missing = [name for name in ("question", "solution") if not row.get(name)]
            if missing:
                raise ValueError(f"{file}: row {number} has no {' and no '.join(missing)}")
            problem = _problem(row["question"], row["solution"], row)
            library.by_question[_key(problem.question)] = problem
            library.sentence_count.update(set(problem.sentences))
            library.word_count.update(problem.words)
    return library


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each with its end mark; a line end also ends a sentence."""
    parts = [part.strip() for part in SENTENCE_END.split(text) if part.strip()]
    return [part if part[-1] in ".!?" else f"{part}." for part in parts]


def _problem(question: str, solution: str, about: Mapping[str, object]) -> Problem:
    """Clean a solution of GSM8K's notes and add the answer sentence where it is missing."""
    text = CALCULATION.sub("", str(solution)).partition("\n####")[0].strip()
    answer = form.parted(text)[1]
    if not answer:
        answer = str(about.get("answer") or "").strip()
        text = form.with_answer(text, answer)
    task, topic = str(about.get("task") or ""), str(about.get("topic") or "")
    return Problem(str(question).strip(), text, answer, task, topic)


def _key(question: str) -> str:
    return " ".join(question.split()).lower()


def read_prompt(prompt: str, library: Library) -> list[Problem]:
    """The problems in a passage prompt, in order.

    Raises:
        UnknownProblem: a question has neither a shown solution nor one in the library.
    """
    return [
        _from_prompt(dict(ATTRIBUTE.findall(attributes)), body, library)
        for attributes, body in PROBLEM.findall(prompt)
    ]


def _from_prompt(about: dict[str, str], body: str, library: Library) -> Problem:
    question, shown = _tag(body, "question"), _tag(body, "solution")
    known = library.by_question.get(_key(question))
    if not question or not (shown or known):
        raise UnknownProblem(
            f"no reference solution for {question[:80]!r}: show the solutions in the prompt "
            "(show_solution) or start the teacher with the problem file"
        )
    if known:
        about = {"answer": known.answer, "task": known.task, "topic": known.topic} | about
    problem = _problem(question, shown or known.solution, about)
    if not problem.answer:
        raise UnknownProblem(f"the solution of {question[:80]!r} lacks 'The answer is ...'")
    return problem


def _tag(body: str, name: str) -> str:
    found = re.search(rf"<{name}>\s*(.*?)\s*</{name}>", body, re.DOTALL)
    return found[1] if found else ""


# --- the passage ------------------------------------------------------------------------------


def write_passage(
    problems: Sequence[Problem],
    library: Library,
    rng: random.Random,
    enlightenment: bool = True,
    opener_share: float = 0.25,
) -> str:
    """A passage in the answer format that the prompts ask for.

    Paragraph i holds problem i's solution word for word and ends with "The answer is X."; a share
    `opener_share` of the paragraphs begins with a short opening sentence.
    """
    parts = []
    for number, problem in enumerate(problems, start=1):
        opener = [rng.choice(OPENERS)] if rng.random() < opener_share else []
        text = " ".join([*opener, problem.solution])
        parts.append(f'<paragraph problem="{number}">\n{text}\n</paragraph>')
    if enlightenment:
        text = write_enlightenment(problems, library, rng)
        parts.append(f"<enlightenment>\n{text}\n</enlightenment>")
    return "\n".join(parts)


def write_enlightenment(problems: Sequence[Problem], library: Library, rng: random.Random) -> str:
    """What the problems share, then one sentence on each one's own step."""
    shared = shared_sentences(problems, library)
    first = _shared_facts(problems, shared[:2], rng) or _shared_subject(problems, library, rng)
    own = [_own_step(problems, i, shared, library, rng) for i in range(len(problems))]
    return " ".join([first, *filter(None, own)])


def shared_sentences(problems: Sequence[Problem], library: Library) -> list[str]:
    """The sentences that all solutions hold, most often used first; for one problem, its facts."""
    if len(problems) == 1:
        common = {s for s in problems[0].sentences if library.sentence_count[s] >= FACT_COUNT}
    else:
        common = set.intersection(*(set(p.sentences) for p in problems))
    common = {s for s in common if not POINTS_BACK.match(s)}  # such a sentence says nothing alone
    order = {s: i for i, s in enumerate(problems[0].sentences)}
    return sorted(common, key=lambda s: (-library.sentence_count[s], order[s]))


def _who(problems: Sequence[Problem]) -> str:
    return {1: "Problems like this one", 2: "Both problems"}.get(len(problems), "All problems")


def _shared_facts(problems: Sequence[Problem], facts: Sequence[str], rng: random.Random) -> str:
    """The facts that all solutions use, or nothing where there are none."""
    lead = rng.choice(SHARED_FACT).format(who=_who(problems))
    return " ".join([lead, *facts]) if facts else ""


def _shared_subject(problems: Sequence[Problem], library: Library, rng: random.Random) -> str:
    """One sentence on the subject and the operations that the problems have in common.

    A topic with a comma is a list of words from a clustering: not all of them need fit.
    """
    topics = {problem.topic for problem in problems} - {""}
    topic = topics.pop() if len(topics) == 1 else ","
    subject = " and ".join(shared_words(problems, library)) if "," in topic else topic
    common = set.intersection(*(set(operations(p.solution)) for p in problems))
    done = [name for name in operations(problems[0].solution) if name in common]
    by = f"{rng.choice(('need', 'are solved by'))} {_listed(done)}" if done else ""
    about = f"{rng.choice(('are about', 'deal with'))} {subject}" if subject else ""
    said = " and ".join(filter(None, [about, by])) or "are solved one step at a time"
    return f"{_who(problems)} {said}."


def shared_words(problems: Sequence[Problem], library: Library, most: int = 2) -> list[str]:
    """The words that all problems hold, the rarest in the problem files first."""
    common = set.intersection(*(problem.words for problem in problems))
    return sorted(common, key=lambda word: (library.word_count[word], -len(word), word))[:most]


def operations(solution: str) -> list[str]:
    """The names of the operations in a solution's calculations, in order, each once."""
    return list(dict.fromkeys(OPERATIONS[a or b] for a, b in OPERATION.findall(solution)))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _own_step(
    problems: Sequence[Problem],
    index: int,
    shared: Sequence[str],
    library: Library,
    rng: random.Random,
) -> str:
    """What only this problem needs: its operation, and its own facts or else its last own step."""
    others = [p for i, p in enumerate(problems) if i != index]
    known = {s for other in others for s in other.sentences} | set(shared)
    own = [s for s in problems[index].sentences if s not in known]
    if not own:
        return ""
    done_by_others = {name for other in others for name in operations(other.solution)}
    only_here = [n for n in operations(problems[index].solution) if n not in done_by_others]
    facts = [s for s in own if library.sentence_count[s] >= FACT_COUNT][:2]
    steps = [s for s in own if set(operations(s)) & set(only_here)] or own
    which = _which(problems, index)
    by_verb = f"{which} {_listed([VERBS[n] for n in only_here])}:" if only_here else ""
    lead = by_verb or rng.choice(OWN_STEP).format(which=which)
    return " ".join([lead, *(facts or steps[-1:])])


def _which(problems: Sequence[Problem], index: int) -> str:
    """A problem's name: by its task where no other has it, else by its place."""
    tasks = [problem.task for problem in problems]
    if len(problems) == 1:
        return "This one"
    if tasks[index] and tasks.count(tasks[index]) == 1:
        return f"The {tasks[index].replace('_', ' ')} problem"
    return f"The {ORDINALS[index]} problem" if index < len(ORDINALS) else f"Problem {index + 1}"
