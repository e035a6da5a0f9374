"""How many tokens a text has: by a model's own tokenizer, or estimated from its bytes.

Paper: budgets are given in tokens. Ours estimates where no base model is named, because a
selection on a user's own files must not need one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trait_lib import pretrained

BYTES_PER_TOKEN = 4  # of the estimate: English web text has 4.0 to 4.6 with usual vocabularies

Counter = Callable[[Sequence[str]], np.ndarray]
"""n texts -> n numbers of tokens, int64, shape (n,)."""


def counter(name_or_path: str) -> Counter:
    """A function that counts the tokens of texts with a model's own tokenizer.

    Args:
        name_or_path: a folder with `tokenizer.json`, or a model's name on the Hub; empty
            estimates one token per `BYTES_PER_TOKEN` bytes of UTF-8, rounded up.
    """
    if not name_or_path:
        return estimate
    tokenizer = pretrained.backend(name_or_path)

    def count(texts: Sequence[str]) -> np.ndarray:
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encoded = tokenizer.encode_batch(clean, add_special_tokens=False)
        return np.array([len(item.ids) for item in encoded], dtype=np.int64)

    return count


def estimate(texts: Sequence[str]) -> np.ndarray:
    """One token per `BYTES_PER_TOKEN` bytes of UTF-8, rounded up."""
    sizes = [len(text.encode("utf-8", "replace")) for text in texts]
    return -(-np.array(sizes, dtype=np.int64) // BYTES_PER_TOKEN)


def bytes_per_token(texts: Sequence[str], count: Counter) -> float:
    """How many bytes of UTF-8 a token holds in these texts."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return size / max(1, int(np.sum(count(texts))))
