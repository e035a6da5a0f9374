"""The committed notebooks and figures, from a finished run: `make notebooks`.

The text and code come from the notebook as it stands, the outputs from the run of the same code,
so that what a reader sees in the repository is what the run printed. Not stated in the paper;
ours because committed results that nobody can make again prove nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from trait_lib import ROOT, params, records, run
from trait_lib.repo import chain
from trait_lib.repo.pages import merge_streams

FIGURES = ROOT / "figures"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


class NotPublishable(RuntimeError):
    """A run whose notebooks cannot be committed; the message says what to do."""


def refuse_changes() -> None:
    """Let nothing be published that no commit holds.

    Raises:
        NotPublishable: files differ from the last commit, or are new; the message names them.
    """
    command = ["git", "-C", str(ROOT), "status", "--porcelain"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:  # without git nothing can be committed
        return
    if changed := [line[3:] for line in done.stdout.splitlines()]:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise NotPublishable(
            f"uncommitted changes: {', '.join(changed[:5])}{more}. What is committed as a result "
            "must come from committed code: commit or stash them first"
        )


def with_outputs(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The notebook `source` with the outputs of `executed`, a run of the same code.

    papermill's injected cell, its marks and all times are left out.
    """
    merged = deepcopy(source)
    mine = [cell for cell in merged.cells if cell.cell_type == "code"]
    theirs = [
        cell
        for cell in executed.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for number, (cell, ran) in enumerate(zip(mine, theirs, strict=True), start=1):
        cell.execution_count = number
        cell.outputs = [_clean(output, number) for output in merge_streams(ran.outputs)]
    for cell in merged.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
    merged.metadata = nbformat.from_dict(METADATA)
    return merged


def _clean(output: NotebookNode, number: int) -> NotebookNode:
    if "execution_count" in output:
        output.execution_count = number
    output.get("metadata", {}).pop("papermill", None)
    return output


def machine_marks(notebook: NotebookNode) -> list[str]:
    """What in a notebook's outputs belongs to this machine or this moment, cell by cell."""
    places = {str(ROOT), str(run.runs_dir()), str(Path.home()), sys.prefix, "/tmp/"}
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts = [output.get("text", ""), *(v for k, v in data.items() if k[:5] != "image")]
            text = "".join(str(t) for t in texts)
            marks = [place for place in sorted(places) if place in text] + TIME.findall(text)
            if output.get("name") == "stderr":
                marks.append("output on stderr: " + text.strip()[:200])
            found += [f"cell [{cell.execution_count}]: {mark}" for mark in marks]
    return found


def notebook_from_run(stage: str, values: Mapping[str, Any]) -> NotebookNode:
    """The committed form of a stage's notebook, from its last run.

    Raises:
        NotPublishable: the run is stale, had other parameters than the notebook's own, or its
            outputs name the machine.
    """
    manifest = run.stage_dir(stage, values) / "manifest.json"
    if manifest.exists() and records.read_json(manifest)["git"].endswith(run.CHANGED):
        raise NotPublishable(
            f"{stage}: {run.show(manifest)} is of a run with uncommitted changes; remove the file "
            "and make the run again"
        )
    if reason := chain.why_stale(stage, dict(values)):
        raise NotPublishable(f"{stage}: {reason}; run `make reproduce` first")
    own = {name: one.default for name, one in params.declared(stage).items()}
    if other := chain.changes(own, values):
        raise NotPublishable(f"{stage}: not run with the notebook's own {', '.join(other)}")
    source = nbformat.read(params.notebook_path(stage), as_version=4)
    executed = nbformat.read(chain.notebook_of_run(stage, values), as_version=4)
    merged = with_outputs(source, executed)
    if marks := machine_marks(merged):
        raise NotPublishable(f"{stage}: in its outputs stand\n  " + "\n  ".join(marks))
    return merged


def copy_figures(stage: str, values: Mapping[str, Any]) -> list[str]:
    """Copy a stage's figures into `figures/`; return the lines of their table."""
    folder = run.stage_dir(stage, values)
    commit = records.read_json(folder / "manifest.json")["git"]
    lines = []
    for drawn in sorted((folder / "figures").glob("*.png")):
        name = f"{stage[:2]}_{drawn.stem}"
        for suffix in (".png", ".svg", ".csv", ".alt.txt"):
            shutil.copyfile(drawn.with_suffix(suffix), FIGURES / f"{name}{suffix}")
        alt = drawn.with_suffix(".alt.txt").read_text(encoding="utf-8").strip()
        shown = alt.replace("|", "\\|")
        where = run.show(folder)
        lines.append(
            f"| [{name}]({name}.png), [SVG]({name}.svg) | [data]({name}.csv) | {shown} "
            f"| `{where}` | {commit} |"
        )
    return lines


def publish(values_of: Mapping[str, chain.Values]) -> list[Path]:
    """Write `notebooks/` and `figures/` from a run (stage -> its parameters).

    Everything is checked before anything is written. Returns the files that changed.
    """
    ready = {stage: notebook_from_run(stage, values) for stage, values in values_of.items()}
    changed = []
    for stage, notebook in ready.items():
        path = params.notebook_path(stage)
        text = nbformat.writes(notebook) + "\n"
        if text != path.read_text(encoding="utf-8"):
            with records.atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            changed.append(path)
    FIGURES.mkdir(exist_ok=True)
    for stage in values_of:
        for old in FIGURES.glob(f"{stage[:2]}_*.*"):
            old.unlink()
    rows = [line for stage, values in values_of.items() for line in copy_figures(stage, values)]
    head = [
        "# Figures",
        "",
        "Written by `make notebooks`. Each figure is a PNG and an SVG, the numbers that it plots "
        "(CSV) and its words (`.alt.txt`); the same run gives the same files. Licence: CC BY 4.0. "
        "[method.svg](method.svg), the method in one picture, is by `python -m trait_lib picture`.",
        "",
        "| figure | numbers | what it shows | run | commit of the code |",
        "|---|---|---|---|---|",
    ]
    (FIGURES / "README.md").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
    return changed
