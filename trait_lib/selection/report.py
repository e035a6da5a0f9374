"""How good a selection is, measured with labels that the selection never saw.

Paper: selection is judged by the adapted model alone. Ours adds labels where a corpus has them:
precision, recall and AUC, with documents on the border of the domain as a group of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from trait_lib import records
from trait_lib.selection.cut import columns, hygiene
from trait_lib.selection.cut.budget import Selection

IN_DOMAIN, OTHER, BORDERLINE = "in domain", "other", "borderline"


@dataclass(frozen=True)
class Labels:
    """What is known of the pool's documents, in their order."""

    group: np.ndarray  # str (n,): "in domain", "other" or "borderline"
    good: np.ndarray | None  # bool (n,), quality is "good"; None where quality is not known


def load_labels(path: str | Path, ids: Sequence[str], domain: str) -> Labels | None:
    """The labels of the documents `ids`; None where the file holds no rows.

    A label equal to `domain` is in the domain, `borderline_<domain>` is on its border.

    Raises:
        records.BadRow: a document has no label; the message names it.
    """
    rows = {row["id"]: row for row in records.read_rows(path)}
    if not rows:
        return None
    if missing := [i for i in ids if i not in rows]:
        raise records.BadRow(f"{path}: no label for {len(missing)} documents, first {missing[0]!r}")
    names = {domain: IN_DOMAIN, f"borderline_{domain}": BORDERLINE}
    mine = [rows[i] for i in ids]
    known = any(row.get("quality") for row in mine)
    return Labels(
        group=np.array([names.get(row["label"], OTHER) for row in mine]),
        good=np.array([row.get("quality") == "good" for row in mine]) if known else None,
    )


def auc(scores: np.ndarray, group: np.ndarray) -> float:
    """AUC of in-domain against other documents; borderline and unscored ones are left out."""
    known = (group != BORDERLINE) & np.isfinite(scores)
    return float(roc_auc_score(group[known] == IN_DOMAIN, scores[known]))


def aucs(
    parts: Sequence[Path], column_of: Mapping[str, str], labels: Labels | None
) -> dict[str, float]:
    """The AUC of each ranking over the whole corpus, from its column; none without labels."""
    if labels is None:
        return {}
    whole = {name: columns.whole(parts, column) for name, column in column_of.items()}
    return {name: auc(scores, labels.group) for name, scores in whole.items()}


def against_labels(documents: np.ndarray, labels: Labels) -> dict[str, float]:
    """Precision and recall of a selection.

    Args:
        documents: the pool's row number of each selected document or chunk.
        labels: of the whole pool.

    Returns:
        `precision`: share of in-domain ones; `borderline`: share of borderline ones;
        `recall`: share of the pool's in-domain documents that are selected; `good`: share that
        is in the domain and of good quality, where quality is known. Empty for no documents.
    """
    if not len(documents):
        return {}
    inside = labels.group == IN_DOMAIN
    result = {
        "precision": float(np.mean(inside[documents])),
        "borderline": float(np.mean(labels.group[documents] == BORDERLINE)),
        "recall": float(inside[np.unique(documents)].sum() / inside.sum()),
    }
    if labels.good is not None:
        result["good"] = float(np.mean((inside & labels.good)[documents]))
    return result


def filter_truth(
    selection: Selection, labels: Labels | None, bar: float | None
) -> dict[str, float]:
    """The quality filter against known quality, over the ranked candidates of a selection.

    Args:
        selection: with the predicted quality of its candidates.
        labels: of the pool, or None.
        bar: the lowest quality that is kept, None where nothing was filtered.

    Returns:
        `auc`, `precision` (the share of good documents among those that pass the bar) and
        `recall`; nothing where quality is not known.
    """
    if labels is None or labels.good is None or bar is None:
        return {}
    predicted = selection.candidates.quality[selection.order]
    good = labels.good[selection.candidates.document[selection.order]]
    both = 0 < good.sum() < len(good)
    return {
        "auc": float(roc_auc_score(good, predicted)) if both else float("nan"),
        "precision": float(precision_score(good, predicted >= bar, zero_division=0)),
        "recall": float(recall_score(good, predicted >= bar, zero_division=0)),
    }


def describe(name: str, selection: Selection, labels: Labels | None) -> dict[str, Any]:
    """One row of the comparison: documents, tokens, mean quality and, with labels, precision."""
    scored = selection.candidates.quality[selection.kept]
    row = {"selection": name, "documents": int(selection.kept.sum()), "tokens": selection.tokens}
    if len(scored) and np.isfinite(scored).all():
        row["quality"] = float(scored.mean())
    return row | (against_labels(selection.documents, labels) if labels else {})


def precision_curve(
    selection: Selection, labels: Labels, points: int = 40
) -> list[dict[str, float]]:
    """Precision if the selection were cut at smaller and larger budgets.

    Returns:
        Rows of `tokens` (the budget) and `precision`, `points` of them or fewer.
    """
    documents = selection.candidates.document[selection.usable]
    inside = np.cumsum(labels.group[documents] == IN_DOMAIN)
    size = np.cumsum(selection.candidates.tokens[selection.usable])
    ends = np.unique(np.linspace(0, len(documents) - 1, points + 1).astype(int)[1:])
    return [{"tokens": int(size[i]), "precision": float(inside[i] / (i + 1))} for i in ends]


def calibration(
    probability: np.ndarray, truth: np.ndarray, bins: int = 10
) -> list[dict[str, float]]:
    """How often documents with about the same probability are in the domain.

    Args:
        probability: of the domain, shape (n,).
        truth: bool, shape (n,).
        bins: of equal width; empty ones are left out.

    Returns:
        Rows of `predicted` (mean of the bin), `observed` (share that is true), `documents`.
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        {
            "predicted": float(probability[here].mean()),
            "observed": float(truth[here].mean()),
            "documents": int(here.sum()),
        }
        for here in (place == i for i in range(bins))
        if here.any()
    ]


def calibration_error(rows: Sequence[dict[str, float]]) -> float:
    """Mean distance of predicted and observed, weighed by documents."""
    weights = [row["documents"] for row in rows]
    gaps = [abs(row["predicted"] - row["observed"]) for row in rows]
    return float(np.average(gaps, weights=weights))


def around_cut(selection: Selection, number: int) -> list[dict[str, Any]]:
    """The last `number` rows that were taken and the first that were not.

    Returns:
        Rows of `taken`, `score`, `document` (its number in the corpus) and `text`.
    """
    taken = selection.kept[selection.usable]
    edge = [*selection.usable[taken][-number:], *selection.usable[~taken][:number]]
    texts = selection.candidates.texts(np.array(edge, dtype=int))
    score = dict(zip(selection.order.tolist(), selection.score.tolist(), strict=True))
    return [
        {
            "taken": bool(selection.kept[i]),
            "score": score[i],
            "document": int(selection.candidates.document[i]),
            "text": texts[i],
        }
        for i in map(int, edge)
    ]


def count_reasons(selection: Selection, documents: int) -> dict[str, int]:
    """How many of so many documents have each reason, most frequent first.

    Documents that are no candidates rank too low.
    """
    counts = Counter(selection.reason.tolist())
    counts[hygiene.BELOW] += documents - len(selection.reason)
    return dict(counts.most_common())
