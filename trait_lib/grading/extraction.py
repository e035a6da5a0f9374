"""The answer in the stretch where a model states it: a number, a letter, or all of it.

Paper: not stated (the nine math sets are those of a public harness); ours is the union of what
common harnesses extract, with the cases refused in which they extract an answer that the model
did not give.
"""

from __future__ import annotations

import itertools
import re
import unicodedata

from trait_lib.grading.formulas import readable
from trait_lib.grading.location import (
    LONGEST,
    NO_ANSWER,
    QUESTION,
    TRACEBACK,
    Found,
    after_phrase,
    locate,
)
from trait_lib.grading.notation import DELIMITERS, spelled, trimmed
from trait_lib.grading.parts import elements, is_label
from trait_lib.grading.words import leading_number, plain_words, spoken_number, without_units

AMOUNT = re.compile(
    r"(?<![A-Za-z0-9_.^])(?<![\^_]\{)"
    r"[-+]?\s?(?:[$€£]\s?)?[-+]?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d{1,3}\b|\s*\*\s*10\s*\^\s*\{?-?\d+\}?)?"
    r"(?:\s+\d+/\d+|\s*/\s*\d+(?:\.\d+)?(?![\d/]))?"
)
SPACED = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
FRACTION = re.compile(r"[-+]?\s?\d*\s*\\frac\s*\{?\s*-?\d+\s*\}?\s*\{?\s*-?\d+\s*\}?")


HTML_TAG = re.compile(
    r"</?(?:b|i|em|strong|p|div|span|br|h[1-6]|u|code|pre|td|tr|li|ul|ol|font|center|body|html)"
    r"(?:\s[^<>]{0,200})?/?>",
    re.IGNORECASE,
)


def affirmed(stretch: str) -> str:
    """`not 5 but 7` states 7; `not 5` states nothing."""
    if not re.match(r"\s*(?:not|never)\b", stretch):
        return stretch
    parts = re.split(r"\b(?:but|rather|instead|it is|it's)\b", stretch, maxsplit=1)
    return parts[1] if len(parts) == 2 else ""


def extract(text: str, kind: str | None = None) -> Found:
    """The answer that a model's output gives, or None with the reason.

    Args:
        text: the output, prompt not included.
        kind: number, math, text or choice.
    """
    found = locate(text, kind)
    if found.answer is None:
        return found
    stretch = found.answer
    if found.where != "answer is" and len(stretch) <= LONGEST:
        words = re.fullmatch(r"\s*\\text\s*\{([^{}]*)\}[\s.]*", stretch)
        if inner := after_phrase(words[1] if words else stretch, kind):
            stretch = inner.answer or ""
    if len(stretch) > LONGEST and found.where != "whole text":
        return Found(stretch, found.where)  # compared digit by digit at most
    if TRACEBACK.search(stretch):
        return Found(None, "traceback")
    if kind == "choice":
        negative = found.where == "box" and re.match(r"[\s$]*[-−]", stretch)
        letter = choice_letter(stretch[-LONGEST:], found.where == "whole text")
        letter = None if negative else letter
        return Found(letter, found.where if letter else "no letter")
    if found.where == "whole text":
        return _from_whole_text(stretch, kind)
    stretch = affirmed(stretch)
    if found.where != "box":
        stretch = _without_markup(stretch)
    if kind != "text" and NO_ANSWER.fullmatch(stretch):
        return Found(None, "no answer given")
    if kind != "text" and FOREIGN.search(spelled(stretch)):
        pieces = [piece for piece in FOREIGN.split(stretch) if re.search(r"\d|\\[a-z]", piece)]
        stretch = pieces[0].strip(" ,，：:、") if len(pieces) == 1 else stretch
    if not _balanced(stretch):
        return Found(None, "a formula that breaks off")
    stretch = LEADING_SIGN.sub("", stretch)
    if kind == "number":
        return _amount(stretch, found.where)
    return Found(stretch.strip(), found.where) if stretch.strip() else Found(None, "empty")


LEADING_SIGN = re.compile(r"^\s*[=:](?!=)\s*")


