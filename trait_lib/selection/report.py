"""How good a selection is, measured with labels that the selection never saw.

Paper: selection is judged by the adapted model alone. Ours adds labels where a corpus has them:
precision, recall and AUC, with documents on the border of the domain as a group of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from trait_lib import records
from trait_lib.selection.cut.candidates import Candidates

IN_DOMAIN, OTHER, BORDERLINE = "in domain", "other", "borderline"


@dataclass(frozen=True)
class Labels:
    """What is known of the pool's documents, in their order."""

    group: np.ndarray  # str (n,): "in domain", "other" or "borderline"
    genre: np.ndarray  # str (n,)
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
    found = [rows[i] for i in ids]
    known = any(row.get("quality") for row in found)
    return Labels(
        group=np.array([names.get(row["label"], OTHER) for row in found]),
        genre=np.array([str(row.get("genre") or "") for row in found]),
        good=np.array([row.get("quality") == "good" for row in found]) if known else None,
    )


def auc(scores: np.ndarray, group: np.ndarray) -> float:
    """AUC of in-domain against other documents; borderline and unscored ones are left out."""
    known = (group != BORDERLINE) & np.isfinite(scores)
    return float(roc_auc_score(group[known] == IN_DOMAIN, scores[known]))


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


def describe(
    name: str,
    kept: np.ndarray,
    found: Candidates,
    labels: Labels | None,
) -> dict[str, Any]:
    """One row of the comparison: documents, tokens, mean quality and, with labels, precision.

    Args:
        name: of the selection.
        kept: bool, shape (n,), over the candidates (documents or chunks).
        found: what the second pass learned about them.
        labels: of the pool, or None.
    """
    scored = found.quality[kept]
    row = {"selection": name, "documents": int(kept.sum()), "tokens": int(found.tokens[kept].sum())}
    if len(scored) and np.isfinite(scored).all():
        row["quality"] = float(scored.mean())
    return row | (against_labels(found.document[kept], labels) if labels else {})


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as columns under their names; a missing number is a dash."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print(" ".join(f"{name:>10}" if i else f"{name:20}" for i, name in enumerate(columns)))
    for row in rows:
        print(" ".join(_cell(row.get(name)) for name in columns))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f"{value:20}"
    if value is None:
        return f"{'-':>10}"
    return f"{value:10,}" if isinstance(value, int) else f"{value:10.3f}"


def precision_curve(
    documents: np.ndarray, tokens: np.ndarray, labels: Labels, points: int = 40
) -> list[dict[str, float]]:
    """Precision if the selection were cut at smaller and larger budgets.

    Args:
        documents: row numbers in the pool, best first, duplicates and refused ones left out.
        tokens: of each, same shape.
        labels: of the whole pool.
        points: how many budgets.

    Returns:
        Rows of `tokens` (the budget) and `precision`.
    """
    inside = np.cumsum(labels.group[documents] == IN_DOMAIN)
    size = np.cumsum(tokens)
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


def around_cut(usable: np.ndarray, kept: np.ndarray, number: int) -> list[tuple[int, bool]]:
    """The last `number` rows that were taken and the first that were not: (row, taken)."""
    taken = kept[usable]
    last, first = usable[taken][-number:], usable[~taken][:number]
    return [(int(i), True) for i in last] + [(int(i), False) for i in first]


def count_reasons(reason: np.ndarray) -> dict[str, int]:
    """How many documents have each reason, most frequent first."""
    return dict(Counter(reason.tolist()).most_common())
