"""The pictures of a training: what it is made of, how fast it learns, what its losses did.

Each function returns the figure and the rows that it plots. Ours; the paper has no such figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trait_lib import show
from trait_lib.training.loop import schedule

Rows = list[dict[str, Any]]


def mixture(stages: Sequence[Mapping[str, Any]]) -> tuple[Figure, Rows]:
    """One bar a stage, as long as its tokens, divided among its sources."""
    rows = [
        {"stage": stage["name"], "source": s["name"], "tokens": stage["tokens"] * s["weight"]}
        for stage in stages
        for s in stage["sources"]
    ]
    names = list(dict.fromkeys(row["source"] for row in rows))
    fig, axis = show.plt.subplots(figsize=(6.4, 1.4 + 0.5 * len(stages)))
    left: dict[str, float] = {}
    for row in rows:
        first = row["source"] not in [other["source"] for other in rows[: rows.index(row)]]
        axis.barh(
            row["stage"],
            row["tokens"],
            left=left.get(row["stage"], 0.0),
            color=show.COLOURS[names.index(row["source"]) % len(show.COLOURS)],
            label=row["source"] if first else None,
        )
        left[row["stage"]] = left.get(row["stage"], 0.0) + row["tokens"]
    axis.invert_yaxis()  # stage 1 on top
    axis.set(xlabel="tokens", title="What each stage is made of")
    fig.legend(loc="outside lower center", ncols=len(names))
    return fig, rows


def learning_rate(
    stages: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> tuple[Figure, Rows]:
    """The learning rate of every step: the schedule that is set, and dashed the other one.

    One schedule spans the run, or each stage has its own; later stages' beginnings are marked.
    """
    names = {"run": "one over the run", "stage": "one for each stage"}
    chosen = settings["schedule_scope"]
    other = "stage" if chosen == "run" else "run"
    fig, axis = show.plt.subplots()
    columns = {}
    for scope, style in ((other, "--"), (chosen, "-")):
        rates = schedule.rates(stages, {**settings, "schedule_scope": scope})
        columns[names[scope]] = rates
        label = f"{names[scope]} ({'set' if scope == chosen else 'the other way'})"
        colour = show.COLOURS[0] if scope == chosen else "#999999"
        axis.plot(range(1, len(rates) + 1), rates, style, color=colour, label=label)
    rows = [
        {"step": step, **{name: rates[step - 1] for name, rates in columns.items()}}
        for step in range(1, len(rates) + 1)
    ]
    axis.set(xlabel="step", ylabel="learning rate", title="The schedule", ylim=(0, None))
    fig.legend(loc="outside lower center", ncols=2)
    _mark(axis, stages)
    return fig, rows


def loss(
    log: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]
) -> tuple[Figure, Rows]:
    """The training loss of every step, in all and by source."""
    rows = [{"step": line["step"], "all": line["loss"], **line["loss_by_source"]} for line in log]
    fig, axis = show.plt.subplots()
    axis.plot([r["step"] for r in rows], [r["all"] for r in rows], color="#BBBBBB", label="all")
    for source in dict.fromkeys(key for row in rows for key in row if key not in ("step", "all")):
        seen = [(row["step"], row[source]) for row in rows if source in row]
        axis.plot(*zip(*seen, strict=True), label=source)
    axis.set(xlabel="step", ylabel="loss (nats a token)", title="Training loss by source")
    axis.legend()
    _mark(axis, stages)
    return fig, rows


def heldout(
    measured: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]], watched: str
) -> tuple[Figure, Rows]:
    """Bits per byte of each held-out text at every measurement; larger, how `watched` changes.

    The text `watched` gets a panel of its own, as the change in percent since the start, where
    above 0 is forgotten: beside texts that are learned its change would be too small to see.
    """
    rows = [
        {
            "step": line["step"],
            **{name: found["bits_per_byte"] for name, found in line["heldout"].items()},
        }
        for line in measured
    ]
    steps = [row["step"] for row in rows]
    fig, (left, right) = show.plt.subplots(1, 2, figsize=(8.4, 3.6))
    names = list(measured[0]["heldout"])
    for name, marker in zip(names, "osv^Dx*", strict=False):
        left.plot(steps, [row[name] for row in rows], marker=marker, markersize=4, label=name)
    change = [100 * (row[watched] / rows[0][watched] - 1) for row in rows]
    colour = show.COLOURS[names.index(watched)]
    right.plot(steps, change, marker="v", markersize=4, color=colour)
    right.axhline(0, color="#777777", linewidth=1)
    left.set(xlabel="step", ylabel="bits per byte", title="Held-out texts", ylim=(0, None))
    right.set(xlabel="step", ylabel="change in %", title=f"{watched} text since the start")
    fig.legend(loc="outside lower center", ncols=len(names))
    for axis in (left, right):
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
