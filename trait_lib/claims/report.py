"""Tables and figures of notebook 05, from the file of results and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from trait_lib import ROOT, run, show
from trait_lib.claims import results, settings, verdicts
from trait_lib.claims.claims import (
    AS_THE_PAPER_SCORES,
    CLAIMS,
    DOCUMENTS,
    GENERAL,
    HELD_OUT,
    MEAN,
    PAPER,
    PASSAGES,
    Comparison,
)
from trait_lib.training import arms

Row = dict[str, Any]
Drawn = tuple[Figure, list[Row], str]
PREDICTIONS = ROOT / "params" / "claims_predictions.yaml"
SHOWN = "claim comparison domain difference low high effect p_holm seeds verdict".split()


def gather(stage: run.Stage, own_runs: bool, name: str = "results.csv") -> tuple[list[Row], int]:
    """The committed rows, and with `own_runs` this machine's in their place; how many are own.

    Both files are recorded as inputs of the stage.
    """
    rows = _rows(stage, results.COMMITTED / name)
    own = _rows(stage, results.own_folder(stage.params["tier"]) / name) if own_runs else []
    known = {tuple(row.values()) for row in rows}
    return results.merged(rows, own), sum(tuple(row.values()) not in known for row in own)


def _rows(stage: run.Stage, path: Path) -> list[Row]:
    """The rows of a file; a file without any is made where there is none, so that it is watched."""
    if not path.exists():
        results.write(path, [])
    return results.read(stage.external(path))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Show rows, or say that there are none."""
    if rows:
        show.table(rows, columns)
    else:
        print("no results of this kind yet (make claims): skipped")


def draw(stage: run.Stage, name: str, drawer: Callable[[Any], Drawn], rows: Any) -> None:
    """Draw a figure of the stage, or say that there is nothing to draw."""
    drawn = drawer(rows) if rows else None
    if drawn and drawn[1]:
        figure, numbers, words = drawn
        show.save(figure, stage.path(f"figures/{name}.png"), numbers, words)
    else:
        print("no results of this kind yet (make claims): skipped")


