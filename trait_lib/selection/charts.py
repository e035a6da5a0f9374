"""The figures of notebook 01; each function returns a figure, the rows that it plots, its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from trait_lib import show
from trait_lib.show import plt

Drawn = tuple[Figure, list[dict[str, Any]], str]
FEWEST = 10  # documents of a bin of which a share can be read


def score_histogram(rows: Sequence[Mapping[str, Any]], cut: float | None) -> Drawn:
    """Documents by log-odds, one outline per group, with the score at the cut.

    Args:
        rows: from `table.histogram`.
        cut: the log-odds of the last document taken, None where another score decided.
    """
    fig, ax = plt.subplots()
    said = []
    for name in dict.fromkeys(row["group"] for row in rows):
        part = [row for row in rows if row["group"] == name]
        edges = [row["left"] for row in part] + [part[-1]["right"]]
        counts = [row["documents"] for row in part]
        highest = int(np.argmax(counts))
        look = show.look(name)
        filled = {"fill": True, "alpha": 0.25} if name == "in domain" else {"linewidth": 1.8}
        ax.stairs(counts, edges, color=look["color"], **filled)
        peak = ((edges[highest] + edges[highest + 1]) / 2, counts[highest])
        ax.annotate(name, peak, (0, 4), textcoords="offset points", ha="center", fontsize=9)
        said.append(f"{name}: {sum(counts):,} documents, most of them near {peak[0]:.1f}")
    if cut is not None:
        ax.axvline(cut, color=show.BLACK, linestyle="--", linewidth=1)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        ax.annotate(f"cut at {cut:.2f}", (cut, 0.94), (4, 0), fontsize=9, **place)
        said.append(f"the cut lies at {cut:.2f}")
    ax.set_yscale("symlog", linthresh=10)
    show.thousands(ax.yaxis)
    ax.set(xlabel="log-odds of the classifier", ylabel="documents", title="Scores of the pool")
    ax.margins(y=0.12)
    alt = f"Documents of the pool by log-odds of the classifier. {'; '.join(said)}."
    return fig, [*map(dict, rows), *([{"group": "cut", "left": cut}] if cut else [])], alt


def precision_budget(curves: Mapping[str, Sequence[Mapping[str, float]]], budget: int) -> Drawn:
    """Precision against budget in tokens, one line per way of selecting.

    Args:
        curves: name -> rows from `report.precision_curve`.
        budget: the budget of this run, marked by a line.
    """
    fig, ax = plt.subplots(figsize=(7.2, 4.2))
    said = []
    for number, (name, rows) in enumerate(curves.items()):
        tokens, precision = [r["tokens"] for r in rows], [r["precision"] for r in rows]
        # every line has its marks at other places, so that equal lines show through each other
        marks = {"markevery": (number, len(curves)), "markersize": 5}
        ax.plot(tokens, precision, label=name, linewidth=1.4, **marks, **show.look(name))
        said.append(f"{name} {np.interp(budget, tokens, precision):.2f}")
    ax.axvline(budget, color=show.BLACK, linestyle="--", linewidth=1)
    place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    ax.annotate(f"budget: {budget:,}", (budget, 0.1), (4, 0), fontsize=9, **place)
    ax.set(xlabel="tokens selected", ylabel="precision", title="Precision against budget")
    ax.set_ylim(0, 1.04)
    show.thousands(ax.xaxis)
    show.label_lines(ax)
    flat = [{"selection": name, **row} for name, rows in curves.items() for row in rows]
    alt = f"Precision against tokens selected. At the budget of {budget:,}: {', '.join(said)}."
    return fig, [*flat, {"selection": "budget", "tokens": budget}], alt


def calibration(rows: Sequence[Mapping[str, float]]) -> Drawn:
    """Observed against predicted probability, with 95 % intervals (Wilson) of the observed.

    Bins of fewer than ten documents are drawn hollow: a share of one document says nothing.
    Rows from `report.calibration`.
    """
    fig, ax = plt.subplots(figsize=(6.4, 4))
    ax.plot([0, 1], [0, 1], color=show.BLACK, linestyle="--", linewidth=1)
    ax.annotate("calibrated", (0.5, 0.5), (4, -12), textcoords="offset points", fontsize=9)
    drawn = [{**row, **_wilson(row["observed"], row["documents"])} for row in rows]
    for row in drawn:
        enough = row["documents"] >= FEWEST
        around = [[row["observed"] - row["low"]], [row["high"] - row["observed"]]]
        face = show.BLUE if enough else "white"
        at = (row["predicted"], row["observed"])
        ax.errorbar(*at, yerr=around, fmt="o", color=show.BLUE, mfc=face, capsize=3, linewidth=1)
        words = f"{row['documents']:,} document{'s' if row['documents'] > 1 else ''}"
        # beside the bar, or on the inner side of a short one
        height = min(max((row["low"] + row["high"]) / 2, 0.25), 0.75)
        place = {"xytext": (7 if row["predicted"] < 0.95 else -7, 0), "rotation": 90}
        ax.annotate(
            words,
            (row["predicted"], height),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            **place,
        )
    ax.set(xlabel="probability predicted", ylabel="share in the domain", title="Calibration")
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.06))
    said = [
        f"predicted {row['predicted']:.3f}, observed {row['observed']:.2f} "
        f"({row['low']:.2f} to {row['high']:.2f}), {row['documents']:,} documents"
        for row in drawn
    ]
    hollow = f"Bins of fewer than {FEWEST} documents are hollow."
    return (
        fig,
        drawn,
        f"Bins of predicted probability on held-out text: {'; '.join(said)}. {hollow}",
    )


def _wilson(share: float, n: float) -> dict[str, float]:
    """Wilson's 95 % interval of a share of n, which also holds for 0 and for all of them."""
    interval = binomtest(round(share * n), int(n)).proportion_ci(method="wilson")
    return {"low": float(interval.low), "high": float(interval.high)}


def quality_agreement(predicted: np.ndarray, grades: np.ndarray, bar: float) -> Drawn:
    """Predicted against given grades of held-out documents, with the bar of the filter."""
    fig, ax = plt.subplots()
    # a fixed sideways spread, so that equal grades do not hide each other
    spread = 0.3 * ((np.arange(len(grades)) * 0.618) % 1 - 0.5)
    ax.plot(grades + spread, predicted, "o", color=show.BLUE, markersize=3, alpha=0.5)
    ax.axhline(bar, color=show.BLACK, linestyle="--", linewidth=1)
    ax.annotate(
        f"filter: {bar:g}", (0, bar), (2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=9,
    )  # fmt: skip
    ax.set(xlabel="grade given by the teacher", ylabel="grade predicted")
    ax.set_title("Quality model on documents it has not seen")
    ax.set_xlim(-0.5, 5.5)
    ax.set_ylim(-0.3, 5.3)
    means = [f"{g:g}: {predicted[grades == g].mean():.2f}" for g in np.unique(grades)]
    alt = (
        f"Grades predicted for {len(grades)} held-out documents. Mean of each given grade: "
        f"{', '.join(means)}. The filter keeps {bar:g} and more: {np.mean(predicted >= bar):.0%}."
    )
    pairs = zip(grades.tolist(), predicted.tolist(), strict=True)
    return fig, [{"given": g, "predicted": p} for g, p in pairs], alt
