"""What came out of a run, on one screen: the comparison, and where to look further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trait_lib import records, run
from trait_lib.repo import chain
from trait_lib.show import text_table

LAST = "04_evaluation"


def of_run(values: Mapping[str, Any]) -> str:
    """The comparison that 04_evaluation wrote, what the run cost, and where its pages are.

    Raises:
        StageMissing: the run has not been finished.
    """
    folder = run.stage_dir(LAST, values)
    run.require(LAST, folder)
    summary = records.read_json(folder / "summary.json")
    manifests = [
        records.read_json(run.stage_dir(stage, values) / "manifest.json") for stage in run.STAGES
    ]
    seconds = sum(one["wall_seconds"] for one in manifests)
    memory = max(one["peak_memory_gib"] for one in manifests)
    page = chain.notebook_of_run(LAST, values).with_suffix(".html")
    start = run.runs_dir() / values["domain"] / values["tier"] / "index.html"
    what = "{domain}, {tier} tier, arm {arm}, seed {seed}".format_map(values)
    return "\n".join(
        [
            "",
            what,
            "",
            text_table(summary["table"], summary.get("columns", ())),
            "",
            *summary.get("notes", []),
            f"cost: {seconds:.0f} s, peak memory of a process {memory:.1f} GiB",
            f"this comparison: {run.on_this_machine(page)}",
            f"all notebooks, rendered: {run.on_this_machine(start)}",
        ]
    )