def confirmation(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """The seeds of the results that no setting was chosen on."""
    known = settings.read(ROOT / "params")["development_seeds"]
    return sorted({row["seed"] for row in rows} - set(known))


def about(rows: Sequence[Mapping[str, Any]], own: int) -> str:
    """What was read, and which seeds the verdicts are of."""
    seeds = confirmation(rows)
    which = f"the confirmation seeds {', '.join(map(str, seeds))}" if seeds else (
        "development seeds only: settings were chosen on them, so no verdict is final"
    )  # fmt: skip
    text = f"{len(rows):,} numbers, {own} of them from runs on this machine"
    return f"{text}; verdicts are of {which}" if rows else text


def scores(rows: Sequence[Mapping[str, Any]], development: bool = False) -> verdicts.Scores:
    """The scores at each arm's own rate: of the confirmation seeds, as soon as there are any.

    With `development` of the others.
    """
    known, seeds = settings.read(ROOT / "params"), confirmation(rows)
    if seeds or development:
        rows = [row for row in rows if (row["seed"] in seeds) != development]
    return verdicts.scores(rows, lambda arm: settings.rate_of(arm, known))


def claims_table(found: verdicts.Scores) -> list[Row]:
    """All comparisons of all domains."""
    return [row for one in verdicts.domains_of(found) for row in verdicts.domain_table(found, one)]


def overview(table: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row a claim: the verdict in each domain, and the paper's number with its mark."""
    told = verdicts.by_claim(table)
    domains = sorted({domain for _, domain in told})
    rows = []
    for number, words in CLAIMS.items():
        paper = [f"{domain} {text}" for (one, domain), text in PAPER.items() if one == number]
        row = {"claim": f"{number} {words}", "paper": ", ".join(paper) or "no number found"}
        rows.append(row | {domain: told.get((number, domain), "not run") for domain in domains})
    return rows


def predicted(table: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What was predicted of each comparison beside what was found, in points."""
    asked = yaml.safe_load(PREDICTIONS.read_text(encoding="utf-8"))
    rows = []
    for row in table:
        said = asked.get(row["domain"], {}).get(row["comparison"], {})
        names = {name: row[name] for name in ("domain", "claim", "comparison")}
        found = {"found": 100 * row["difference"], "seeds": row["seeds"]}
        rows.append(
            {**names, "direction": said.get("direction"), "size": said.get("size"), **found}
        )
    return rows


def as_the_paper_scores(found: verdicts.Scores) -> list[Row]:
    """Ads: AUC, win rate at equal lengths, diversity and density."""
    arms_beside = ("base", "random", "dsir", "stage1_only")
    return verdicts.against_each(found, "ads", AS_THE_PAPER_SCORES, arms_beside)


def controls(found: verdicts.Scores) -> list[Row]:
    """What is left of the gain under each control."""
    names = (*arms.CONTROLS, *arms.ANSWERERS)
    return [r for one in verdicts.domains_of(found) for r in verdicts.remains(found, one, names)]


# gate -> (what it asks, test of the value); the bounds are those that the world was built to
OPEN, CLOSED, LEARNED, HEADROOM, ALIKE = 0.6, 0.25, 0.9, 0.95, 0.05
GENERAL_BETWEEN = (0.8, 0.97)
SUMS = (MEAN, PASSAGES, DOCUMENTS, HELD_OUT, GENERAL)  # beside the tasks themselves
ON_REAL_TEXT = {  # precision on the open mixture of real text, tests/bench/mixture.py
    ("math", "DSIR selection"): 0.95,
    ("math", "classifier selection"): 0.92,
    ("ads", "DSIR selection"): 0.52,
    ("ads", "classifier selection"): 0.80,
}


def gates(found: verdicts.Scores) -> list[Row]:
    """Whether the world is an instrument: what each gate asks, and the mean over seeds of it.

    None of them compares two arms. A task scored by AUC has no closed-book bound.
    """
    rows: list[Row] = []

    def gate(domain: str, name: str, value: float, wanted: str, passed: bool) -> None:
        rows.append({"domain": domain, "gate": name, "value": value, "wanted": wanted,
                     "passed": "yes" if passed else "no"})  # fmt: skip

    for domain in verdicts.domains_of(found):
        of = {
            name[1:]: sum(values.values()) / len(values)
            for name, values in found.items()
            if name[0] == domain
        }
        asked = [task for arm, task, metric in of if (arm, metric) == ("base", "accuracy")]
        tasks = [
            task
            for task in asked
            if task not in SUMS and ("constant_answer", task, "accuracy") in of
        ]
        for task in tasks:
            told, closed = of.get(("open_book", task, "accuracy")), of["base", task, "accuracy"]
            guess = of["constant_answer", task, "accuracy"]
            if told is not None:
                gate(domain, f"{task}: told the facts", told, f">= {OPEN}", told >= OPEN)
            gate(domain, f"{task}: not told", closed, f"<= {CLOSED}", closed <= CLOSED)
            gate(domain, f"{task}: a constant answer", guess, f"<= {CLOSED}", guess <= CLOSED)
        if (key := ("base_finetuned", PASSAGES, "accuracy")) in of:
            gate(domain, "learned by fine-tuning", of[key], f">= {LEARNED}", of[key] >= LEARNED)
        elsewhere = of.get(("base", "documents-only facts", "texts that tell one elsewhere"))
        if elsewhere is not None:
            gate(domain, "texts that tell documents-only facts elsewhere", elsewhere, "0",
                 elsewhere == 0)  # fmt: skip
        for (where, ranking), wanted in ON_REAL_TEXT.items():
            value = of.get(("base", ranking, "precision"))
            if where == domain and value is not None:
                gate(domain, f"precision of {ranking}", value, f"{wanted} +- {ALIKE}",
                     abs(value - wanted) <= ALIKE + 1e-9)  # fmt: skip
        best = max(
            value
            for (arm, task, metric), value in of.items()
            if (task, metric) == (MEAN, "accuracy") and arm not in arms.ANSWERERS
        )
        gate(domain, "mean of tasks of the best arm", best, f"<= {HEADROOM}", best <= HEADROOM)
        known, (low, high) = of["base", GENERAL, "accuracy"], GENERAL_BETWEEN
        gate(domain, "general questions of the base", known, f"{low} to {high}",
             low <= known <= high)  # fmt: skip
    return rows


def power(rows: Sequence[Mapping[str, Any]], planned: int) -> list[Row]:
    """Spread over the development seeds, and what `planned` seeds would find."""
    found = scores(rows, development=True)
    return [
        row
        for one in verdicts.domains_of(found)
        for row in verdicts.power_table(found, one, planned)
    ]


# --- figures ----------------------------------------------------------------------------------


def forest(table: Sequence[Mapping[str, Any]]) -> Drawn:
    """Every comparison's difference with its interval, a panel a domain."""
    domains = sorted({row["domain"] for row in table})
    names = list(dict.fromkeys(f"{row['claim']} {row['comparison']}" for row in table))
    size = (2.4 + 2.6 * len(domains), 1.0 + 0.3 * len(names))
    fig, axes = show.plt.subplots(1, len(domains), figsize=size, sharey=True, squeeze=False)
    for axis, domain in zip(axes[0], domains, strict=True):
        for row in (row for row in table if row["domain"] == domain):
            place = len(names) - 1 - names.index(f"{row['claim']} {row['comparison']}")
            low, high = (
                row[end] if row[end] is not None else row["difference"] for end in ("low", "high")
            )
            axis.plot([low, high], [place, place], color=show.BLUE, linewidth=1.4)
            full = row["verdict"] == verdicts.HOLDS
            axis.plot(
                row["difference"], place, "o", color=show.BLUE, mfc=show.BLUE if full else "white"
            )
        axis.axvline(0, color=show.GREY, linewidth=0.8)
        axis.set(title=domain, xlabel="difference of shares")
    axes[0][0].set_yticks(range(len(names) - 1, -1, -1), names)
    keep = ("domain", "claim", "comparison", "difference", "low", "high", "verdict")
    said = [f"{r['domain']}, {r['claim']} {r['comparison']}: {r['difference']:+.3f}" for r in table]
    words = f"Differences between arms with 95 % intervals, filled if they hold: {'; '.join(said)}."
    return fig, [{name: row[name] for name in keep} for row in table], words


def _means(found: verdicts.Scores, tasks: Mapping[str, str]) -> list[Row]:
    """Mean over seeds of some scores for each arm and domain that has all of them."""
    rows = []
    for domain in verdicts.domains_of(found):
        for arm in settings.ALL:
            made = {
                n: verdicts.mean_of(found, domain, arm, *t.split("|")) for n, t in tasks.items()
            }
            if all(made.values()):
                values = {name: one["difference"] for name, one in made.items()}
                rows.append({"domain": domain, "arm": arm, **values})
    return rows


def by_knowledge(found: verdicts.Scores) -> Drawn:
    """Accuracy of each arm on entities in passages, in documents only, and on a held-out task."""
    tasks = {PASSAGES: PASSAGES, DOCUMENTS: DOCUMENTS}
    if any(name[2] == HELD_OUT for name in found):
        tasks[HELD_OUT] = HELD_OUT
    rows = _means(found, tasks)
    domains = sorted({row["domain"] for row in rows}) or [""]
    most = max(sum(row["domain"] == one for row in rows) for one in domains)
    size = (2.4 + 2.6 * len(domains), 1.2 + 0.24 * most)
    fig, axes = show.plt.subplots(1, len(domains), figsize=size, squeeze=False)
    marks = dict(
        zip(tasks, (("o", show.BLUE), ("s", show.VERMILLION), ("^", show.GREEN)), strict=False)
    )
    for axis, domain in zip(axes[0], domains, strict=True):
        own = [row for row in rows if row["domain"] == domain]
        places = list(range(len(own) - 1, -1, -1))
        for name, (mark, colour) in marks.items():
            axis.plot([row[name] for row in own], places, mark, color=colour, label=name)
        axis.set_yticks(places, [row["arm"] for row in own], fontsize=7)
        axis.set(title=domain, xlabel="accuracy", xlim=(-0.03, 1.03))
    axes[0][0].legend(fontsize=7)
    said = [f"{r['domain']} {r['arm']} {r[PASSAGES]:.2f} and {r[DOCUMENTS]:.2f}" for r in rows]
    return fig, rows, f"Accuracy on entities in passages and in documents only: {'; '.join(said)}."


def forgetting(found: verdicts.Scores) -> Drawn:
    """General questions against the mean of tasks, a point an arm."""
    rows = _means(found, {MEAN: MEAN, GENERAL: GENERAL})
    domains = sorted({row["domain"] for row in rows}) or [""]
    size = (1.2 + 2.9 * len(domains), 3.4)
    fig, axes = show.plt.subplots(1, len(domains), figsize=size, squeeze=False, sharey=True)
    for axis, domain in zip(axes[0], domains, strict=True):
        for row in (row for row in rows if row["domain"] == domain):
            axis.plot(row[MEAN], row[GENERAL], linestyle="", **show.look(row["arm"]))
            axis.annotate(
                row["arm"],
                (row[MEAN], row[GENERAL]),
                (3, 3),
                textcoords="offset points",
                fontsize=6,
            )
        axis.set(title=domain, xlabel=MEAN)
    axes[0][0].set_ylabel("general questions")
    said = [f"{r['domain']} {r['arm']} {r[MEAN]:.2f}, {r[GENERAL]:.2f}" for r in rows]
    return fig, rows, f"Mean of tasks and general questions of each arm: {'; '.join(said)}."


def rate_curve(rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """Claim 6 against the peak learning rate: two stages and one mixed stage."""
    drawn = []
    named = ("trait", "one_mixed_stage")
    for domain in sorted({row["domain"] for row in rows}):
        for rate in sorted({row["rate"] for row in rows if row["arm"] in named}):
            found = verdicts.scores(rows, lambda _, rate=rate: rate)
            one = Comparison(6, "two over one", *named)
            if told := list(verdicts.paired(found, domain, one).values()):
                means = {arm: verdicts.mean_of(found, domain, arm)["difference"] for arm in named}
                drawn.append({"domain": domain, "rate": rate, **means, **verdicts.measured(told)})
    domains = sorted({row["domain"] for row in drawn}) or [""]
    size = (1.2 + 2.9 * len(domains), 3.2)
    fig, axes = show.plt.subplots(1, len(domains), figsize=size, squeeze=False, sharey=True)
    for axis, domain in zip(axes[0], domains, strict=True):
        own = [row for row in drawn if row["domain"] == domain]
        for arm in named:
            axis.plot([r["rate"] for r in own], [r[arm] for r in own], label=arm, **show.look(arm))
        axis.set(title=domain, xlabel="peak learning rate", xscale="log")
    axes[0][0].legend()
    axes[0][0].set_ylabel(MEAN)
    said = [f"{r['domain']} at {r['rate']:g} {r['difference']:+.3f}" for r in drawn]
    return fig, drawn, f"Two stages minus one mixed stage by learning rate: {'; '.join(said)}."


def learning(points: Sequence[Mapping[str, Any]], text: str = "domain") -> Drawn:
    """Held-out bits per byte while training, of the arms whose points are given."""
    rows = [dict(row) for row in points if row["text"] == text]
    domains = sorted({row["domain"] for row in rows}) or [""]
    size = (1.2 + 2.9 * len(domains), 3.2)
    fig, axes = show.plt.subplots(1, len(domains), figsize=size, squeeze=False)
    for axis, domain in zip(axes[0], domains, strict=True):
        own = [row for row in rows if row["domain"] == domain]
        for arm in dict.fromkeys(row["arm"] for row in own):
            line = [row for row in own if row["arm"] == arm]
            axis.plot(
                [r["step"] for r in line],
                [r["value"] for r in line],
                label=arm,
                **show.look(arm),
            )
        axis.set(title=domain, xlabel="step")
    axes[0][0].legend(fontsize=6)
    axes[0][0].set_ylabel(f"bits per byte, held-out {text} text")
    return (
        fig,
        rows,
        f"Bits per byte of held-out {text} text against the step, a line for each arm.",
    )
