"""The figures of notebook 04, from the rows of the comparison; each returns (figure, data)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from trait_lib import show

Rows = list[dict[str, Any]]


def scores(rows: Sequence[Mapping[str, Any]], title: str, label: str) -> tuple[Figure, Rows]:
    """Base beside adapted model, one line a row, with the 95 % interval of each."""
    drawn = [dict(row) for row in rows if row["base_low"] is not None]
    fig, axis = show.plt.subplots(figsize=(6.4, 1.1 + 0.42 * max(len(drawn), 1)))
    for which, marker, shift in (("base", "o", 0.13), ("adapted", "s", -0.13)):
        values = [row[which] for row in drawn]
        below = [row[which] - row[f"{which}_low"] for row in drawn]
        above = [row[f"{which}_high"] - row[which] for row in drawn]
        places = [len(drawn) - 1 - number + shift for number in range(len(drawn))]
        spread = [[max(0.0, one) for one in side] for side in (below, above)]
        axis.errorbar(values, places, xerr=spread, fmt=marker, capsize=3, label=which)
    axis.set_yticks(range(len(drawn) - 1, -1, -1), [row["name"] for row in drawn])
    axis.set(xlabel=label, title=title, ylim=(-0.6, len(drawn) - 0.4))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    keep = ("name", "n", "base", "base_low", "base_high", "adapted", "adapted_low", "adapted_high")
    return fig, [{key: row[key] for key in keep} for row in drawn]


def changes(rows: Sequence[Mapping[str, Any]]) -> tuple[Figure, Rows]:
    """Items of each task that changed: to the right those that became right, to the left wrong."""
    drawn = [dict(row) for row in rows]
    fig, axis = show.plt.subplots(figsize=(6.4, 1.1 + 0.36 * max(len(drawn), 1)))
    places = range(len(drawn) - 1, -1, -1)
    axis.barh(places, [row["wrong_to_right"] for row in drawn], label="wrong to right")
    axis.barh(places, [-row["right_to_wrong"] for row in drawn], label="right to wrong")
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(places, [f"{row['task']} (n = {row['n']})" for row in drawn])
    axis.set(xlabel="items", title="What changed, item by item")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return fig, drawn
