"""Which passages are not used, and why.

The paper states no filter on passages. Ours rejects what a reader would: a reply cut off, a
refusal, text copied from the prompt, a wrong final answer, a copy of another passage, and, before
all, a test question in the training text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from trait_lib import contamination
from trait_lib.contamination import Index
from trait_lib.grading import grade
from trait_lib.passages.language import check_code, other_language
from trait_lib.passages.parse import Passage, Rejected, parse, training_text
from trait_lib.passages.sampling import Group
from trait_lib.records import Row
from trait_lib.teacher.replies import without_thoughts

REASONS = {
    "call_failed": "the server gave no usable reply, however often it was asked",
    "truncated": "the reply reached the token limit (finish_reason is length)",
    "empty": "the reply holds no text; a teacher that thinks first needs a larger max_tokens",
    "filtered": "the server's content filter stopped the reply",
    "refusal": "the teacher refused or apologised",
    "missing_paragraph": "a problem has no paragraph of its own",
    "extra_paragraph": "there are more paragraphs than problems",
    "no_enlightenment": "there is no enlightenment paragraph, or more than one",
    "length": "a paragraph is shorter or longer than allowed",
    "copied_prompt": "words of the instructions, or their tags, stand in the passage",
    "language": "the passage, or a long part of it, is in another language",
    "no_answer": "a paragraph does not end with a final answer",
    "wrong_answer": "a final answer differs from the reference",
    "contaminated": "a test question stands in the passage",
    "duplicate": "the passage repeats one that was accepted",
}
REFUSAL = re.compile(
    r"\bI(?:'|’)?m (?:very |really )?sorry\b|\bI am (?:very )?sorry\b|\bI apologi[sz]e\b|"
    r"\bI(?: cannot| can(?:'|’)t| am unable to| won(?:'|’)t) (?:help|assist|provide|write|fulfil|"
    r"comply|do|answer)|\bas an AI\b",
    re.IGNORECASE,
)
TAG = re.compile(r"</?(?:problem|question|solution|paragraph|enlightenment)\b", re.IGNORECASE)
CUT_OFF = ("length", "max_tokens", "model_length")  # finish reasons, as servers word them
ENDED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
ANSWER = re.compile(r"\bthe (?:final )?answer is:?\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
COPY_WORDS = 8  # this many words in a row from the instructions are a copy
SHINGLE_WORDS = 5


def same_answer(paragraph: str, problem: Row) -> bool:
    """Whether a paragraph states the problem's answer, word for word or as the grader judges."""
    others = [str(other) for other in problem.get("alternatives") or ()]
    if stated_answer(paragraph) in (str(problem["answer"]), *others):
        return True
    return grade(problem["answer"], paragraph, problem.get("kind"), others).correct


def stated_answer(paragraph: str) -> str:
    """What the last "The answer is X." states, without the full stop; empty when there is none."""
    found = ANSWER.findall(paragraph)
    return found[-1].removesuffix(".").strip() if found else ""


