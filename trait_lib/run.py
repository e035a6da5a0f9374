"""The run folder: where a stage writes, what it read, and the manifest that proves both.

    runs/<domain>/<tier>/data/seed<k>/00_start_here, 01_data_selection, 02_passage_generation
    runs/<domain>/<tier>/<arm>/seed<k>/03_two_stage_training, 04_evaluation
    runs/cache/<name>-<hash of its inputs>/

The first three stages do not depend on the arm, so all arms read the same ones. A stage is
finished when its `manifest.json` stands; it is written last and removed first.
Not stated in the paper; ours because a result without a manifest cannot be checked.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from trait_lib import ROOT, records
from trait_lib import params as parameters

STAGES = (
    "00_start_here",
    "01_data_selection",
    "02_passage_generation",
    "03_two_stage_training",
    "04_evaluation",
    "05_claims",
)
SHARED_STAGES = STAGES[:3]
SCRATCH = "scratch"
CHANGED = "+changes"
DRY = ".dry_run"  # ends the names of what a dry run leaves, beside those of the real run
RECORDED_PACKAGES = (
    "torch transformers accelerate deepspeed fasttext-community openai datasets tokenizers "
    "papermill numpy scikit-learn math-verify"
).split()


class StageMissing(RuntimeError):
    """A stage that this one reads from has not been run to its end."""


class StageBusy(RuntimeError):
    """Another process is writing to the stage's folder."""


def runs_dir() -> Path:
    """The folder of all runs: `$TRAIT_RUNS` (relative to the repository), or `runs` in it."""
    return (ROOT / (os.environ.get("TRAIT_RUNS") or "runs")).resolve()


def show(path: str | Path) -> str:
    """A path as readers should see it: relative to the repository or the runs folder."""
    path = Path(path).resolve()
    for base, prefix in ((runs_dir(), Path("runs")), (ROOT, Path())):
        if path.is_relative_to(base):
            return str(prefix / path.relative_to(base))
    return str(path)


def on_this_machine(path: str | Path) -> str:
    """A path to be opened from the terminal: relative to the repository when it is inside it."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def stage_dir(name: str, params: Mapping[str, Any]) -> Path:
    """The folder of stage `name` for the domain, tier, arm and seed in `params`."""
    arm = "data" if name in SHARED_STAGES else params["arm"]
    return runs_dir() / params["domain"] / params["tier"] / arm / f"seed{params['seed']}" / name


def folder_of(name: str, params: Mapping[str, Any]) -> Path:
    """The folder that a run with these parameters writes to: the stage's, or the dry run's."""
    folder = stage_dir(name, params)
    return folder.with_name(f"{name}{DRY}") if params.get("dry_run") else folder


# --- hashes -----------------------------------------------------------------------------------


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_path(path: str | Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder.

    Hidden files and scratch folders do not count, as in a manifest's outputs.
    """
    path = Path(path)
    if path.is_file():
        return hash_file(path)
    return hash_value([f"{f.relative_to(path)}:{hash_file(f)}" for f in _result_files(path)])


def _result_files(folder: Path) -> list[Path]:
    """All files below a folder, in order, but for hidden ones and those in scratch folders."""
    below = ((f, f.relative_to(folder)) for f in sorted(folder.rglob("*")) if f.is_file())
    return [f for f, name in below if f.name[0] != "." and SCRATCH not in name.parts[:-1]]


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON value; dictionaries hash the same in any order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# --- a stage ----------------------------------------------------------------------------------


