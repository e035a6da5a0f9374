"""The figures of notebook 01; each function returns a figure and the rows that it plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trait_lib.show import plt

Rows = list[dict[str, Any]]


def score_histogram(rows: Sequence[Mapping[str, Any]], cut: float | None) -> tuple[Figure, Rows]:
    """Documents by log-odds, one outline per group, with the score at the cut.

    Args:
        rows: from `table.histogram`.
        cut: the log-odds of the last document taken, None where another score decided.
    """
    fig, ax = plt.subplots()
    for name in dict.fromkeys(row["group"] for row in rows):
        part = [row for row in rows if row["group"] == name]
        edges = [row["left"] for row in part] + [part[-1]["right"]]
        ax.stairs([row["documents"] for row in part], edges, label=name, linewidth=1.8)
    if cut is not None:
        ax.axvline(cut, color="black", linestyle="--", linewidth=1, label="cut")
    ax.set_yscale("symlog", linthresh=10)
    ax.set(xlabel="log-odds of the classifier", ylabel="documents", title="Scores of the pool")
    ax.legend()
    return fig, [dict(row) for row in rows] + ([{"group": "cut", "left": cut}] if cut else [])


def precision_budget(
    curves: Mapping[str, Sequence[Mapping[str, float]]], budget: int
) -> tuple[Figure, Rows]:
    """Precision against budget in tokens, one line per way of selecting.

    Args:
        curves: name -> rows from `report.precision_curve`.
        budget: the budget of this run, marked by a line.
    """
    fig, ax = plt.subplots()
    for name, rows in curves.items():
        ax.plot([r["tokens"] for r in rows], [r["precision"] for r in rows], label=name)
    ax.axvline(budget, color="black", linestyle="--", linewidth=1, label="budget")
    ax.set(xlabel="tokens selected", ylabel="precision", title="Precision against budget")
    ax.set_ylim(0, 1.02)
    ax.legend()
    flat = [{"selection": name, **row} for name, rows in curves.items() for row in rows]
    return fig, [*flat, {"selection": "budget", "tokens": budget}]


def calibration(rows: Sequence[Mapping[str, float]]) -> tuple[Figure, Rows]:
    """Observed against predicted probability; rows from `report.calibration`."""
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="calibrated")
    ax.plot([r["predicted"] for r in rows], [r["observed"] for r in rows], "o-", label="held out")
    for row in rows:
        place = (row["predicted"], row["observed"])
        ax.annotate(f"{row['documents']:,}", place, xytext=(4, -10), textcoords="offset points")
    ax.set(xlabel="probability predicted", ylabel="share in the domain", title="Calibration")
    ax.legend()
    return fig, [dict(row) for row in rows]


def quality_agreement(predicted: np.ndarray, grades: np.ndarray, bar: float) -> tuple[Figure, Rows]:
    """Predicted against given grades of held-out documents, with the bar of the filter."""
    fig, ax = plt.subplots()
    # a fixed sideways spread, so that equal grades do not hide each other
    spread = 0.3 * ((np.arange(len(grades)) * 0.618) % 1 - 0.5)
    ax.plot(grades + spread, predicted, "o", markersize=3, alpha=0.5)
    ax.axhline(bar, color="black", linestyle="--", linewidth=1, label="filter")
    ax.set(xlabel="grade given by the teacher", ylabel="grade predicted")
    ax.set_title("Quality model on documents it has not seen")
    ax.set_xlim(-0.5, 5.5)
    ax.set_ylim(-0.3, 5.3)
    ax.legend()
    pairs = zip(grades.tolist(), predicted.tolist(), strict=True)
    return fig, [{"given": g, "predicted": p} for g, p in pairs]
