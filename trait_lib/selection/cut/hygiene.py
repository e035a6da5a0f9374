"""What a document must pass before its score counts: length, language, test questions, copies.

Paper: not stated; ours because a test question in the training text would make every later
number worthless, and because a text that is taken twice is paid for twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasketch import LeanMinHash, MinHash, MinHashLSH

from trait_lib import contamination, records
from trait_lib.selection.cut import tokens

SELECTED = "selected"
BELOW = "below the cut"
QUALITY = "quality"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near duplicate"
CONTAMINATED = "contaminated"
HELD_OUT = "held out"
SHORT = "too short"
LANGUAGE = "language"
REASONS = (
    SELECTED, BELOW, QUALITY, DUPLICATE, NEAR_DUPLICATE, CONTAMINATED, HELD_OUT, SHORT, LANGUAGE,
)  # fmt: skip

PERMUTATIONS = 128
SCHEME = "affine32"  # of the hash functions: 32 bits a value
LANGUAGE_CHARACTERS = 2000  # enough to tell a language


class UnknownLanguage(ValueError):
    """A language code that the identifier does not know."""


def digest(words: list[str]) -> int:
    """64 bits of the text in lower case without punctuation: equal texts have equal digests.

    Among 10 million different texts, two share a digest with probability 3e-6.
    """
    joined = " ".join(words).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big")


def shingles(words: list[str], size: int) -> list[bytes]:
    """The runs of `size` words of a text; the whole text where it is shorter."""
    runs = (words[i : i + size] for i in range(max(1, len(words) - size + 1)))
    return [" ".join(run).encode("utf-8", "replace") for run in runs]


def signatures(texts: Iterable[list[str]], size: int) -> np.ndarray:
    """A MinHash of each text (given as its words) over its runs of `size` words.

    Returns:
        uint32, shape (n, PERMUTATIONS): 512 bytes a text.
    """
    made = MinHash.bulk(
        (shingles(words, size) for words in texts), num_perm=PERMUTATIONS, scheme=SCHEME
    )
    rows = [item.hashvalues for item in made]
    return np.array(rows, dtype=np.uint32).reshape(len(rows), PERMUTATIONS)


# --- one look at a candidate ------------------------------------------------------------------


class Inspector:
    """Counts the tokens of candidates and says why one cannot be training text, if so.

    Args:
        tokenizer: a model's name or folder; empty estimates, see `tokens.counter`.
        questions: file of test questions, a JSON object id -> text.
        min_words: shorter documents are refused.
        shingle_words: words in a run, for near duplicates; 0 makes no signatures.
        languages: codes of the languages that are kept; none keeps all and asks for none.
        language_min: the least probability of the language.
        known: file of what notebook 00 knows, see `contamination.write_known`; empty: of nothing.
    """

    def __init__(
        self,
        tokenizer: str,
        questions: str,
        min_words: int,
        shingle_words: int,
        languages: Sequence[str] = (),
        language_min: float = 0.5,
        known: str = "",
    ) -> None:
        self.count_tokens = tokens.counter(tokenizer)
        given = contamination.read_known(known) if known else {}
        self.index = contamination.build_index(records.read_json(questions), **given)
        self.min_words, self.shingle_words = min_words, shingle_words
        self.languages, self.language_min = set(languages), language_min
        self.identify = language_identifier(languages) if languages else None

    def held_out(self, documents: pa.Array) -> np.ndarray:
        """Whether documents, before they are cut, are held out, bool (n,)."""
        texts = documents.to_pylist()
        return np.array([contamination.is_held_out(t, self.index) for t in texts], dtype=bool)

    def __call__(self, texts: pa.Array, held_out: np.ndarray | None = None) -> dict[str, Any]:
        """Columns of a candidates' part: one value a text.

        Args:
            texts: n of them, whole documents or chunks.
            held_out: bool (n,), whether each is of a held-out document; None asks the texts.
        """
        held_out = self.held_out(texts) if held_out is None else held_out
        strings = texts.to_pylist()
        words = [contamination.words(text) for text in strings]
        shared = [self._shared(text) for text in strings]
        languages = [self._language(text) for text in strings]
        reasons = map(self._reason, words, held_out, shared, languages)
        columns = {
            "tokens": np.asarray(self.count_tokens(strings), dtype=np.int64),
            "digest": np.array([digest(w) for w in words], dtype=np.uint64),
            "reason": pa.array(list(reasons), pa.string()),
            "shared": pa.array([records.json.dumps(s) if s else None for s in shared], pa.string()),
            "language": pa.array([name for name, _ in languages], pa.string()),
            "language_p": pa.array([p for _, p in languages], pa.float64()),
        }
        if self.shingle_words:
            rows = signatures(words, self.shingle_words)
            kind = pa.binary(4 * PERMUTATIONS)
            columns["minhash"] = pa.array([row.tobytes() for row in rows], kind)
        return columns

    def _language(self, text: str) -> tuple[str | None, float | None]:
        return self.identify(text) if self.identify else (None, None)

    def _shared(self, text: str) -> list[dict[str, str]]:
        """A row for each test question in a text: its id, the kind, the words that are shared."""
        kinds = (f"{contamination.GRAM}-gram", "question")
        found = contamination.matches(text, self.index)
        return [{"question": m.question, "kind": kinds[m.whole], "shared": m.shared} for m in found]

    def _reason(
        self,
        words: list[str],
        held_out: bool,
        shared: list,
        language: tuple[str | None, float | None],
    ) -> str:
        if len(words) < max(1, self.min_words):
            return SHORT
        if held_out:
            return HELD_OUT
        if shared:
            return CONTAMINATED
        name, probability = language
        if self.identify and (name not in self.languages or probability < self.language_min):
            return LANGUAGE
        return ""


def language_identifier(languages: Sequence[str]) -> Any:
    """A function from a text to (language code, probability), by py3langid.

    Only the text's first `LANGUAGE_CHARACTERS` are read. The probability is the model's own: over
    all its languages, near 1 for a sentence or more, low for a few words.

    Raises:
        UnknownLanguage: a code that the identifier does not know.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if unknown := sorted(set(languages) - set(model.labels)):
        raise UnknownLanguage(f"languages: {unknown[0]!r} is not one of {sorted(model.labels)}")

    def identify(text: str) -> tuple[str, float]:
        name, probability = model.classify(text[:LANGUAGE_CHARACTERS])
        return str(name), float(probability)

    return identify