def _without_markup(stretch: str) -> str:
    """Without Markdown emphasis and HTML tags, and without a brace that closes what began before.

    `**` between two characters of a formula is a power.
    """
    stretch = HTML_TAG.sub("", re.sub(r"<sup>\s*([^<>]*)</sup>", r"^{\1}", stretch))
    stretch = re.sub(r"(?<![\w)])\*\*|\*\*(?![\w(-])|__|`", "", stretch).strip()
    stretch = re.sub(r"(?<![\w)*])\*([^*\n]+)\*(?![\w(*])", r"\1", stretch)
    stretch = re.sub(r"(?<=[\w.)}])\*$", "", stretch)
    if stretch.endswith(")") and not re.search(r"[(\[]", stretch):
        stretch = stretch[:-1]
    return stretch.rstrip("}\"' ") if "{" not in stretch else stretch


def _balanced(text: str) -> bool:
    """Do braces and math delimiters close?"""
    depth = 0
    for match in re.finditer(r"\\[\\{}]|[{}]", text):
        if match[0] in ("{", "}"):
            depth += 1 if match[0] == "{" else -1
            if depth < 0:
                return False
    marks = [match[0][-1] for match in DELIMITERS.finditer(text)]
    opened, closed = sum(mark in "([" for mark in marks), sum(mark in ")]" for mark in marks)
    ends_open = re.search(
        r"\\(?:frac|sqrt|d?frac\{[^{}]*\}|[tc]frac)\s*$|[\^_=+*/]\s*\$?\s*$", text
    )
    return depth == 0 and opened <= closed and not ends_open


FOREIGN = re.compile(
    r"[\u3040-\u9fff\uac00-\ud7af]+|[^\W\d_\x00-\x7f]{2,}"
)  # words in other scripts
SHORT = 300  # characters; a longer output is no answer by itself


def _from_whole_text(text: str, kind: str | None) -> Found:
    """No box, mark or phrase: the output is an answer by itself, or its last number counts."""
    bare = LEADING_SIGN.sub("", _without_markup(text)) if len(text) <= LONGEST else text
    if len(bare) <= SHORT and "\n" not in bare and _is_bare_answer(bare, kind):
        return Found(bare, "whole text")
    if kind == "text" or NO_ANSWER.fullmatch(bare):
        return Found(None, "nothing found")
    question = QUESTION.match(text.lstrip())  # a question that is restated answers nothing
    return last_amount(text.lstrip().partition("\n")[2] if question else text)


def _is_bare_answer(bare: str, kind: str | None) -> bool:
    """Is one short line an answer, without words around it?"""
    words = re.findall(r"[a-zA-Z]{3,}", re.sub(r"\\[a-zA-Z]+(?:\{[a-zA-Z\s]*\})?", " ", bare))
    words += FOREIGN.findall(spelled(bare))
    if kind == "text":
        return bool(bare) and len(words) <= 6
    if NO_ANSWER.fullmatch(bare) or not _balanced(bare):
        return False
    spoken = spoken_number(plain_words(bare)) is not None and ":" not in bare
    if spoken or (kind is None and bare.isalpha()):
        return True
    if kind != "number":
        return not words
    amounts = len(AMOUNT.findall(spelled(bare)))
    if amounts == 1 and re.match(r"[-+$€£\\(\s]*[\d.]", bare):
        return True  # one amount, with a unit perhaps
    return not words and bool(SPACED.fullmatch(bare) or re.search(r"[\\^*/+=]|\d\s*:\s*\d", bare))


def last_amount(text: str) -> Found:
    """The last number of a text."""
    clean = spelled(joined_digits(_without_markup(text[-LONGEST:])))
    matches = [*AMOUNT.finditer(clean), *FRACTION.finditer(clean)]
    if not matches:
        return Found(None, "nothing found")
    end = max(match.end() for match in matches)
    best = max((m for m in matches if m.end() == end), key=lambda m: len(m[0]))
    if moment := next((m for m in MOMENT.finditer(clean) if m.start() <= end - 1 < m.end()), None):
        return Found(moment[0], "last number")
    return Found(_tidy(best[0]), "last number")


MOMENT = re.compile(  # dates and times of day
    r"(?<![\w.-])(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[-/]\d{1,2}[-/]\d{4}|\d{1,2}:[0-5]\d(?::[0-5]\d)?)(?![\w:-])"
)


