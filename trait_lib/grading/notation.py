"""One spelling for what LaTeX and Unicode spell in many ways, before two answers are compared.

Not stated in the paper; ours because graders go wrong on spelling before they go wrong on
mathematics. Nothing here computes: `spelled` rewrites a string, the others look at its brackets.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

DEGREE = "°"
FUNCTIONS = (
    "arcsinh arccosh arctanh arcsin arccos arctan asin acos atan sinh cosh tanh sin cos tan cot "
    "sec csc ln log exp"
).split()
NAMES = (*FUNCTIONS, "sqrt", "cbrt", "pi")  # what letters without a backslash may spell
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
UNICODE = {
    **dict.fromkeys("−﹣－–‒‐‑", "-"),
    "×": "*",
    "·": "*",
    "⋅": "*",
    "∙": "*",
    "•": "*",
    "÷": "/",
    "∕": "/",
    "⁄": "/",
    "≤": "<=",
    "⩽": "<=",
    "≥": ">=",
    "⩾": ">=",
    "≠": "!=",
    "≈": r"\approx ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "∞": r"\infty ",
    "π": r"\pi ",
    "Π": r"\Pi ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "γ": r"\gamma ",
    "φ": r"\phi ",
    "λ": r"\lambda ",
    "μ": r"\mu ",
    "ω": r"\omega ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}",
    "∠": r"\angle ",
    "∶": ":",
    "º": DEGREE,
    "˚": DEGREE,
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}",
    "⅙": r"\frac{1}{6}",
    "⅛": r"\frac{1}{8}",
    "…": r"\ldots ",
    "“": '"',
    "”": '"',
    "’": "'",
    "‘": "'",
}
UNICODE_TABLE = str.maketrans(UNICODE)
SCRIPT_RUN = re.compile(f"([{''.join(SUPERSCRIPTS)}]+)|([{''.join(SUBSCRIPTS)}]+)")
THIN_SPACE = re.compile(r"(?<=\d)[\u2009\u202f\u00a0](?=\d{3}(?!\d))")
ROOT_SIGN = re.compile(r"([√∛])\s*(?=[({\d\\a-zA-Z])")
CURRENCY = re.compile(
    r"\b(?:US|CA|AU|NZ|HK|[CAS])\\?[$](?=\s?[\d.])|\\?[$]|[€£¥₹₽₩¢]|\\(?:pounds|euro)\b"
)
TEXT_COMMANDS = (
    "text|textrm|textbf|textit|textsf|texttt|textup|textnormal|mathrm|mathbf|mathit|mathsf|mathtt"
    "|mbox|hbox|operatorname\\*?|boldsymbol|bm|emph|underline|mathcal|fbox|boxed"
)
# order matters: what a later line relies on stands above it
LATEX: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\\(?:left|right)\s*\.", ""),
        (r"\\m?(?:left|right|middle|[bB]igg?[lrm]?)\s*(?![a-zA-Z])", ""),
        (r"\\(?:lbrace)(?![a-zA-Z])", r"\\{"),
        (r"\\(?:rbrace)(?![a-zA-Z])", r"\\}"),
        (r"\\(?:[lr]?vert|mid)(?![a-zA-Z])", "|"),
        (r"\\\|", "|"),
        (r"\\(?:lbrack)(?![a-zA-Z])", "["),
        (r"\\(?:rbrack)(?![a-zA-Z])", "]"),
        (r"\\[dtcs]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
        (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
        (r"\\(?:hspace|vspace|phantom|hphantom|label|tag)\*?\s*\{[^{}]*\}", " "),
        (
            r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|mathstrut|strut|hfill|rm|bf"
            r"|it|large|Large|small|normalsize|noindent|centering)(?![a-zA-Z])",
            " ",
        ),
        (r"(?<=\d)\s*(?:\{\s*,\s*\}|,?(?<!\\)\\[,!;]|\\thinspace)\s*(?=\d{3}(?!\d))", ","),
        (r"(?<!\\)\\!", ""),
        (
            r"(?<!\\)\\[,;:> ]|~"
            r"|\\(?:quad|qquad|thinspace|enspace|thickspace|medspace)(?![a-zA-Z])",
            " ",
        ),
        (r"\\\\\s*\[[^\]]*\]", r"\\\\"),
        (r"\\%", "%"),
        (r"(?<=\d)\.\.\.+", r"\\ldots "),
        (r"(?<=\d)\.(\d*)\\dot\s*\{?(\d)\}?$", r".\1\\overline{\2}"),
        (r"(?<=\d)\.\((\d+)\)", r".\\overline{\1}"),
        (r"\(?\s*\\(?:pmod|bmod|mod)(?![a-zA-Z])\s*\{?\s*(\w+)\s*\}?\s*\)?", r"\\pmod{\1}"),
        (r"\\colon(?![a-zA-Z])|\{\s*:\s*\}", ":"),
        (r"\\_", "_"),
        (r"\\#", ""),
        (
            r"\s*\^\s*(?:\\circ(?![a-zA-Z])|\{\s*\\circ\s*\}|\{\s*\\text\s*\{\s*o\s*\}\s*\})",
            DEGREE,
        ),
        (r"\s*\\(?:degrees?|textdegree)(?![a-zA-Z])", DEGREE),
        (rf"\\(?:{TEXT_COMMANDS})(?![a-zA-Z])\s*", r"\\text"),
        (  # \frac{\text{m}}{\text{s}} is \text{m/s}
            r"\\frac\s*\{\s*\\text\s*\{([^{}]*)\}\s*\}"
            r"\s*\{\s*\\text\s*\{([^{}]*)\}(?:\s*\^\s*\{?\d\}?)?\s*\}",
            r"\\text{\1/\2}",
        ),
        (r"\\\{\s*\\\}", r"\\emptyset "),
        (r"(?<![\w}.])\\text\s*\{\s*([-+]?\d[\d.,]*)\s*\}", r"\1"),
        (r"\\(?:cdot|times|ast|cdotp|bullet)(?![a-zA-Z])", "*"),
        (r"\\div(?![a-zA-Z])", "/"),
        (r"\\lg(?![a-zA-Z])", r"\\log"),
        (r"(?<![\\a-zA-Z])[Cc]\(\s*(\d+)\s*,\s*(\d+)\s*\)", r"\\binom{\1}{\2}"),
        (
            r"(?:\{\s*\}|(?<![\w}]))\s*[_^]\s*\{?\s*(\d+)\s*\}?\s*(?:C|\\text\s*\{\s*C\s*\})\s*"
            r"_\s*\{?\s*(\d+)\s*\}?",
            r"\\binom{\1}{\2}",
        ),
        (r"\\(?:leqslant|leq|le)(?![a-zA-Z])", "<="),
        (r"\\(?:geqslant|geq|ge)(?![a-zA-Z])", ">="),
        (r"\\(?:neq|ne)(?![a-zA-Z])", "!="),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\(?:thickapprox|approx|simeq|doteq)(?![a-zA-Z])", r"\\approx "),
        (r"\\(?:bigcup)(?![a-zA-Z])", r"\\cup "),
        (r"\\(?:varnothing)(?![a-zA-Z])", r"\\emptyset "),
        (r"\\(?:varphi)(?![a-zA-Z])", r"\\phi "),
        (r"\\(?:vartheta)(?![a-zA-Z])", r"\\theta "),
        (r"\\(?:Bbb|mathbb|mathds)\s*\{?\s*R\s*\}?|\\R(?![a-zA-Z])", r"\\mathbb{R}"),
        (r"\*\*", "^"),
        (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)|(?<=\d)\s[xX]\s(?=\d)", "*"),
        (r"(?<![\w.])(\d+)\s?C\s?(\d+)(?![\w.)}])", r"\\binom{\1}{\2}"),
        (r"(?<![\\a-zA-Z])(?:infinity|inf|oo)(?![a-zA-Z])", r"\\infty "),
        (r"\\text\s*\{\s*\\infty\s*\}", r"\\infty "),
    ]
]
OTHER_DIGIT = re.compile(r"(?![0-9])\d")
DELIMITERS = re.compile(r"(?<!\\)(?:\\\\)*\\[()\[\]]")  # \( \) \[ \], but not the line break \\[
EMPTY_TEXT = re.compile(r"\\text\s*\{\s*\}")
CHOOSE = re.compile(r"\{\s*([^{}\\]+?)\s*\\choose\s*([^{}\\]+?)\s*\}")
OVER = re.compile(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}|^([^{}]*)\\over(?![a-zA-Z])([^{}]*)$")


ENVIRONMENT = re.compile(r"\\begin\s*\{")
DOUBLED = re.compile(r"(?<!\\)\\\\(?=[a-zA-Z()\[\]%$,!;|])")


def single_backslashes(text: str) -> str:
    r"""One backslash where JSON has left two, but in the line breaks of matrices."""
    if "\\\\" not in text:
        return text
    if re.search(r"\\\\begin\s*\{", text):  # all are doubled
        return text.replace("\\\\", "\\")
    if "\\\\{" in text:
        text = text.replace("\\\\{", "\\{").replace("\\\\}", "\\}")
    return text if ENVIRONMENT.search(text) else DOUBLED.sub(r"\\", text)


def spelled(text: str) -> str:
    r"""Return `text` in one spelling: no `$`, no sizes, no thin spaces, one name per symbol.

    `\dfrac`, `\left(`, `\text`-like commands, Unicode signs and currency marks all change to one
    form. The meaning does not change.
    """
    if not text.isascii():
        text = THIN_SPACE.sub(",", text)
        text = SCRIPT_RUN.sub(_script, text)
        text = OTHER_DIGIT.sub(lambda m: str(unicodedata.digit(m[0])), text)
        text = ROOT_SIGN.sub(lambda m: r"\sqrt " if m[1] == "√" else r"\sqrt[3] ", text)
        text = unicodedata.normalize("NFKC", text.translate(UNICODE_TABLE))
    text = DELIMITERS.sub(lambda m: m[0][:-2], text)
    for pattern, replacement in LATEX:
        text = pattern.sub(replacement, text)
    text = EMPTY_TEXT.sub("", CURRENCY.sub("", text))
    text = CHOOSE.sub(r"\\binom{\1}{\2}", text)
    if "\\over" in text:
        text = OVER.sub(lambda m: rf"\frac{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}", text)
    return trimmed(text)


def _script(match: re.Match[str]) -> str:
    """A run of raised or lowered Unicode digits as `^{...}` or `_{...}`."""
    if match[1]:
        return "^{" + "".join(SUPERSCRIPTS[c] for c in match[1]) + "}"
    return "_{" + "".join(SUBSCRIPTS[c] for c in match[2]) + "}"


PRIME = re.compile(r"^[^']*[a-zA-Z)]'+$")  # `f'` and no quoted word


def trimmed(text: str) -> str:
    """Without the spaces, quotes, emphasis and final punctuation around an answer."""
    text = text.strip()
    while True:
        shorter = text.strip(' \t\n*`"').rstrip(".,;:。，；：").strip()
        if shorter.startswith("'") or not PRIME.search(shorter):  # `f'` is no quotation
            shorter = shorter.strip("'").strip()
        if shorter.endswith("\\"):
            shorter = shorter[:-1].rstrip()
        if shorter == text:
            return _without_outer_braces(text)
        text = shorter


def _without_outer_braces(text: str) -> str:
    """`{5}` is `5`; `{5}{6}` stays."""
    while text.startswith("{") and matching(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def squeezed(text: str) -> str:
    """Without white space, but between digits: two answers that agree here are the same text."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text.strip())


