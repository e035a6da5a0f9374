r"""Where the answer stands in a model's output.

In this order: the last balanced `\boxed{}`, Minerva's `final answer is $...$. I hope`, what
follows the last `####`, what follows the last "answer is" or "Answer:", the last number. The text
is cut first where the model goes on to another problem. Paper: not stated (the nine math sets are
those of a public harness); ours is the union of what common harnesses extract, with the cases
refused in which they extract an answer that the model did not give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trait_lib.grading.notation import single_backslashes

THOUGHTS = r"(?:think|thinking|thoughts?|reasoning)"
CLOSED_THOUGHTS = re.compile(rf"^.*</{THOUGHTS}>", re.DOTALL | re.IGNORECASE)
OPEN_THOUGHTS = re.compile(rf"<{THOUGHTS}>.*$", re.DOTALL | re.IGNORECASE)
END = re.compile(r"</s>|<\|(?:endoftext|im_end|eot_id|end_of_text|end|eos)\|>|<eos>|<end_of_turn>")
TURN = re.compile(  # the next turn of a dialogue
    r"^[ \t]*(?:[#*_>]+[ \t]*)?(?:Human|User)[ \t]*[*_]*:"
    r"|^[ \t]*\#{2,4}[ \t]*(?:Instruction|Input|Human|User)\b|\[INST\]"
    r"|<\|(?:user|im_start)\|>|<\|start_header_id\|>|<start_of_turn>",
    re.MULTILINE,
)
SPEAKER = re.compile(
    r"\s*(?:(?:<\|im_start\|>|<start_of_turn>)\s*(?:assistant|model)\b|<\|assistant\|>"
    r"|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>|\[/INST\]|Assistant[ \t]*:"
    r"|\#{2,4}[ \t]*(?:Response|Assistant)[ \t]*:)",
    re.IGNORECASE,
)
QUESTION = re.compile(
    r"^[ \t]*(?:[#*_>]+[ \t]*)?(?:Q|(?i:question|problem))[ \t]*[*_]*:", re.MULTILINE
)
STEP = re.compile(r"\b(?:step|part|problem|question|exercise)\s+\d+", re.IGNORECASE)
TRACEBACK = re.compile(
    r"Traceback \(most recent call last\)|^[ \t]*\w{0,60}(?:Error|Exception)\b\s*(?::|$)",
    re.MULTILINE,
)
LONG_SPACE = re.compile(r"\s{30,}")
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
MINERVA_LENGTH = 2000  # characters between `final answer is` and `I hope`
SHORT_ANSWER = 8  # words
LONGEST = 20_000  # characters of a stretch that is looked into
PHRASE = re.compile(
    r"(?<![a-z])answers?[*_`\"']{0,3}"
    r"(?:[ \t]+(?:to|of|for|in|as)\b[^.:\n]{0,60}?(?=[ \t](?:is|are)\b))?[ \t]*"
    r"(?:(?:is|are|would be|should be|must be)\b(?!n't)|:|=|[–—][ \t])"
    r"|<answer>|答案?(?:是|为|為|[:：])|Ответ[ \t]*:|답은|उत्तर[ \t]*:",
    re.IGNORECASE,
)
CHOICE_PHRASE = re.compile(
    r"(?<![a-z])(?:answers?|option|choice)[*_`\"']{0,3}[ \t]*(?:(?:is|are)\b(?!n't)|:|=)|<answer>",
    re.IGNORECASE,
)
NO_ANSWER = re.compile(
    r"[\s$.]*(?:none|nan|null|n/?a|error|timeout|timed out|\?+|\.+|_+|-+)?"
    r"[\s$.]*",
    re.IGNORECASE,
)
JUDGING = re.compile(
    r"\W*(?:also |indeed |probably |definitely )?(?:in)?(?:correct|right|wrong|valid|helpful"
    r"|reasonable|verified|confirmed|checked|found|obtained|given|based)\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bRs)(?<!\bapprox)(?<!\b[ap]\.m)(?<![ap]\.m)[.!?]{1,3}(?=[\s\"'*)\]]|$)"
    r"(?!\s*[ap]\.?m)|[。！？；।]|\n|</answer>"
)
BECAUSE = re.compile(
    r",?\s+(?:because|since|as|so|which|where|when|given that|due to|thus|therefore|hence)\b"
    r"|\s+I hope\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Found:
    """An extracted answer: its text, or None with the reason why there is none."""

    answer: str | None
    where: str


def cut(text: str, kind: str | None = None) -> str:
    """The text without thoughts, up to the first sign that the model went on past its answer.

    A restated question cuts only after something was answered. Long runs of white space are
    shortened, which many patterns would read over and over.
    """
    text = LONG_SPACE.sub(lambda m: "\n\n" if "\n" in m[0] else " ", text)
    text = OPEN_THOUGHTS.sub("", CLOSED_THOUGHTS.sub("", text))
    while speaker := SPEAKER.match(text):
        text = text[speaker.end() :]
    end = END.search(text)
    text = text[: end.start()] if end else text
    turns = (turn.start() for turn in TURN.finditer(text) if text[: turn.start()].strip())
    text = text[: next(turns, len(text))]
    begun = 0
    for match in QUESTION.finditer(text):
        if _answered(text[begun : match.start()], kind):
            return text[: match.start()]
        begun = match.end()
    return text


def _answered(text: str, kind: str | None) -> bool:
    """Does the text before a question hold an answer?"""
    if not text.strip():
        return False
    if BOX.search(text) or "####" in text or PHRASE.search(text):
        return True
    if kind in ("choice", "text"):
        return len(text.split()) <= SHORT_ANSWER
    return bool(re.search(r"\d", STEP.sub("", text)))


def locate(text: str, kind: str | None = None, whole: bool = False) -> Found:
    """The stretch of text that holds the answer, not yet reduced to a number or a letter.

    After "answer is" it is one sentence, or with `whole` all that follows.
    """
    text = cut(single_backslashes(text), kind)
    if not text.strip():
        return Found(None, "nothing found")
    box = last_box(text)
    if box is not None:
        return Found(box, "box") if box.strip() else Found(None, "empty box")
    if (stated := minerva(text)) is not None:
        return Found(stated, "final answer is")
    if TRACEBACK.search(text):
        return Found(None, "traceback")
    if BOX.search(text):
        return Found(None, "a box that does not close")
    if bare_box := re.findall(r"\\boxed\s+([^\s{}$]+)", text):
        return Found(bare_box[-1], "box")
    marked = _after_marks(text)
    if marked is not None:
        return marked
    return after_phrase(text, kind, whole) or Found(text, "whole text")


def last_box(text: str) -> str | None:
    r"""The contents of the last balanced `\boxed{}` or `\fbox{}`, or None."""
    return next(reversed(_boxes(text)), None)


def all_boxes(text: str) -> str | None:
    """The contents of the boxes of an output, each once, as a list; None of fewer than two."""
    found = dict.fromkeys(_boxes(cut(single_backslashes(text))))
    return ", ".join(found) if len(found) > 1 else None


def _boxes(text: str) -> list[str]:
    """The contents of the balanced boxes, in order. One pass."""
    starts = {match.end() - 1 for match in BOX.finditer(text)}
    stack: list[int] = []
    closed: dict[int, int] = {}
    for match in re.finditer(r"\\[\\{}]|[{}]", text) if starts else ():
        if match[0] == "{":
            stack.append(match.start())
        elif match[0] == "}" and stack:
            opening = stack.pop()
            if opening in starts:
                closed[opening] = match.start()
    return [text[start + 1 : closed[start]] for start in sorted(closed)]


def minerva(text: str) -> str | None:
    """What stands between the last `final answer is` and its `I hope`, or None."""
    lower = text.lower()
    hope = lower.rfind("i hope")
    for _ in range(20):
        start = lower.rfind("final answer is", max(0, hope - MINERVA_LENGTH), max(0, hope))
        if start >= 0:
            stated = text[start + len("final answer is") : hope].strip().lstrip(":").strip()
            return stated.removesuffix(".")
        hope = lower.rfind("i hope", 0, max(0, hope))
        if hope < 0:
            return None
    return None


def _after_marks(text: str) -> Found | None:
    """What follows the last `####`; a Markdown heading is no mark."""
    position = text.rfind("####")
    if position < 0:
        return None
    rest = text[position + 4 :].lstrip("#")
    line = next((line for line in rest.split("\n") if line.strip()), "")
    if PHRASE.search(line) or re.match(
        r"\s*\**(?:step|solution|final|answer|conclusion|explanation|part|case|check)\b", line, re.I
    ):
        return None
    return Found(line, "####") if line.strip() else Found(None, "nothing after ####")


def after_phrase(text: str, kind: str | None, whole: bool = False) -> Found | None:
    """What follows the last "answer is" or "Answer:", to the end of its sentence."""
    pattern = CHOICE_PHRASE if kind == "choice" else PHRASE
    matches = list(pattern.finditer(text))
    for match in reversed(matches):
        rest = text[match.end() :]
        if JUDGING.match(rest) and len(matches) > 1:
            continue  # "I think this answer is correct" gives none
        rest = re.sub(r"^(?:[\s*_`:=\"']|(?<=\n)>)+", "", rest)
        if not rest.strip():
            return Found(None, "a phrase that breaks off")
        return Found(rest if whole else sentence(rest, match[0][-1] in ":="), "answer is")
    return None


def sentence(rest: str, after_colon: bool = False) -> str:
    """The part of `rest` that states the answer: a displayed formula, or the first sentence.

    After a colon a model may reason first: then it is all of the text, and the last number counts.
    """
    if display := re.match(r"\\\[(.*?)\\\]|\$\$(.*?)\$\$", rest, re.DOTALL):
        return display[1] or display[2] or ""
    inline = re.match(r"\$[^$]{1,2000}\$|\\\(.{1,2000}?\\\)", rest, re.DOTALL)
    end = SENTENCE_END.search(rest, inline.end() if inline else 0)
    first = rest[: end.start()] if end else rest
    reasons = re.match(r"\s*[A-Za-z]+(?:'\w+)?\s+[a-z]+\s", first)
    if after_colon and reasons and end and rest[end.end() :].strip():
        return rest
    return BECAUSE.split(first.strip(), maxsplit=1)[0] if first.strip() else first
