"""Is the seed's kind of text in the corpus? Where it is not, positives are mined there in rounds.

A regression that learns seed against corpus learns the seed's *style* along with its subject.
Where the corpus holds text of the same kind that is no harm. Where it does not, the best documents
score far below seed documents that were held out, and that is how it is noticed (`reach`). Then a
sample of the corpus is searched in rounds: the best documents join the seed as positives, a quarter
of the wanted number at first and twice as many each round. The seed keeps half of the weight, so
that a wrong start cannot replace it.

Not stated in the paper. DeepSeekMath (arXiv 2402.03300) mines again with the sites that it found;
ours works on documents. `LEAST` and `GAP` were chosen on the targets that
`tests/bench/mixture.py` calls DEVELOPMENT; what this is worth on others stands in notebook 01.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from trait_lib.selection.models import regression

LEAST = 10  # documents: fewer are no seed, and no round begins with fewer
GAP = 0.15  # reach below which the seed's style counts as missing in the corpus
SEED_WEIGHT = 0.5  # of the seed among the positives of a round


class TooFew(ValueError):
    """The sample, the seed or the wanted number is too small to search with."""


@dataclass(frozen=True)
class Mined:
    """What was learned from a seed and a sample of the corpus."""

    start: regression.Regression  # seed against sample
    model: regression.Regression  # after the rounds; `start` itself where there were none
    wanted: int  # documents of the sample that were taken for in-domain
    reach: float  # of the best documents of the sample, in [0, 1]
    gap: bool  # the reach is below `GAP`
    rounds: list[int]  # documents learned from in each round


def best(scores: np.ndarray, number: int) -> np.ndarray:
    """The rows with the highest scores, best first; equal scores keep their order."""
    return np.argsort(-scores, kind="stable")[:number]


def reach(seed: np.ndarray, chosen: np.ndarray) -> float:
    """The mean share of held-out seed documents that a chosen document scores higher than.

    About 0.5 where the chosen are of the seed's kind, near 0 where they are not.

    Args:
        seed: scores of seed documents that the model has not seen, shape (s,).
        chosen: scores of the chosen documents, shape (n,).
    """
    if not len(seed) or not len(chosen):
        return float("nan")
    return float(np.searchsorted(np.sort(seed), chosen).mean() / len(seed))


def warning(reached: float, number: int) -> str:
    """What to say where documents read unlike the seed; empty where they read like it."""
    if not reached < GAP:
        return ""
    return (
        f"warning: the {number:,} best documents read unlike the seed: on average they score above "
        f"{reached:.0%} of its held-out documents, where half is usual. The corpus may hold less "
        "of this kind than the budget asks for, or the subject in another style only: read the "
        "documents at the cut, add seed documents in the corpus's style, lower the budget, or "
        "compare with rank_by: mined"
    )


def unseen_scores(
    seed: sparse.csr_matrix, sample: sparse.csr_matrix, random: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the seed's and the sample's documents by a regression on the other half of both."""
    draw = np.random.default_rng(random)
    halves = [draw.permutation(part.shape[0]) % 2 for part in (seed, sample)]
    scores = np.empty(seed.shape[0]), np.empty(sample.shape[0])
    for half in (0, 1):
        model = regression.fit(seed[halves[0] == half], sample[halves[1] == half])
        for found, features, own in zip(scores, (seed, sample), halves, strict=True):
            found[own != half] = model.decision_function(features[own != half])
    return scores


def search(
    seed: sparse.csr_matrix, sample: sparse.csr_matrix, scores: np.ndarray, number: int
) -> tuple[regression.LogisticRegression, list[int]]:
    """Learn from the best documents and the seed, take twice as many, and so on up to `number`.

    Args:
        seed: features, shape (s, BUCKETS).
        sample: features, shape (n, BUCKETS).
        scores: of the sample's documents, to begin with, shape (n,).
        number: how many documents to learn from in the last round.

    Returns:
        What was learned in the last round, and how many documents each one learned from.
    """
    rounds = [max(LEAST, number // 4)]
    while rounds[-1] < number:
        rounds.append(min(2 * rounds[-1], number))
    for size in rounds:
        found = best(scores, size)
        rest = np.setdiff1d(np.arange(sample.shape[0]), found)
        own = np.full(seed.shape[0], SEED_WEIGHT / seed.shape[0])
        weights = np.concatenate([own, np.full(size, (1 - SEED_WEIGHT) / size)])
        positives = sparse.vstack([seed, sample[found]]).tocsr()
        model = regression.fit(positives, sample[rest], weights)
        scores = model.decision_function(sample)
    return model, rounds


def mine(seed: sparse.csr_matrix, sample: sparse.csr_matrix, number: int, random: int) -> Mined:
    """Learn to rank the corpus by a seed, mining the sample in rounds where the seed's style lacks.

    Args:
        seed: counts (`regression.counts`) of the in-domain corpus, or of a part of it.
        sample: counts of documents of the corpus, drawn at random.
        number: how many of these are taken for in-domain: the budget's share of the corpus, times
            the sample's size. Below `LEAST` there are no rounds.
        random: decides the halves.

    Raises:
        TooFew: there is too little to search with; the message says of what.
    """
    number = max(1, number)
    if seed.shape[0] < LEAST or number > sample.shape[0] // 2:
        raise TooFew(
            f"{seed.shape[0]} seed documents, {number} to be found in a sample of "
            f"{sample.shape[0]}: the seed needs {LEAST}, and the budget must be less than half of "
            "the corpus. Give more seed, lower the budget, or set rank_by to classifier"
        )
    weigher = TfidfTransformer(sublinear_tf=True).fit(sparse.vstack([seed, sample]))
    seed, sample = weigher.transform(seed), weigher.transform(sample)
    start = regression.as_numbers(regression.fit(seed, sample), weigher.idf_)
    held, unseen = unseen_scores(seed, sample, random)
    reached = reach(held, unseen[best(unseen, number)])
    model, rounds, gap = start, [], reached < GAP
    if gap and number >= LEAST:
        learned, rounds = search(seed, sample, unseen, number)
        model = regression.as_numbers(learned, weigher.idf_)
    return Mined(start, model, number, reached, gap, rounds)
