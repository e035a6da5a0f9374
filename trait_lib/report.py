"""What came out of a run, on one screen: the comparison, and where to look further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trait_lib import chain, records, run

LAST = run.STAGES[-1]


def text_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as aligned text: words to the left, numbers to the right, a missing value empty.

    `columns` says which keys are shown and in what order; without it, all in order of appearance.
    """
    columns = list(columns or dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


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
            f"this comparison: {run.show(page)}",
            f"all notebooks, rendered: {run.show(start)}",
        ]
    )