def _tidy(amount: str) -> str:
    """`$ -5` and `- 5` are -5; a dash of a list or a range is no minus."""
    return re.sub(r"[$€£\s](?=[\d.])|^[\s]+", "", amount) if "/" not in amount else amount.strip()


GROUPED_OTHERWISE = re.compile(r"(?<=\d)(?:['’_](?=\d{3}(?!\d))|,\s(?=000(?!\d)))")
INDIAN = re.compile(r"(?<![\d.,])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])")


def joined_digits(text: str) -> str:
    """`1'234`, `1_234` and `12,34,567` with the commas that `1,234` has, or none."""
    return INDIAN.sub(lambda m: m[0].replace(",", ""), GROUPED_OTHERWISE.sub(",", text))


def names(clean: str) -> bool:
    """Is the left side of an equation, or the right, a name or a sum: `x`, `f(2)`, `3 + 4`?"""
    sides = clean.split("=")
    return len(sides) > 2 or is_label(sides[0]) or is_label(sides[-1])


BOUND = re.compile(
    r"\s*(?:[<>]|(?:more|less|fewer|greater|larger|smaller)\s+than\b|over\b|under\b)"
)
INLINE = re.compile(r"(?<![\\\d])\$(?![\s\d.,]+[a-zA-Z\s])[^$]{1,2000}\$|\\\(.{1,2000}?\\\)")
WHOLE = re.compile(  # relations, sets and intervals, of which no number is the answer
    r"\w\s*(?:[<>]|<=|>=|!=)\s*[-\d\\(]|!=|\\(?:in|notin|equiv|cup|cap|pm|mp|infty|emptyset)(?![a-zA-Z])"
    r"|^[(\[][^()\[\]]*,[^()\[\]]*[)\]]$|\d\s*:\s*\d|\}\s*:\s*\d|^\\\{.*\\\}$"
)
DENIED = re.compile(r"^\W*(?:not|no|never)\b|n't\b|\bcannot\b", re.IGNORECASE)
COMMAND = re.compile(r"\\(?!l?dots|cdots|approx|therefore|quad)[a-z]")
NEGATIVE = re.compile(r"(?:minus|negative)\s+$", re.IGNORECASE)
JOINED = re.compile(
    r"\s*(?:,|;|&|-|[<>]=?|(?:or|and|to|nor|plus|minus|times)\b|\\text\s*\{\s*(?:or|and|to)\s*\})\s*"
    r"|\s+|[a-zA-Z$%\s(,]{0,30}?\b(?:or|and)\b\s*(?:maybe|perhaps|possibly)?\s*\W?\s*",
    re.IGNORECASE,
)
COMPOUND = re.compile(r"\s*(?!(?:of|in|for|per|at|from|on|with|by|every|out|to)\b)[a-zA-Z]+,?\s*")


