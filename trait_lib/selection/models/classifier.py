"""The two-label fastText classifier that ranks a general corpus by how in-domain it reads.

Paper: a fastText classifier; positives are a random part of the original in-domain corpus,
negatives the same number of documents of other data. Sample sizes and fastText's own settings
are not stated; the defaults of the paper tier are DeepSeekMath's (arXiv 2402.03300).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from sklearn.metrics import roc_auc_score

from trait_lib import records
from trait_lib.reading.tables import EmptyCorpus
from trait_lib.selection.models import fit, lines

BATCH = 1000
FASTTEXT_OFFSET = 1e-5  # fastText adds this to every probability that it reports


# --- examples ---------------------------------------------------------------------------------


def split(items: Sequence[str], share: float, maximum: int, seed: int) -> tuple[list, list]:
    """Divide the in-domain corpus at random into training positives and a held-out rest.

    Args:
        items: documents.
        share: the part that becomes positives, in (0, 1).
        maximum: the most positives.
        seed: decides the draw.

    Raises:
        EmptyCorpus: fewer than two documents, so that one part would be empty.
    """
    if len(items) < 2:
        raise EmptyCorpus(f"the in-domain corpus needs 2 documents or more, it has {len(items)}")
    order = np.random.default_rng(seed).permutation(len(items))
    number = min(max(1, round(share * len(items))), maximum, len(items) - 1)
    return [items[i] for i in order[:number]], [items[i] for i in order[number:]]


# --- the model --------------------------------------------------------------------------------


def train(
    positives: Sequence[str],
    negatives: Sequence[str],
    settings: Mapping[str, Any],
    seed: int,
    form: str = "words",
    threads: int = 1,
) -> Any:
    """Train the classifier; the same inputs and seed give the same bytes with one thread.

    Args:
        positives: in-domain documents.
        negatives: general documents, as many (paper) or not.
        settings: fastText's `dim`, `lr`, `epoch`, `wordNgrams`, `minCount`, `bucket`.
        seed: of the initial vectors and of the order of the examples.
        form: see `lines.to_line`.
        threads: more than one is faster by about their number, but then threads write to the
            same vectors unsynchronised and two runs differ.

    Returns:
        The fastText model.

    Raises:
        fit.TrainingFailed: fastText refused the settings or diverged, or no word is frequent
            enough.
    """
    examples = [*lines.labelled(lines.IN_DOMAIN, positives, form)]
    examples += lines.labelled(lines.GENERAL, negatives, form)
    with tempfile.TemporaryDirectory() as folder:
        file, model = Path(folder) / "train.txt", Path(folder) / "model.bin"
        # fastText takes the lines in file order, epoch after epoch
        order = np.random.default_rng(seed).permutation(len(examples))
        file.write_text("".join(examples[i] for i in order), encoding="utf-8")
        fit.in_new_process(file, model, {**settings, "thread": threads, "seed": seed})
        trained = fasttext.load_model(str(model))
    if not trained.words:
        raise fit.TrainingFailed(
            f"no word occurs {settings['minCount']} times, so there is nothing to learn from; "
            "lower min_count"
        )
    return trained


def train_shuffled(
    positives: Sequence[str],
    negatives: Sequence[str],
    settings: Mapping[str, Any],
    seed: int,
    form: str = "words",
) -> Any:
    """A control: the same examples with their labels shuffled, so that no domain can be learned."""
    texts = [*positives, *negatives]
    mixed = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
    return train(mixed[: len(positives)], mixed[len(positives) :], settings, seed, form)


def save(model: Any, path: str | Path) -> None:
    """Write the model where fastText's own command line can read it."""
    with records.atomic_path(path) as temporary:
        model.save_model(str(temporary))


def log_odds(model: Any, documents: Sequence[str], form: str = "words") -> np.ndarray:
    """log p(in-domain) - log p(general) of each document, shape (n,), float64.

    The log-odds rank documents whose probability has long been rounded to 1. They hold within
    0.01 up to about +-18, where fastText's 32-bit numbers end.
    """
    result = np.empty(len(documents))
    for start in range(0, len(documents), BATCH):
        batch = [lines.to_line(text, form) for text in documents[start : start + BATCH]]
        names, values = model.predict(batch, k=2)
        first_is_in = np.fromiter((n[0] == lines.IN_DOMAIN for n in names), bool, len(batch))
        # (n, 2), larger probability first; fastText reports p + 1e-5, hence values above 1
        pairs = np.stack(values).astype(np.float64) - FASTTEXT_OFFSET
        pairs = np.clip(pairs, 1e-9, 1.0)
        margin = np.log(pairs[:, 0]) - np.log(pairs[:, 1])
        result[start : start + len(batch)] = np.where(first_is_in, margin, -margin)
    return result


def probability(odds: np.ndarray) -> np.ndarray:
    """p(in-domain), in [0, 1], from log-odds."""
    return 1.0 / (1.0 + np.exp(-odds))


def validate(
    model: Any, positives: Sequence[str], negatives: Sequence[str], form: str = "words"
) -> dict[str, float]:
    """Accuracy and AUC on documents that the classifier has not seen."""
    odds = log_odds(model, [*positives, *negatives], form)
    truth = np.arange(len(odds)) < len(positives)
    return {
        "accuracy": float(np.mean((odds > 0) == truth)),
        "auc": float(roc_auc_score(truth, odds)),
        "positives": len(positives),
        "negatives": len(negatives),
    }


def heaviest_words(model: Any, number: int = 10) -> tuple[list, list]:
    """The words that pull hardest towards the domain and away from it, each with its weight.

    With two labels the log-odds of a document are the mean, over its words and n-grams, of
    (b_in - b_out) . a_w: one number a word, which this returns.
    """
    output = dict(zip(model.labels, model.get_output_matrix(), strict=True))  # label -> (dim,)
    direction = output[lines.IN_DOMAIN] - output[lines.GENERAL]
    words = model.words  # row i of the input matrix belongs to word i; n-gram buckets follow
    weights = model.get_input_matrix()[: len(words)] @ direction
    order = np.argsort(-weights, kind="stable")
    pairs = [(words[i], float(weights[i])) for i in order]
    return pairs[:number], pairs[::-1][:number]
