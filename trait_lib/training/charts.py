"""The pictures of a training: what it is made of, how fast it learns, what its losses did.

Each function returns the figure, the rows that it plots and its words. Ours; the paper has no
such figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trait_lib import show
from trait_lib.training.loop import schedule

Drawn = tuple[Figure, list[dict[str, Any]], str]
HATCHES = {"replay": "..", "seed": "//", "passages": "", "tasks": "xx"}


def mixture(stages: Sequence[Mapping[str, Any]]) -> Drawn:
    """One bar a stage, as long as its tokens, divided among its sources."""
    rows = [
        {"stage": stage["name"], "source": s["name"], "tokens": stage["tokens"] * s["weight"]}
        for stage in stages
        for s in stage["sources"]
    ]
    fig, axis = show.plt.subplots(figsize=(6.4, 1.2 + 0.75 * len(stages)))
    left: dict[str, float] = {}
    for row in rows:
        start = left.get(row["stage"], 0.0)
        name, tokens = row["source"], row["tokens"]
        bar = {"color": show.look(name)["color"], "hatch": HATCHES.get(name, "")}
        axis.barh(row["stage"], tokens, 0.5, left=start, edgecolor="white", **bar)
        middle = (start + tokens / 2, row["stage"])
        axis.annotate(name, middle, (0, 21), textcoords="offset points", ha="center", fontsize=9)
        left[row["stage"]] = start + tokens
    axis.invert_yaxis()  # stage 1 on top
    axis.margins(y=0.2)
    axis.set(xlabel="tokens", title="What each stage is made of")
    show.thousands(axis.xaxis)
    said = [f"{row['stage']}: {row['source']} {row['tokens']:,.0f}" for row in rows]
    return fig, rows, f"A bar for each stage, divided by source, in tokens. {'; '.join(said)}."


def learning_rate(stages: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Drawn:
    """The learning rate of every step: the schedule that is set, and dashed the other one.

    One schedule spans the run, or each stage has its own; later stages' beginnings are marked.
    """
    names = {"run": "one over the run", "stage": "one for each stage"}
    chosen = settings["schedule_scope"]
    other = "stage" if chosen == "run" else "run"
    fig, axis = show.plt.subplots(figsize=(7.2, 3.6))
    columns = {}
    for scope, style in ((other, "--"), (chosen, "-")):
        rates = schedule.rates(stages, {**settings, "schedule_scope": scope})
        columns[names[scope]] = rates
        label = f"{names[scope]}\n({'set' if scope == chosen else 'the other way'})"
        colour = show.BLUE if scope == chosen else show.GREY
        axis.plot(range(1, len(rates) + 1), rates, style, color=colour, label=label)
    rows = [
        {"step": step, **{name: rates[step - 1] for name, rates in columns.items()}}
        for step in range(1, len(rates) + 1)
    ]
    axis.set(xlabel="step", ylabel="learning rate", title="The schedule", ylim=(0, None))
    show.label_lines(axis, gap=0.2)
    _mark(axis, stages)
    mine = columns[names[chosen]]
    top = max(mine)
    flat = [step for step, rate in enumerate(mine, start=1) if rate == top]
    alt = (
        f"Learning rate of {len(mine)} steps, {names[chosen]}: it rises to {top:.2g} at step "
        f"{flat[0]}, is that until step {flat[-1]} and ends at {mine[-1]:.2g}. Dashed: "
        f"{names[other]}."
    )
    return fig, rows, alt


def loss(log: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]) -> Drawn:
    """The training loss of every step, in all and by source."""
    rows = [{"step": line["step"], "all": line["loss"], **line["loss_by_source"]} for line in log]
    fig, axis = show.plt.subplots(figsize=(7.2, 3.8))
    axis.plot([r["step"] for r in rows], [r["all"] for r in rows], color="#BBBBBB", label="all")
    said = []
    for source in dict.fromkeys(key for row in rows for key in row if key not in ("step", "all")):
        seen = [(row["step"], row[source]) for row in rows if source in row]
        every = max(1, len(rows) // 8)
        marks = {"markevery": every, "markersize": 5, "linewidth": 0.9}
        axis.plot(*zip(*seen, strict=True), label=source, **marks, **show.look(source))
        said.append(f"{source} {seen[0][1]:.2f} to {seen[-1][1]:.2f}")
    axis.set(xlabel="step", ylabel="loss (nats a token)", title="Training loss by source")
    _mark(axis, stages)
    show.label_lines(axis)
    return fig, rows, f"Training loss in nats a token, first to last step: {', '.join(said)}."


def heldout(measured: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]]) -> Drawn:
    """Bits per byte of each held-out text at every measurement, a panel each, on its own scale.

    Above each panel stands what every stage changed, in percent of its start. Where the last
    stage goes back on what the first gained, as on domain text here, that share is written too.
    """
    rows = [
        {
            "step": line["step"],
            **{name: found["bits_per_byte"] for name, found in line["heldout"].items()},
        }
        for line in measured
    ]
    names = list(measured[0]["heldout"])
    fig, axes = show.plt.subplots(1, len(names), figsize=(3.1 * len(names), 3.7), squeeze=False)
    said = []
    for axis, name in zip(axes[0], names, strict=True):
        values = [row[name] for row in rows]
        axis.plot([row["step"] for row in rows], values, markersize=5, **show.look(name))
        axis.axhline(values[0], color=show.GREY, linewidth=1, linestyle=":")
        after = _at_ends(rows, stages, name)
        ends = [values[0], *after.values()]
        steps = [f"{100 * (b / a - 1):+.1f} %" for a, b in itertools.pairwise(ends)]
        words = [name, *(f"{stage}: {step}" for stage, step in zip(after, steps, strict=True))]
        if share := _undone(ends):
            words.append(f"of its gain undone: {share:.0%}")
            axis.axhline(ends[-2], color=show.GREY, linewidth=1, linestyle=":")
        axis.set_title("\n".join(words), fontsize=9)
        axis.set(xlabel="step", ylim=(0.0, 1.12 * max(values)))
        _mark(axis, stages)
        path = " to ".join(f"{value:.3f}" for value in ends)
        said.append(f"{name} {path}" + (f", {share:.0%} of the gain undone" if share else ""))
    axes[0][0].set_ylabel("bits per byte")
    alt = f"Bits per byte of held-out texts at the start and after each stage: {'; '.join(said)}."
    return fig, rows, alt


def _at_ends(
    rows: Sequence[Mapping[str, Any]], stages: Sequence[Mapping[str, Any]], name: str
) -> dict[str, float]:
    """The last measurement of a text in each stage; a stage without one is left out."""
    ends = {}
    for stage in stages:
        last = stage["first_step"] + stage["steps"]
        inside = [row[name] for row in rows if stage["first_step"] < row["step"] <= last]
        ends |= {stage["name"]: inside[-1]} if inside else {}
    return ends


def _undone(ends: Sequence[float]) -> float | None:
    """The share of the gain of all stages but the last that the last one takes back, if any."""
    if len(ends) < 3:
        return None
    start, before, last = ends[0], ends[-2], ends[-1]
    gained = start - before
    return (last - before) / gained if gained > 0 and last > before else None


def _mark(axis: Axes, stages: Sequence[Mapping[str, Any]]) -> None:
    for stage in stages[1:]:
        axis.axvline(stage["first_step"] + 0.5, color=show.GREY, linestyle="--", linewidth=1)
        axis.annotate(
            f" {stage['name']}",
            (stage["first_step"] + 0.5, 0.02),
            xycoords=("data", "axes fraction"),
        )
