"""Which language a text is in, by py3langid; formulas and numbers are set aside first.

Not stated in the paper; ours because a model that is asked in one language sometimes answers, or
thinks, in another.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# $...$, \(...\), \[...\] and LaTeX commands; then everything that is no letter
FORMULA = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]|\\[A-Za-z]+", re.DOTALL)
NO_LETTERS = re.compile(r"[\W\d_]+")
FEWEST_BYTES = 100  # of letters in UTF-8; less text than this has no language to speak of
SURE = 0.95  # probability; formulas leave fragments that look a little like anything


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check_code(code: str) -> None:
    """Raise `ValueError` when no language has this code; an empty one asks for no check."""
    if code and code not in _identifier().labels:
        raise ValueError(
            f"language {code!r} is not known: use a two-letter code such as 'en', or '' for none"
        )


def other_language(text: str, wanted: str) -> str:
    """The code of the language that a text surely is in, when it is not `wanted`; else empty."""
    letters = NO_LETTERS.sub(" ", FORMULA.sub(" ", text)).strip()
    if not wanted or len(letters.encode("utf-8")) < FEWEST_BYTES:
        return ""
    code, probability = _identifier().classify(letters)
    return code if code != wanted and probability >= SURE else ""
