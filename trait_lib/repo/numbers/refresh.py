"""`make refresh`: the claims card, README's tables and every bound number, from their files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trait_lib import ROOT, records, run
from trait_lib.repo.numbers import marks

RUN = ROOT / "figures" / "run.json"
GROWTH = ROOT / "tests" / "bench" / "results" / "growth.json"
MACHINES = {
    "smoke": ("2 cores", "the replica, tiny: shows that all runs"),
    "replica": ("2 cores", "a generated world, a model trained on the spot (default)"),
    "local": ("2 cores", "your files, a small model trained on them"),
    "laptop": ("2 cores", "your files, SmolLM2-135M"),
    "small": ("1 GPU", "corpora of the Hub, a base model of 135M parameters"),
    "paper": ("8 GPUs", "Mistral-7B, web-scale corpora, a hosted teacher"),
}


def table(*rows: tuple[str, ...]) -> str:
    """Rows as a table of Markdown, the first one its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def comparison(name: str = "04_accuracy") -> str:
    """Base and adapted model in the committed run, as figure and table."""
    file = ROOT / "figures" / f"{name}.csv"
    if not file.exists():
        return "No run is committed yet; `make notebooks` does it."
    with open(file, encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    rows = [(one["name"], one["n"], *(_share(one, arm) for arm in ("base", "adapted")))
            for one in found]  # fmt: skip
    alt = file.with_suffix(".alt.txt").read_text(encoding="utf-8").strip()
    line = re.search(rf"\[{name}\].*", (ROOT / "figures/README.md").read_text(encoding="utf-8"))
    cells = line[0].strip(" |").split(" | ") if line else ["", "not recorded"]
    head = ("share of right answers, few-shot", "questions", "base model", "adapted model")
    where = f"From {cells[-2]}, commit {cells[-1][:12]}: [numbers](figures/{name}.csv)"
    cell = "[notebook 04](notebooks/04_evaluation.ipynb)"
    drawn = f"![{alt}](figures/{name}.png)"
    return f"{drawn}\n\n{table(head, *rows)}\n\n{where}, {cell}. Intervals: 95 %."


def _share(row: Mapping[str, str], arm: str) -> str:
    value, low, high = (float(row[f"{arm}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def claims() -> str:
    """The claims card, from figures/claims."""
    from trait_lib.claims import card

    return card.markdown(card.of_committed())


def kept(file: Path) -> dict[str, Any]:
    """What a file of results holds; nothing where it is not there."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def stages(file: Path = RUN) -> str:
    """What each notebook of the committed run took."""
    found = kept(file)
    if not found:
        return "The stages' times are not recorded yet; `make notebooks` does it."
    rows = [(name, f"{one['wall_seconds']:.0f} s", f"{one['peak_memory_gib']:.1f} GiB")
            for name, one in found.items()]  # fmt: skip
    seconds = sum(one["wall_seconds"] for one in found.values())
    memory = max(one["peak_memory_gib"] for one in found.values())
    last = list(found.values())[-1]
    return "\n".join([
        table(("notebook", "time", "memory"), *rows,
              ("all", f"{seconds:.0f} s", f"{memory:.1f} GiB at most")),
        "", f"Math, replica, seed 0, on {last['machine']}; commit {last['git'][:12]}.",
    ])  # fmt: skip


def tiers() -> str:
    """Time, memory and money of each tier as `make plan` assumes them, nothing measured."""
    from trait_lib.repo import bill, costs

    rows = []
    for tier, (machine, what) in MACHINES.items():
        values = bill.values_of("math", tier)
        assumed = costs.assumed(tier, ROOT / "params")
        one = bill.total([x for make in costs.ITEMS.values() for x in make(values, assumed, {})])
        hours = f"{max(1, 60 * one.hours):.0f} min" if one.hours < 1 else f"{one.hours:.0f} h"
        money = f"{one.money:,.0f} dollars" if one.money else "none"
        rows.append((f"`{tier}`", machine, what, hours, f"{one.memory_gib:.0f} GiB", money))
    return table(("tier", "machine", "text and model", "time", "memory", "money"), *rows)


def growth(file: Path = GROWTH) -> str:
    """How time and memory grow, from `make bench-growth`."""
    found = kept(file)
    if not found:
        return "How time and memory grow is not measured yet; the command is `make bench-growth`."
    return growth_table(found)


def growth_table(found: Mapping[str, Any]) -> str:
    """The results of `make bench-growth` as a table."""
    rows = []
    for what, slopes in found["exponents"].items():
        cells = [f"{r['size']:,} {r['unit']}: {r['seconds']:.1f} s, {r['memory_mb']:.0f} MB"
                 for r in found["rows"] if r["what"] == what]  # fmt: skip
        rows.append((what, *cells, *(f"{slopes[n]:.2f}" for n in ("seconds", "memory_mb"))))
    head = ("work", "1 time", "4 times", "16 times", "exponent of the time", "of the memory")
    told = f"`{found['command']}` on {found['cores']} CPU cores, {found['date']}"
    said = f"{told}. An exponent of 1 is proportion, 0 no growth at all."
    return f"{table(head, *rows)}\n\n{said}"


PIECES: Mapping[str, Callable[[], str]] = {
    one.__name__: one for one in (comparison, claims, stages, tiers, growth)
}


def keep_run(values_of: Mapping[str, Mapping[str, Any]], file: Path = RUN) -> None:
    """Keep what a run found and cost, for texts to be bound to: stage -> part of its manifest."""
    names = ("results", "wall_seconds", "cpu_seconds", "peak_memory_gib", "machine", "git")
    found = {}
    for stage, values in values_of.items():
        manifest = records.read_json(run.stage_dir(stage, values) / "manifest.json")
        found[stage] = {name: manifest.get(name) for name in names}
    records.write_json(file, found)


def all_texts(write: bool = True) -> list[Path]:
    """Refresh the claims card, README and the notebooks' text; which files were not up to date?

    Raises:
        marks.BadKey: a mark leads nowhere; names file and mark.
    """
    from trait_lib.claims import card

    made, changed = card.of_committed(), []
    if kept(card.FILE) != made:
        changed.append(card.FILE)
        if write:
            records.write_json(card.FILE, made)
    for path in marks.texts():
        try:
            changed += [path] if marks.refresh(path, PIECES, write) else []
        except marks.BadKey as error:
            raise marks.BadKey(f"{run.show(path)}: {error}") from None
    return changed
