"""Is a notebook's last run still right, and if not, why? The Makefile asks before each stage.

A run is described by what decides its result: the notebook's code, its parameters, the code of
`trait_lib` that it reaches, the pinned packages and the content of what it read. The description
is stored beside the executed notebook when the run succeeds, and compared before the next one.
Times of files decide nothing, so `touch` and `git clone` rerun nothing.
Not stated in the paper; ours because a result must follow from what stands on the disk.

Nothing heavy is imported here: the question costs a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trait_lib import ROOT, code, params, records, run

Values = dict[str, Any]


# --- places -----------------------------------------------------------------------------------


def notebook_of_run(stage: str, values: Mapping[str, Any], kind: str = "") -> Path:
    """The executed notebook of a stage, beside the stage's folder.

    `kind` is "" for the finished one, "running" or "failed".
    """
    suffix = f".{kind}.ipynb" if kind else ".ipynb"
    return run.stage_dir(stage, values).with_suffix(suffix)


def is_dry(values: Mapping[str, Any]) -> bool:
    """Whether a run with these parameters only says what it would do."""
    return bool(values.get("dry_run"))


def key_path(stage: str, values: Mapping[str, Any]) -> Path:
    """The file that describes the stage's last successful run."""
    return run.stage_dir(stage, values).with_suffix(".key.json")


# --- parameters -------------------------------------------------------------------------------


def resolve(stage: str, file: Path | None, given: Mapping[str, Any]) -> Values:
    """The parameters that a run of `stage` gets: defaults, then the file if any, then those given.

    Given values that the notebook does not declare are left out, so that one command line serves
    all stages (only 03 and 04 have an arm, only 00 a data_dir).

    Raises:
        ParameterError: the file is missing, or holds an unknown, mistyped or forbidden value.
    """
    known = params.declared(stage)
    if file and not file.exists():
        raise params.ParameterError(
            f"{run.on_this_machine(file)}: no such file; a tier needs one for every notebook, "
            "empty where the defaults will do"
        )
    from_file = params.read_file(file) if file else {}
    params.validate(from_file, known, run.on_this_machine(file or ROOT))
    given = {name: value for name, value in given.items() if name in known}
    params.validate(given, known, stage)
    defaults = {name: parameter.default for name, parameter in known.items()}
    return {**defaults, **from_file, **given}


# --- what decides a result --------------------------------------------------------------------


def code_cells(stage: str) -> list[str]:
    """The sources of a notebook's code cells, without the one that declares its parameters."""
    return [
        cell["source"]
        for cell in params.cells_of(params.notebook_path(stage))
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]