# --- copies -----------------------------------------------------------------------------------


def mark_duplicates(
    order: Iterable[int],
    reason: np.ndarray,
    digests: np.ndarray,
    minhashes: np.ndarray | None,
    threshold: float,
) -> np.ndarray:
    """Give the worse-ranked copy of two texts the reason "duplicate" or "near duplicate".

    Args:
        order: row numbers, best first; rows that already have a reason are no copy of anything.
        reason: object array, shape (n,), "" where nothing speaks against a row.
        digests: uint64, shape (n,).
        minhashes: from `signatures`, shape (n, PERMUTATIONS); None with a threshold of 0.
        threshold: the share of common word runs (Jaccard, estimated) from which on two texts
            count as near duplicates; 0 looks for exact duplicates only.

    Returns:
        A new array of reasons.
    """
    reason = reason.copy()
    seen: set[int] = set()
    near = _index(threshold) if threshold else None
    for row in order:
        if reason[row]:
            continue
        value = int(digests[row])
        if value in seen:
            reason[row] = DUPLICATE
            continue
        if near is not None:
            lean = _lean(minhashes[row])
            if _has_twin(near.query(lean), row, minhashes, threshold):
                reason[row] = NEAR_DUPLICATE
                continue
            near.insert(int(row), lean)
        seen.add(value)
    return reason


def _index(threshold: float) -> MinHashLSH:
    """An index that would rather find too much than too little; `_has_twin` looks again."""
    return MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(0.1, 0.9))


def _has_twin(near: list[int], row: int, minhashes: np.ndarray, threshold: float) -> bool:
    """Whether one of the rows `near` is as similar as the threshold asks."""
    if not near:
        return False
    same = (minhashes[sorted(near)] == minhashes[row]).mean(axis=1)
    return bool((same >= threshold).any())


def _lean(row: np.ndarray) -> LeanMinHash:
    """A row of `signatures` as datasketch's index takes it."""
    return LeanMinHash(seed=1, hashvalues=row, scheme=SCHEME)