@dataclass
class Rules:
    """What a passage must be; made once for a run, since it remembers the accepted ones."""

    k: int
    enlightenment: bool = True
    include_questions: bool = True
    min_words: int = 3
    max_words: int = 400
    instructions: str = ""
    test_index: Index = field(default_factory=Index)
    answer_kinds: Sequence[str] = ("number", "choice", "math")
    keep_wrong_answers: bool = False
    keep_thoughts: bool = False
    language: str = "en"
    most_overlap: float = 0.9
    wrong_answers: int = 0
    replies_with_thoughts: int = 0
    _texts: set[str] = field(default_factory=set)
    _shingles: dict[str, list[set[str]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, asked: Mapping[str, Any], instructions: str, test_index: Index) -> Rules:
        """The rules that the parameters of notebook 02 say."""
        named = {one.name for one in fields(cls)} & asked.keys()
        given = {name: asked[name] for name in named}
        return cls(**given, instructions=instructions, test_index=test_index)

    def __post_init__(self) -> None:
        """Index the instructions' runs of words.

        Raises:
            ValueError: `language` is no code of a language.
        """
        check_code(self.language)
        words = contamination.words(TAG.sub(" ", self.instructions))
        self._copied = contamination.grams(words, COPY_WORDS)

    def accept(self, reply: str, finish_reason: str, group: Group) -> Passage:
        """Return the parsed reply, and remember it.

        Raises:
            Rejected: with one of `REASONS`, the first that applies.
        """
        reason = finish_reason.lower()
        if reason in CUT_OFF:
            raise Rejected("truncated", f"...{reply[-60:]!r}")
        if reason == "content_filter":
            raise Rejected("filtered", f"{reply[:60]!r}")
        whole, reply = reply, reply if self.keep_thoughts else without_thoughts(reply)
        self.replies_with_thoughts += reply != whole
        if not reply.strip():
            raise Rejected("empty", f"finish reason {reason or 'not said'}: {whole[-60:]!r}")
        if refused := REFUSAL.search(reply):
            raise Rejected("refusal", f"{reply[refused.start() :][:80]!r}")
        passage = parse(reply, self.k, self.enlightenment, reason in ENDED)
        self._check_wording(passage)
        self._check_language(passage)
        self._check_answers(passage, group)
        text = training_text(group.problems, passage, self.include_questions)
        if ids := contamination.hits(text, self.test_index):
            raise Rejected("contaminated", f"holds the test problem {min(ids)}")
        self._check_new(passage, group)
        return passage

    def _check_wording(self, passage: Passage) -> None:
        for text in filter(None, (*passage.paragraphs, passage.enlightenment)):
            words = contamination.words(text)
            if not self.min_words <= len(words) <= self.max_words:
                bounds = f"{self.min_words} to {self.max_words}"
                raise Rejected("length", f"{len(words)} words, allowed {bounds}: {text[:60]!r}")
            if tag := TAG.search(text):
                raise Rejected("copied_prompt", f"the tag {tag[0]!r}")
            if copied := contamination.grams(words, COPY_WORDS) & self._copied:
                raise Rejected("copied_prompt", f"the words {min(copied)!r}")

    def _check_language(self, passage: Passage) -> None:
        parts = [*passage.paragraphs, *filter(None, [passage.enlightenment])]
        for text in (*parts, " ".join(parts)):
            if code := other_language(text, self.language):
                raise Rejected("language", f"in {code}, not {self.language}: {text[:60]!r}")

    def _check_answers(self, passage: Passage, group: Group) -> None:
        for paragraph, problem in zip(passage.paragraphs, group.problems, strict=True):
            stated = stated_answer(paragraph)
            if not stated:
                raise Rejected("no_answer", f"...{paragraph[-60:]!r}")
            if problem.get("kind", "number") not in self.answer_kinds:
                continue
            if not same_answer(paragraph, problem):
                self.wrong_answers += 1
                if not self.keep_wrong_answers:
                    what = f"{stated!r}, the reference has {problem['answer']!r}"
                    raise Rejected("wrong_answer", f"problem {problem['id']}: {what}")

    def _check_new(self, passage: Passage, group: Group) -> None:
        """Reject a copy: the same words as any accepted passage, or nearly those of a relative.

        Relatives are the passages that share a problem; only they can be alike by right, so only
        there a near copy must be looked for.
        """
        text = training_text(group.problems, passage, include_questions=False)
        words = contamination.words(text)
        exact = " ".join(words)
        if exact in self._texts:
            raise Rejected("duplicate", "the same words as an accepted passage")
        shingles = contamination.grams(words, SHINGLE_WORDS)
        for name in group.ids:
            for other in self._shingles[name]:
                overlap = len(shingles & other) / (len(shingles | other) or 1)
                if overlap > self.most_overlap:
                    raise Rejected("duplicate", f"{overlap:.0%} of the words of another passage")
        self._texts.add(exact)
        for name in group.ids:
            self._shingles[name].append(shingles)


def count_reasons(rejected: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """How many rows of `rejected.jsonl` have each reason, the most frequent first."""
    counts: dict[str, int] = defaultdict(int)
    for row in rejected:
        counts[row["reason"]] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