@dataclass
class Stage:
    """One notebook's folder, with what it read. Make it with `open_stage`."""

    name: str
    folder: Path
    params: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.time)

    def path(self, name: str) -> Path:
        """The path of this stage's own output `name`."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def scratch(self, name: str = "") -> Path:
        """A path for what this stage needs and no reader wants: no output, kept for a resume."""
        return self.path(f"{SCRATCH}/{name}")

    def read(self, stage: str, name: str) -> Path:
        """The path of an earlier stage's output, recorded as an input of this one.

        Raises:
            StageMissing: that stage has not finished, or did not write `name`.
        """
        folder = stage_dir(stage, self.params)
        require(stage, folder)
        path = folder / name
        if not path.exists():
            raise StageMissing(f"{show(folder)} holds no {name}; run notebook {stage} again")
        self.inputs[f"{stage}/{name}"] = hash_path(path)
        return path

    def external(self, path: str | Path) -> Path:
        """The path of a user's file, recorded as an input; a relative one starts in the folder of
        one's own parameters or in the repository.

        Raises:
            FileNotFoundError: there is no such file or folder.
        """
        path = parameters.locate(path).resolve()
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; check the path in the parameters")
        self.inputs[parameters.title(path)] = hash_path(path)
        return path

    def close(self, results: Mapping[str, Any] | None = None) -> Path:
        """Write `manifest.json`: the stage is finished from here on. Returns its path."""
        outputs = {
            str(file.relative_to(self.folder)): hash_file(file)
            for file in _result_files(self.folder)
            if file.name != "manifest.json"
        }
        manifest = {
            "stage": self.name,
            "parameters": self.params,
            "inputs": self.inputs,
            "outputs": outputs,
            "results": dict(results or {}),
            "packages": {name: metadata.version(name) for name in RECORDED_PACKAGES},
            "python": platform.python_version(),
            "machine": machine(),
            "git": git_commit(),
            **_cost_since(self.started),
        }
        records.write_json(self.folder / "manifest.json", manifest)
        _let_go(self.folder)
        return self.folder / "manifest.json"


def open_stage(name: str, params: Mapping[str, Any], standalone: bool = False) -> Stage:
    """Begin stage `name`: make its folder and withdraw a manifest of an earlier run.

    Files of an interrupted run stay, so that the stage can resume from them. With a parameter
    `dry_run` that is true, a folder beside the stage's is used and nothing is required; nor is
    it when the stage is `standalone`, because its parameters name all the files that it reads.

    Raises:
        StageMissing: the notebook before this one has not finished; the message says what to run.
        StageBusy: another process has begun it and has not closed it.
    """
    if params.get("dry_run"):
        return Stage(name, folder_of(name, params), dict(params))
    before = STAGES[STAGES.index(name) - 1] if name != STAGES[0] else None
    if before and not standalone:
        require(before, stage_dir(before, params))
    folder = stage_dir(name, params)
    _hold(folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    return Stage(name, folder, dict(params))


_held: dict[Path, IO[str]] = {}  # locks of this process, by folder; the system ends them with it


def _hold(folder: Path) -> None:
    """Keep other processes out of a stage's folder until it is closed or this process ends."""
    if folder in _held:
        return
    file = folder / SCRATCH / "writing"
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = open(file, "a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        who = lock.read().strip() or "another process"
        lock.close()
        raise StageBusy(
            f"{who} is writing to {show(folder)}. Wait for it, or stop it; in JupyterLab, restart "
            "the kernel of the notebook that it runs"
        ) from None
    except OSError:  # a file system without locks
        pass
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {platform.node()}, since {time.ctime()},")
    lock.flush()
    _held[folder] = lock


def _let_go(folder: Path) -> None:
    if lock := _held.pop(folder, None):
        lock.close()


def require(stage: str, folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished stage.

    Raises:
        StageMissing: there is none; the message names the notebook to run first.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise StageMissing(
            f"notebook {stage} has not been run to its end for this domain, tier and seed "
            f"({show(folder)} has no manifest). Run notebooks/{stage}.ipynb first, with the same "
            "domain, tier and seed, or `make reproduce`."
        )
    return records.read_json(path)


def cached(name: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """Return the folder `runs/cache/<name>-<hash of key>`, built by `build(folder)` when absent.

    `key` must hold everything that decides the content (settings and hashes of inputs). The
    folder becomes visible only when `build` has succeeded.
    """
    folder = runs_dir() / "cache" / f"{name}-{hash_value(key)[:16]}"
    lock_file = folder.parent / "locks" / folder.name
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that want the same folder: one builds it
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            partial.mkdir(exist_ok=True)
            build(partial)
            records.write_json(partial / "key.json", key)
            partial.rename(folder)
    return folder


def git_commit() -> str:
    """The commit of the checkout, with `+changes` when files differ, or `unknown`."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", f"--dirty={CHANGED}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """The kind of machine in words: system, processor and cores, no name and no address."""
    lines = Path("/proc/cpuinfo")
    text = lines.read_text(encoding="utf-8", errors="replace") if lines.exists() else ""
    model = re.search(r"(?m)^model name\s*: (.*)$", text)
    processor = model[1].strip() if model else platform.processor() or platform.machine()
    return f"{platform.system()} {platform.machine()}, {processor}, {os.cpu_count()} cores"


def _cost_since(started: float) -> dict[str, float]:
    """Wall seconds since `started`; CPU seconds and peak memory, children included."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(who) for who in whose]
    return {
        "wall_seconds": round(time.time() - started, 2),
        "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in usage), 2),
        "peak_memory_gib": round(max(map(peak_gib, whose)), 3),
    }


def peak_gib(whose: int) -> float:
    """Peak memory in GiB of this process or of its children, as `resource.getrusage` numbers them.

    Linux counts it in KiB, macOS in bytes.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(whose).ru_maxrss * unit / 2**30


def stop_here(reason: str) -> None:
    """Let every later cell of this notebook do nothing: how a dry run ends without an error."""
    import ast

    from IPython import get_ipython

    class Nothing(ast.NodeTransformer):
        """Empties a cell."""

        def visit(self, node: ast.AST) -> ast.AST:
            return ast.Module(body=[], type_ignores=[])

    shell = get_ipython()
    if shell is None:
        raise SystemExit(reason)
    print(f"{reason} The cells below do nothing until the kernel is restarted.")
    shell.ast_transformers.append(Nothing())