def pins() -> dict[str, str]:
    """The locked versions of the packages that decide results."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if "==" in line and line[0] != "#")
    return {name: locked.get(name, "") for name in run.RECORDED_PACKAGES}


# --- what was read ----------------------------------------------------------------------------


def fingerprint(path: Path) -> str:
    """Names, sizes and times of a file or of all files below a folder: a quick look, no content."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(f.relative_to(path)), f.stat()) for f in files if f.is_file()]
    return run.hash_value([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def current_input(name: str, values: Mapping[str, Any], old: Mapping[str, Any]) -> str | None:
    """The hash of an input as it is now; None when it is gone.

    An earlier stage's output is looked up in that stage's manifest. A user's file is hashed
    again unless its fingerprint is the one stored in `old`.
    """
    stage, _, rest = name.partition("/")
    if stage in run.STAGES:
        return _output_hash(run.stage_dir(stage, values) / "manifest.json", rest)
    path = params.titled(name)
    if not path.exists():
        return None
    if old.get("fingerprints", {}).get(name) == fingerprint(path):
        return old["inputs"].get(name)
    return run.hash_path(path)


def _output_hash(manifest: Path, name: str) -> str | None:
    """The hash that `run.hash_path` gives for a stage's output, from the stage's manifest."""
    if not manifest.exists():
        return None
    outputs = records.read_json(manifest)["outputs"]
    if name in outputs:
        return outputs[name]
    inside = sorted(Path(output) for output in outputs if Path(name) in Path(output).parents)
    parts = [f"{path.relative_to(name)}:{outputs[str(path)]}" for path in inside]
    return run.hash_value(parts) if parts else None


# --- the key ----------------------------------------------------------------------------------


def code_key(stage: str, values: Values) -> dict[str, Any]:
    """What decides a run before it starts: parameters, code and packages."""
    cells = code_cells(stage)
    return {
        "parameters": values,
        "notebook": [code.hash_source(cell) for cell in cells],
        "modules": {str(f.relative_to(ROOT)): code.hash_file(f) for f in code.source_files(cells)},
        "packages": pins(),
    }


def why_stale(stage: str, values: Values) -> str | None:
    """Why the stage has to run, in words; None when its last run still stands."""
    if is_dry(values):
        return "dry run"
    path, folder = key_path(stage, values), run.stage_dir(stage, values)
    if not path.exists() or not notebook_of_run(stage, values).exists():
        return "not run yet"
    old, new = records.read_json(path), code_key(stage, values)
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return "its last run did not end, or its results were removed"
    if run.hash_file(manifest) != old["manifest"]:
        return "its results were written again outside of make"
    outputs = records.read_json(manifest)["outputs"]
    if missing := [name for name in outputs if not (folder / name).exists()]:
        return f"missing result: {', '.join(missing)}"
    for part in ("parameters", "modules", "packages"):
        if changed := changes(old[part], new[part]):
            return f"{part} changed: {', '.join(changed)}"
    if old["notebook"] != new["notebook"]:
        return "code of the notebook changed"
    now = {name: current_input(name, values, old) for name in old["inputs"]}
    if changed := changes(old["inputs"], now):
        return f"input changed: {', '.join(changed)}"
    return None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names whose values differ, in order."""
    names = dict.fromkeys([*old, *new])
    return [name for name in names if old.get(name) != new.get(name) or name not in old]


def why_no_dry_run(stage: str, values: Values) -> str:
    """Why a dry run of the stage can say nothing yet, in words, or "".

    It reads what notebook 00 wrote, unless its parameters name all that it reads.
    """
    first = run.STAGES[0]
    alone = values.get("base_model") or (values.get("seed_files") and values.get("corpus_files"))
    if stage == first or alone or (run.stage_dir(first, values) / "manifest.json").exists():
        return ""
    return f"its dry run reads what {first} writes; `make plan` needs no stage"


def start(stage: str, values: Values) -> Path:
    """Keep the key of the run that now begins; return where papermill writes the notebook."""
    running = notebook_of_run(stage, values, "running")
    running.parent.mkdir(parents=True, exist_ok=True)
    # the key is taken before the run: an edit made while it runs counts as not yet run
    records.write_json(key_path(stage, values).with_suffix(".next"), code_key(stage, values))
    return running


def finish(stage: str, values: Values) -> Path:
    """Store the key of the run that has succeeded and give its notebook its name.

    A dry run leaves its notebook beside that of the last real run, and nothing else changes.

    Raises:
        RuntimeError: the notebook ran to its end without `stage.close`.
    """
    running = notebook_of_run(stage, values, "running")
    if is_dry(values):
        key_path(stage, values).with_suffix(".next").unlink()
        return running.replace(notebook_of_run(stage, values, run.DRY[1:]))
    manifest = run.stage_dir(stage, values) / "manifest.json"
    if not manifest.exists():
        raise RuntimeError(f"{stage}: the notebook wrote no manifest; end it with stage.close(...)")
    inputs = records.read_json(manifest)["inputs"]
    mine = [name for name in inputs if name.partition("/")[0] not in run.STAGES]
    path = key_path(stage, values)
    pending = path.with_suffix(".next")
    key = {
        **records.read_json(pending),
        "inputs": inputs,
        "fingerprints": {
            name: fingerprint(file) for name in mine if (file := params.titled(name)).exists()
        },
        "manifest": run.hash_file(manifest),
    }
    done = notebook_of_run(stage, values)
    running.replace(done)
    notebook_of_run(stage, values, "failed").unlink(missing_ok=True)
    records.write_json(path, key)
    pending.unlink()
    return done


# --- a failed run -----------------------------------------------------------------------------


def fail(stage: str, values: Values) -> str:
    """Keep a failed run's notebook under a name that says so; return the report to print."""
    running = notebook_of_run(stage, values, "running")
    log = notebook_of_run(stage, values).with_suffix(".log")
    if not running.exists():
        return f"{stage} did not start:\n" + _indent(_last_lines(log))
    kept = running.replace(notebook_of_run(stage, values, "failed"))
    cell, what = error_of(kept)
    return (
        f"{stage} failed{cell}:\n\n{_indent(what or _last_lines(log))}\n\n"
        f"Kept, with every output up to the error: {run.on_this_machine(kept)}"
    )


def error_of(path: Path) -> tuple[str, str]:
    """Where a notebook stopped and the error's name and message (the traceback stays in it)."""
    for cell in params.cells_of(path):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                first = next(iter(cell["source"].splitlines()), "")
                text = "\n".join(f"{output['ename']}: {output['evalue']}".splitlines()[:25])
                return f" in cell [{cell['execution_count']}] ({first[:60]})", text
    return "", ""


def _last_lines(log: Path, count: int = 5) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line[:300] for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def cost(stage: str, values: Mapping[str, Any]) -> str:
    """What a finished stage cost, in words."""
    manifest = records.read_json(run.stage_dir(stage, values) / "manifest.json")
    return f"{manifest['wall_seconds']:.0f} s, peak memory {manifest['peak_memory_gib']:.1f} GiB"