def _amount(stretch: str, where: str) -> Found:
    """The number that a stretch states, for kind = number.

    All of it when it is an amount with units or a formula; else, in prose, the number with which
    it begins, or its last one. Numbers joined by `or`, `and` or a comma, and `2 hours 20 minutes`,
    are no one number: they are left as they stand, and so equal to none.
    """
    stretch = re.sub(r"^<\s*([^<>]*?)\s*>$", r"\1", joined_digits(stretch).strip())
    formulas = INLINE.findall(stretch)
    if len(formulas) == 1 and not re.search(r"\d", INLINE.sub("", stretch)):
        stretch = formulas[0]
    clean = spelled(stretch)
    if BOUND.match(clean) or WHOLE.search(clean) or (where == "box" and re.search(r"[<>]", clean)):
        return Found(clean, where)
    if sum("=" in part for part in elements(clean)) > 1:
        return Found(clean, where)  # several equations
    if solved := re.fullmatch(r"([-\d.,]+)\s*=\s*[a-zA-Z]", clean):
        clean = solved[1]
    named = where != "box" and not re.match(r"[^=]*\|[^=]*=", clean)
    if re.search(r"^[^=]*[a-zA-Z][^=]*=", clean) and not (named or names(clean)):
        return Found(clean, where)  # `-x = 5` and `2x = 5` do not say what x is
    if "=" in clean and not re.search(r"[<>]", clean):
        clean = trimmed(clean.split("=")[-1])
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", clean)
    numbers = list(AMOUNT.finditer(plain))
    formula = readable(without_units(clean))
    if not clean or (formula is not None and not formula.letters):
        return Found(clean or None, where if clean else "no number")
    if not numbers:
        return Found(leading_number(plain_words(clean)) or clean, where)
    for first, second in itertools.pairwise(numbers):
        between = plain[first.end() : second.start()]
        if JOINED.fullmatch(between) or COMPOUND.fullmatch(between):
            return Found(clean, where)
    if DENIED.search(plain[: numbers[-1].start()]) or COMMAND.search(plain):
        return Found(clean, where)
    if formula is not None and re.search(r"[+*/^|]|\d\s*-|-\s*[a-zA-Z]", clean):
        return Found(clean, where)  # a formula with letters
    begins = not re.search(r"[a-zA-Z]", plain[: numbers[0].start()])
    chosen = numbers[0] if begins else numbers[-1]
    words = leading_number(plain_words(plain[chosen.start() :])) if len(numbers) == 1 else None
    if words and " " in words:  # `2 and a half hours`, `3 million dollars`
        return Found(words, where)
    around = plain[: chosen.start()] + plain[chosen.end() :]
    if where == "box" and re.search(r"[-+*/^_()\[\]{}|\\=]", around):
        return Found(clean, where)  # a formula that cannot be read, and no sentence
    if NEGATIVE.search(plain[: chosen.start()]) and chosen[0][0].isdigit():
        return Found("-" + _tidy(chosen[0]), where)
    rest = plain[chosen.end() :]
    if re.match(r"\s?[a-zA-Z](?![a-zA-Z-])|[a-zA-Z_^(]|\s*[*/^+]|\s*:\s*\d|\s*\\[a-z]", rest):
        return Found(clean, where)  # `5x`, `5 m`, `5 + ...`: not a number by itself
    scale = re.match(r"\s*(hundred|thousand|million|billion)\b", rest)
    percent = "%" if rest.lstrip().startswith("%") else ""
    return Found(_tidy(chosen[0]) + (f" {scale[1]}" if scale else percent), where)


LETTER = r"[A-Ja-j]"
WRAPPED = re.compile(
    rf"[(\[{{<]\s*({LETTER})\s*[)\]}}>]|(?<![\w(])({LETTER})\)|\b(?:option|choice)\s+[(\[]?({LETTER})\b",
    re.IGNORECASE,
)


A_FOLLOWERS = "and or because is since as for was".split()
SEVERAL = ""  # more than one letter is chosen


def choice_letter(stretch: str, whole_text: bool = False) -> str | None:
    """The letter that a stretch chooses, in upper case; None when there is none or several.

    "A" before a word in lower case is the article.
    """
    stretch = stretch if stretch.isascii() else unicodedata.normalize("NFKC", stretch)
    plain = re.sub(
        r"\\(?:text|mathrm|mathbf|textbf|mbox|mathit|textit|operatorname|mathsf|bf|rm)"
        r"(?![a-zA-Z])\s*",
        "",
        affirmed(stretch),
    )
    if "<" in plain:
        closed = "</" in plain
        plain = HTML_TAG.sub(lambda m: " " if closed or m[0].islower() else m[0], plain)
    plain = re.sub(r"\\[(){}\[\],;!: ]|\\left|\\right|\\quad|~|[$*_`\"']", " ", plain).strip()
    letter = _letter_in_prose(plain) if whole_text else _first_letter(plain)
    return letter or None


ADVERBS = (
    "for sure|surely|certainly|it is|it's|it s|i think|i choose|probably|clearly|indeed|therefore"
    "|thus|hence|definitely|likely|most|obviously|simply|then|just"
)


def _first_letter(plain: str) -> str | None:
    """The letter with which a statement begins, else the only one that it marks as a choice."""
    head = re.match(
        rf"(?:(?:the|option|choice|answer|letter|is|correct|one|{ADVERBS})\b[\s:,]*|,\s*)*"
        rf"[\s(\[{{<]*({LETTER})(?P<closed>\s*[)\]}}>])?(?P<rest>.*)",
        plain,
        re.DOTALL | re.IGNORECASE,
    )
    if head and _stands_alone(head[1], head["closed"], head["rest"]):
        return SEVERAL if _another(head) else head[1].upper()
    last = re.search(r"[,:]\s+([A-J])\W*$", plain)
    return last[1] if last else _only(WRAPPED.findall(plain))


