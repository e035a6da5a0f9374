"""More positives from the corpus itself, in rounds, when the seed is small or of another style.

A classifier that learns seed against corpus learns the seed's *style* with its subject: word
problems are told from everything else by their apples and first names, not by arithmetic. Here a
sample of the corpus is searched in rounds. The first round takes the documents nearest to the
seed, and those that hold what sets the seed apart from the documents that read like it; each
further round learns from what is found so far and takes twice as many, until the share of the
sample that the budget is of the corpus is reached. fastText is then trained with the found
documents as positives and the rest of the sample as negatives.

Not stated in the paper. DeepSeekMath (arXiv 2402.03300) mines again with the sites that it found;
ours works on documents, and the numbers below were chosen on open text (see notebook 01).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import SGDClassifier

BUCKETS = 2**18
FIRST_NEAREST = 0.07  # of the wanted number: the nearest to the seed in the first round
FIRST_CONTRAST = 0.2  # of the wanted number: those with the most of what sets the seed apart
NEIGHBOURS = 2  # times the wanted number: the documents that the seed is set apart from
SEED_WEIGHT = 0.5  # of the seed among the positives, unless there is a gap of style
GAP = 0.1  # of what should read like the seed; below it the seed's style is not in the sample
REGULARISATION = 5e-5
EPOCHS = 8
FEW = 10  # of seed documents, or of documents to be found: too few to learn from


class TooFew(ValueError):
    """The sample, the seed or the wanted number is too small to search with."""


@dataclass(frozen=True)
class Mined:
    """What was found in a sample of the corpus."""

    rows: np.ndarray  # int64, of the sample, best first
    alike: float  # estimated number of documents of the sample that read like the seed
    gap: bool  # hardly any does: the seed is left out of the positives
    rounds: list[int]  # documents taken in each round


# --- features ---------------------------------------------------------------------------------


def _shape(text: str) -> str:
    """Lower case, every digit as 0: which numbers a text holds says little of its subject."""
    return re.sub(r"\d", "0", text.lower())


def count_words(texts: Sequence[str], longest: int) -> sparse.csr_matrix:
    """Counts of words, marks and their runs up to `longest`, hashed; (texts, BUCKETS)."""
    hasher = HashingVectorizer(
        preprocessor=_shape,
        token_pattern=r"\w+|[^\w\s]",
        ngram_range=(1, longest),
        n_features=BUCKETS,
        alternate_sign=False,
        norm=None,
    )
    return hasher.transform(texts)


def best(scores: np.ndarray, number: int) -> np.ndarray:
    """The rows with the highest scores, best first; equal scores keep their order."""
    return np.argsort(-scores, kind="stable")[:number]


# --- scores -----------------------------------------------------------------------------------


def closeness(seed: sparse.csr_matrix, sample: sparse.csr_matrix) -> np.ndarray:
    """Mean cosine similarity of each document of the sample to the seed's, shape (n,)."""
    return np.asarray(sample @ seed.mean(axis=0).T).ravel()


def contrast(
    seed: sparse.csr_matrix, neighbours: sparse.csr_matrix, sample: sparse.csr_matrix
) -> np.ndarray:
    """How much each document holds of what sets the seed apart from its neighbours, shape (n,).

    A word's weight is the z-score of its log-odds with a Dirichlet prior (Monroe et al. 2008,
    "Fightin' Words"), none below 2 and cut at 10; a document's score is the mean over its distinct
    words. The neighbours share the seed's style, so what is left is its subject.

    Args:
        seed: counts, shape (s, BUCKETS).
        neighbours: counts of the documents that read like the seed, shape (m, BUCKETS).
        sample: counts, shape (n, BUCKETS).
    """
    ours, theirs = (np.asarray(part.sum(axis=0)).ravel() for part in (seed, neighbours))
    both = ours + theirs
    prior = 500 * both / both.sum() + 0.01

    def odds(counts: np.ndarray) -> np.ndarray:
        return np.log((counts + prior) / (counts.sum() + prior.sum() - counts - prior))

    z = (odds(ours) - odds(theirs)) / np.sqrt(1 / (ours + prior) + 1 / (theirs + prior))
    weights = np.clip(z, -10, 10) * (np.abs(z) > 2)
    present = (sample > 0).astype(float)
    return present @ weights / np.maximum(np.asarray(present.sum(axis=1)).ravel(), 1)


def fit(
    positives: sparse.csr_matrix, weights: np.ndarray, negatives: sparse.csr_matrix, seed: int
) -> SGDClassifier:
    """Logistic regression; positives and negatives have the same weight in all."""
    number = positives.shape[0] + negatives.shape[0]
    truth = np.arange(number) < positives.shape[0]
    spread = np.full(negatives.shape[0], 1 / negatives.shape[0])
    every = np.concatenate([weights / weights.sum(), spread]) * number / 2
    model = SGDClassifier(
        loss="log_loss", alpha=REGULARISATION, max_iter=EPOCHS, tol=None, random_state=seed
    )
    return model.fit(sparse.vstack([positives, negatives]).tocsr(), truth, sample_weight=every)


