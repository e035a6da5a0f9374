"""A logistic regression on TF-IDF: the plain reference beside the paper's classifier.

A document is the bag of its words and word pairs, hashed into buckets. With counts c, the score is

    sum of w_b idf_b (1 + log c_b)  /  sqrt(sum of (idf_b (1 + log c_b))^2)  +  intercept,

which is what scikit-learn's HashingVectorizer, TfidfTransformer (sublinear_tf) and
LogisticRegression give with the same hashing. The sums run over a document's own buckets in the
loop that reads it (`kernels.bags`): no matrix is made of the corpus.
Not stated in the paper; a few hundred documents of a seed are little for fastText's vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trait_lib.selection.models import dsir, kernels, linear

if TYPE_CHECKING:  # workers only score: scikit-learn would double the time in which they start
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

BUCKETS = 2**18
NGRAMS = 2


@dataclass(frozen=True)
class Regression:
    """A regression as numbers per bucket."""

    weights: np.ndarray  # float32 (BUCKETS,): idf times the coefficient
    idf: np.ndarray  # float32 (BUCKETS,)
    intercept: np.ndarray  # float64 (1,)


# --- learning ---------------------------------------------------------------------------------


def counts(texts: Sequence[str], form: str = "words") -> sparse.csr_matrix:
    """How often each bucket's words and word pairs occur, float32 (texts, BUCKETS).

    Args:
        texts: documents.
        form: how a document becomes a line, see `lines.to_line`.
    """
    from scipy import sparse

    array = dsir.as_arrow(texts)
    data, begins, ends = linear.buffers(array)
    most = NGRAMS * (int((ends - begins).sum()) // 2 + len(texts) + 1)
    columns, values = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
    places, left = np.zeros(len(texts) + 1, dtype=np.int64), np.zeros(len(texts), dtype=np.bool_)
    none = np.zeros(BUCKETS, dtype=np.float32)
    kernels.bags(
        data, begins, ends, linear.FORMS[form], kernels.code_points(), NGRAMS, none, none,
        columns, values, places, np.zeros(len(texts)), left,
    )  # fmt: skip
    kept = values[: places[-1]].astype(np.float32), columns[: places[-1]].copy(), places
    found = sparse.csr_matrix(kept, (len(texts), BUCKETS))
    if left.any():
        rows = np.flatnonzero(left)
        order = np.arange(len(texts))
        order[rows] = len(texts) + np.arange(len(rows))
        again = counts(linear.written(array, rows, form).to_pylist(), "plain")
        found = sparse.vstack([found, again]).tocsr()[order]
    return found


def fit(
    positives: sparse.csr_matrix, negatives: sparse.csr_matrix, weights: np.ndarray | None = None
) -> LogisticRegression:
    """Logistic regression; positives and negatives have the same weight in all.

    Args:
        positives: features, shape (p, BUCKETS).
        negatives: features, shape (n, BUCKETS).
        weights: of the positives, shape (p,); None weighs them alike.
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    number = positives.shape[0] + negatives.shape[0]
    own = np.ones(positives.shape[0]) if weights is None else weights
    spread = np.full(negatives.shape[0], 1 / negatives.shape[0])
    every = np.concatenate([own / own.sum(), spread]) * number / 2
    truth = np.arange(number) < positives.shape[0]
    model = LogisticRegression()
    return model.fit(sparse.vstack([positives, negatives]).tocsr(), truth, sample_weight=every)


def as_numbers(model: LogisticRegression, idf: np.ndarray) -> Regression:
    """The regression as it scores texts, from what it learned of their features."""
    weights = (model.coef_[0] * idf).astype(np.float32)
    return Regression(weights, idf.astype(np.float32), model.intercept_.astype(float))


# --- scoring ----------------------------------------------------------------------------------


def log_odds(model: Regression, texts: pa.Array, form: str = "words") -> np.ndarray:
    """The score of each document, float64 (n,): the intercept where it has no word.

    Args:
        model: from `as_numbers`.
        texts: Arrow strings.
        form: as in training.
    """
    data, begins, ends = linear.buffers(texts)
    scores, left = np.zeros(len(begins)), np.zeros(len(begins), dtype=np.bool_)
    none, places = np.zeros(0, dtype=np.int32), np.zeros(len(begins) + 1, dtype=np.int64)
    kernels.bags(
        data, begins, ends, linear.FORMS[form], kernels.code_points(), NGRAMS,
        model.weights, model.idf, none, none, places, scores, left,
    )  # fmt: skip
    scores += model.intercept
    if left.any():
        rows = np.flatnonzero(left)
        scores[rows] = log_odds(model, linear.written(texts, rows, form), "plain")
    return scores


def publish(
    model: Regression, folder: str | Path, form: str, column: str = "log_odds"
) -> dict[str, Any]:
    """Prepare a model for the shard engine; see `linear.publish`."""
    return linear.published(model, folder, form, column, "regression")


def scorer(folder: str, form: str, column: str) -> Callable[[pa.Array], dict[str, Any]]:
    """A column of scores for the shard engine, from a model that `publish` wrote."""
    model = linear.load(folder, Regression)
    return lambda texts: {column: log_odds(model, texts, form)}
