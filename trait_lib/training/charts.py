"""The three pictures of a training: what it is made of, how fast it learns, what its loss did.

Each function returns the figure and the rows that it plots. Ours; the paper has no such figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trait_lib import figures

Rows = list[dict[str, Any]]


def mixture(stages: Sequence[Mapping[str, Any]]) -> tuple[Figure, Rows]:
    """One bar a stage, as long as its tokens, divided among its sources."""
    rows = [
        {"stage": stage["name"], "source": s["name"], "tokens": stage["tokens"] * s["weight"]}
        for stage in stages
        for s in stage["sources"]
    ]
    names = list(dict.fromkeys(row["source"] for row in rows))
    fig, axis = figures.plt.subplots(figsize=(6.4, 1.4 + 0.5 * len(stages)))
    left: dict[str, float] = {}
    for row in rows:
        first = row["source"] not in [other["source"] for other in rows[: rows.index(row)]]
        axis.barh(
            row["stage"],
            row["tokens"],
            left=left.get(row["stage"], 0.0),
            color=figures.COLOURS[names.index(row["source"]) % len(figures.COLOURS)],
            label=row["source"] if first else None,
        )
        left[row["stage"]] = left.get(row["stage"], 0.0) + row["tokens"]
    axis.invert_yaxis()  # stage 1 on top
    axis.set(xlabel="tokens", title="What each stage is made of")
    fig.legend(loc="outside lower center", ncols=len(names))
    return fig, rows


def learning_rate(
    rates: Sequence[float], stages: Sequence[Mapping[str, Any]]
) -> tuple[Figure, Rows]:
    """The learning rate of every step, with the beginning of each later stage marked."""
    rows = [{"step": step, "learning_rate": rate} for step, rate in enumerate(rates, start=1)]
    fig, axis = figures.plt.subplots()
    axis.plot([row["step"] for row in rows], rates)
    axis.set(xlabel="step", ylabel="learning rate", title="The schedule", ylim=(0, None))
    _mark(axis, stages)
    return fig, rows


def loss(
    log: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]
) -> tuple[Figure, Rows]:
    """The training loss of every step, in all and by source."""
    rows = [{"step": line["step"], "all": line["loss"], **line["loss_by_source"]} for line in log]
    fig, axis = figures.plt.subplots()
    axis.plot([r["step"] for r in rows], [r["all"] for r in rows], color="#BBBBBB", label="all")
    for source in dict.fromkeys(key for row in rows for key in row if key not in ("step", "all")):
        seen = [(row["step"], row[source]) for row in rows if source in row]
        axis.plot(*zip(*seen, strict=True), label=source)
    axis.set(xlabel="step", ylabel="loss (nats a token)", title="Training loss by source")
    axis.legend()
    _mark(axis, stages)
    return fig, rows


def _mark(axis: Axes, stages: Sequence[Mapping[str, Any]]) -> None:
    for stage in stages[1:]:
        axis.axvline(stage["first_step"] + 0.5, color="#777777", linestyle="--", linewidth=1)
        axis.annotate(
            f" {stage['name']}",
            (stage["first_step"] + 0.5, 0.02),
            xycoords=("data", "axes fraction"),
        )