OPENING = {"(": ")", "[": "]", "{": "}"}


def tokens(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield (position, character or backslash command); `\{` is one token and no group."""
    position = 0
    while position < len(text):
        step = 1
        if text[position] == "\\" and position + 1 < len(text):
            step = 2
            if text[position + 1].isalpha():
                while position + step < len(text) and text[position + step].isalpha():
                    step += 1
        yield position, text[position : position + step]
        position += step


def outside(text: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """The matches of `pattern` that begin outside of all brackets."""
    depths = {position: depth for position, _, depth in levels(text)}
    return [match for match in pattern.finditer(text) if depths.get(match.start()) == 0]


def matching(text: str, start: int, closing: str = "}") -> int | None:
    """The position of the bracket that closes the one at `start`, or None. One pass."""
    depth = 0
    for position, token in tokens(text[start:]):
        if token == text[start]:
            depth += 1
        elif token == closing:
            depth -= 1
            if depth == 0:
                return start + position
    return None


def levels(text: str) -> Iterator[tuple[int, str, int]]:
    r"""Yield (position, token, depth); brackets of any kind, `\{ \}` and environments nest.

    Brackets may close with another kind, as half-open intervals do; a bracket that opens stands
    at the depth outside of it, and so does the one that closes.
    """
    depth = 0
    for position, token in tokens(text):
        if token in ("(", "[", "{", "\\{", "\\langle", "\\begin"):
            yield position, token, depth
            depth += 1
        elif token in (")", "]", "}", "\\}", "\\rangle", "\\end"):
            depth = max(depth - 1, 0)
            yield position, token, depth
        else:
            yield position, token, depth