def _only(marks: list[tuple[str, ...]]) -> str | None:
    letters = {next(filter(None, groups)).upper() for groups in marks}
    if not letters:
        return None
    return letters.pop() if len(letters) == 1 else SEVERAL


def _stands_alone(letter: str, closed: str | None, rest: str) -> bool:
    """Is the letter a choice, and not an article, a word's beginning or a variable?"""
    if closed:
        return True
    if re.match(r"[\w'^=+/]", rest):
        return False
    rest = re.sub(r"^[\s})\]]+", " ", rest)
    if not rest.strip() or re.match(r"\s*[.:,;)\-–—|]", rest):
        return True
    if letter.islower():
        return False
    if re.match(r"\s*is\s+(?:an?|the)\s+(?!(?:right|correct|best|only|most|answer)\b)", rest):
        return False  # `A is a rectangle`
    follows = re.match(r"\s*(\S+)", rest)[1]
    if letter in "AI":
        return not re.match(r"[a-zA-Z]", follows) or follows.lower() in A_FOLLOWERS
    return True


def _another(head: re.Match[str]) -> bool:
    """Does a second letter follow: `A or B`, `A, B`, `(A) and (C)`, `A B`?"""
    joined = r"(?:or\b|and\b|,|/|&|;)" if head["closed"] else r"(?:or\b|and\b|,|/|&|;|\s)"
    other = re.match(
        rf"[\s)\]}}]*{joined}\s*(?:option\s+)?[(\[{{]?(?!I\s[a-z])([A-J])(?![a-zA-Z'])",
        head["rest"],
    )
    return bool(other) and other[1].upper() != head[1].upper()


MARK = re.compile(
    rf"[(\[{{<]\s*({LETTER})\s*[)\]}}>]|(?<![\w('])([A-J])(?=[).:](?:\s|$))"
    rf"|\b(?:option|choice)\s+({LETTER})\b|(?<![\w'])([B-HJ])(?=\s*[!;,]?$)"
    r"|(?<![\w'])([A-J])(?=\s+is\s+(?:the\s+)?(?:right|correct|true|answer|best)\b)"
    r"|(?:(?i:\b(?:therefore|thus|hence|so|choose|select|pick))|选择?|選擇?|=>|→|⇒)[,:]?\s+([A-J])(?=\s*[.!]?\s*$)",
    re.MULTILINE,
)


SIDE_BY_SIDE = re.compile(rf"\b({LETTER})[)\]]?\s*(?:,|/|&|\b(?:or|and|nor)\b)[\s(]*([A-J])\b")


NEGATED = re.compile(
    r"\b(?:not|never|neither|wrong|incorrect|false|except|eliminate|unlikely|cannot)\b|n[' ]t\b",
    re.IGNORECASE,
)


def _letter_in_prose(plain: str) -> str | None:
    """No phrase: the output begins with its letter, or its last sentence with a letter marks one.

    A list of all options, in order, chooses none.
    """
    clauses = re.split(r"(?<=[.,;])\s+|\n|\b(?:because|since|but|so|therefore)\b", plain)
    if NEGATED.search(plain) and any(not NEGATED.search(one) for one in clauses if one):
        plain = " ".join(one for one in clauses if one and not NEGATED.search(one))
    marked = [next(filter(None, groups)).upper() for groups in MARK.findall(plain)]
    listed = "".join(marked) in "ABCDEFGHIJ" and len(marked) > 2
    if listed:
        return SEVERAL
    if len(set(marked)) <= 1 and len(plain) <= 40 and "\n" not in plain:
        letter = _first_letter(plain)
        clause = re.split(r"[,;]|because|since", plain, maxsplit=1)[0]
        if letter is not None and not (SIDE_BY_SIDE.search(plain) or NEGATED.search(clause)):
            return letter
    for part in reversed(re.split(r"(?<=[a-z0-9)\]])[.!]\s+|\n", plain)):
        if NEGATED.search(part):
            continue
        if SIDE_BY_SIDE.search(part):
            return SEVERAL
        if marks := MARK.findall(part):
            return _only(marks)
        if lone := re.fullmatch(rf"\s*({LETTER})\s*", part):
            return lone[1].upper()
    return None