def reads_alike(seed: sparse.csr_matrix, sample: sparse.csr_matrix, random: int) -> float:
    """About how many documents of the sample read like the seed.

    A classifier learns two thirds of the seed against two thirds of the sample. Twice the
    documents of the sample's last third that score above the median of the seed's last third,
    times three, is the estimate; it is averaged over the thirds.
    """
    draw = np.random.default_rng(random)
    ours, theirs = draw.permutation(seed.shape[0])[:600], draw.permutation(sample.shape[0])
    found = []
    for third in range(3):
        held, unseen = ours[third::3], theirs[third::3]
        learned = seed[np.setdiff1d(ours, held)]
        model = fit(
            learned, np.ones(learned.shape[0]), sample[np.setdiff1d(theirs, unseen)], random
        )
        middle = np.median(model.decision_function(seed[held]))
        found.append(6 * np.sum(model.decision_function(sample[unseen]) > middle))
    return float(np.mean(found))


# --- rounds -----------------------------------------------------------------------------------


def grow(
    seed: sparse.csr_matrix,
    sample: sparse.csr_matrix,
    found: np.ndarray,
    number: int,
    seed_weight: float,
    random: int,
) -> tuple[np.ndarray, list[int]]:
    """Learn from what is found, take twice as many, and so on up to `number`.

    Args:
        seed: features, shape (s, BUCKETS).
        sample: features, shape (n, BUCKETS).
        found: rows of the sample to begin with.
        number: how many rows to end with.
        seed_weight: of the seed among the positives, in [0, 1).
        random: seed of the regression.

    Returns:
        The rows of the sample, best first, and how many were learned from in each round.
    """
    rounds = []
    while True:
        rounds.append(len(found))
        rest = np.setdiff1d(np.arange(sample.shape[0]), found)
        weights = np.full(len(found), (1 - seed_weight) / len(found))
        positives = sample[found]
        if seed_weight:
            positives = sparse.vstack([seed, positives])
            own = np.full(seed.shape[0], seed_weight / seed.shape[0])
            weights = np.concatenate([own, weights])
        scores = fit(positives, weights, sample[rest], random).decision_function(sample)
        if len(found) >= number:
            return best(scores, number), rounds
        found = best(scores, min(2 * len(found), number))


def mine(seed_texts: Sequence[str], sample: Sequence[str], number: int, seed: int) -> Mined:
    """Find the documents of a sample that belong to the domain of the seed.

    Args:
        seed_texts: the in-domain corpus, or a part of it.
        sample: documents of the corpus, drawn at random.
        number: how many to find: the budget's share of the corpus, times the sample's size.
        seed: of every draw.

    Raises:
        TooFew: there is too little to search with; the message says of what.
    """
    check_sizes(len(seed_texts), len(sample), number)
    words = count_words([*seed_texts, *sample], 1)
    pairs = TfidfTransformer(sublinear_tf=True).fit_transform(
        count_words([*seed_texts, *sample], 2)
    )
    cut = len(seed_texts)
    seed_words, sample_words = words[:cut], words[cut:]
    seed_pairs, sample_pairs = pairs[:cut], pairs[cut:]

    alike = reads_alike(seed_pairs, sample_pairs, seed)
    near = closeness(seed_pairs, sample_pairs)
    weight, gap, before = SEED_WEIGHT, alike < GAP * min(number, cut), []
    if gap:  # the first documents found stand in for the seed from here on
        few = best(near, max(1, min(50, number // 8)))
        found, before = grow(seed_pairs, sample_pairs, few, max(1, number // 2), 0.0, seed)
        seed_words, near = sample_words[found], closeness(sample_pairs[found], sample_pairs)
        weight = 0.0
    neighbours = sample_words[best(near, NEIGHBOURS * number)]
    apart = contrast(seed_words, neighbours, sample_words)
    first = np.union1d(
        best(near, max(1, round(FIRST_NEAREST * number))),
        best(apart, max(1, round(FIRST_CONTRAST * number))),
    )
    rows, rounds = grow(seed_pairs, sample_pairs, first, number, weight, seed)
    return Mined(rows, alike, gap, before + rounds)


def check_sizes(seed: int, sample: int, number: int) -> None:
    """Raise TooFew where there is nothing to search with, or everything would be found."""
    if seed < FEW or number < FEW:
        raise TooFew(
            f"{seed} seed documents, {number} to be found in a sample of {sample}: mining needs "
            f"{FEW} of each. Raise mining_sample or the budget, or set rank_by to classifier"
        )
    if number > sample // 2:
        raise TooFew(
            f"{number} documents to be found in a sample of {sample}: the budget is more than half "
            "of the corpus, so there is little to select from. Lower it or set rank_by: classifier"
        )


def examples(
    found: Mined, seed_texts: Sequence[str], sample: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Positives and negatives for the classifier, as many of each.

    Positives are the found documents and, without a gap of style, the seed, all repeated until
    they are as many as the negatives, which are the rest of the sample.
    """
    taken = set(found.rows.tolist())
    negatives = [text for i, text in enumerate(sample) if i not in taken]
    positives = [sample[i] for i in found.rows] + ([] if found.gap else list(seed_texts))
    times = -(-len(negatives) // len(positives))
    return (positives * times)[: max(len(negatives), len(positives))], negatives
