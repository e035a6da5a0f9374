"""One document becomes one line of fastText, here and nowhere else.

fastText reads a line a document, splits it at ASCII blanks only, takes any word that begins with
`__label__` for a label, stops at the word `</s>`, and refuses text that is not valid Unicode.
Paper: not stated; ours because a classifier that is trained and applied with two slightly
different readings of the text is wrong without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from trait_lib.records import valid_text

IN_DOMAIN = "__label__in"
GENERAL = "__label__out"
FORMS = ("words", "raw", "plain")

# control characters (Unicode Cc) separate words like blanks do
PIECE = re.compile(r"\w+|[^\w\s\x00-\x1f\x7f-\x9f]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def to_line(text: str, form: str = "words") -> str:
    """The document as one line: no line breaks, no control characters, no label, no end mark.

    Args:
        text: any string.
        form: "words" writes in lower case with a blank around every punctuation mark;
            "raw" keeps case and punctuation as they are; "plain" changes line breaks only, for a
            model that was trained elsewhere: labels and end marks then act as in fastText.

    Raises:
        ValueError: `form` is none of them.
    """
    if form == "words":
        line = " ".join(PIECE.findall(valid_text(text).lower()))
        return line.replace("__label__", "_label_")
    if form == "raw":
        line = " ".join(CONTROL.sub(" ", valid_text(text)).split())
        return line.replace("__label__", "_label_").replace("</s>", "< /s>")
    if form == "plain":
        return valid_text(text).replace("\n", " ")
    raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")


def labelled(label: str, texts: Iterable[str], form: str) -> Iterable[str]:
    """Training lines: the label, a blank, the document, a line break."""
    return (f"{label} {to_line(text, form)}\n" for text in texts)
