"""The figures of notebook 04, from the rows of the comparison.

Each function returns the figure, the rows that it plots and its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from trait_lib import show

Drawn = tuple[Figure, list[dict[str, Any]], str]


def scores(rows: Sequence[Mapping[str, Any]], title: str, label: str) -> Drawn:
    """Base beside adapted model, one line a row, with the 95 % interval of each."""
    drawn = [dict(row) for row in rows if row["base_low"] is not None]
    fig, axis = show.plt.subplots(figsize=(6.4, 1.1 + 0.42 * max(len(drawn), 1)))
    for which, shift in (("base", 0.13), ("adapted", -0.13)):
        values = [row[which] for row in drawn]
        below = [row[which] - row[f"{which}_low"] for row in drawn]
        above = [row[f"{which}_high"] - row[which] for row in drawn]
        places = [len(drawn) - 1 - number + shift for number in range(len(drawn))]
        spread = [[max(0.0, one) for one in side] for side in (below, above)]
        axis.errorbar(
            values, places, xerr=spread, linestyle="", capsize=3, linewidth=1.4, **show.look(which)
        )
        if drawn:
            look = show.look(which)
            above_or_below = 7 if shift > 0 else -7
            axis.annotate(
                which,
                (values[0], places[0]),
                (0, above_or_below),
                textcoords="offset points",
                ha="center",
                va="bottom" if shift > 0 else "top",
                fontsize=9,
                color=look["color"],
            )
    axis.set_yticks(range(len(drawn) - 1, -1, -1), [row["name"] for row in drawn])
    axis.set(xlabel=label, title=title, ylim=(-0.7, len(drawn) - 0.2))
    keep = ("name", "n", "base", "base_low", "base_high", "adapted", "adapted_low", "adapted_high")
    said = [
        f"{row['name']} {row['base']:.3f} to {row['adapted']:.3f} "
        f"({row['adapted_low']:.3f} to {row['adapted_high']:.3f})"
        for row in drawn
    ]
    words = f"{title}: base to adapted, with the adapted model's 95 % interval: {'; '.join(said)}."
    return fig, [{key: row[key] for key in keep} for row in drawn], words


def changes(rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """Items of each task that changed: to the right those that became right, to the left wrong."""
    drawn = [dict(row) for row in rows]
    fig, axis = show.plt.subplots(figsize=(6.4, 1.3 + 0.36 * max(len(drawn), 1)))
    places = range(len(drawn) - 1, -1, -1)
    became = (
        ("wrong_to_right", 1, show.BLUE, "", "left"),
        ("right_to_wrong", -1, show.VERMILLION, "///", "right"),
    )
    for key, side, colour, hatch, align in became:
        bars = axis.barh(
            places, [side * row[key] for row in drawn], color=colour, hatch=hatch, edgecolor="white"
        )
        axis.bar_label(bars, [row[key] or "" for row in drawn], padding=3, fontsize=8)
        at = (0.5 + 0.02 * side, 1.0)
        axis.annotate(key.replace("_", " "), at, xycoords="axes fraction", ha=align, va="bottom")
    axis.axvline(0, color=show.BLACK, linewidth=0.8)
    axis.margins(x=0.12)
    axis.set_yticks(places, [f"{row['task']} (n = {row['n']})" for row in drawn])
    widest = max([1, *(row[key] for row in drawn for key, *_ in became)])
    axis.set(xlabel="items", xlim=(-1.18 * widest, 1.18 * widest))
    axis.set_title("What changed, item by item", pad=20)
    said = [f"{r['task']} {r['wrong_to_right']} and {r['right_to_wrong']}" for r in drawn]
    return fig, drawn, f"Items that became right and items that became wrong: {', '.join(said)}."
