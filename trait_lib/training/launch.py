"""Start a training as a subprocess, follow its log, and show its error when it fails.

Paper: DeepSpeed ZeRO stage 1. The launcher, torchrun, is ours: it works alike on CPU ranks, GPUs
and several machines.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from trait_lib import ROOT, records
from trait_lib.run import show
from trait_lib.training import checkpoints, engine, plan
from trait_lib.training import config as settings

ENTRY = ("-m", "trait_lib.training.train", "--config")
POLL_SECONDS = 0.2


def command(
    config_path: Path, processes: int = 1, nodes: int = 1, launcher: str = "torchrun"
) -> list[str]:
    """The command that trains by hand: `processes` ranks on each of `nodes` machines.

    On several machines run it on each one, with `--rdzv-backend=c10d --rdzv-endpoint=HOST:PORT` of
    the first after `--nproc-per-node`; with launcher="deepspeed" a hostfile does that.
    """
    entry = [*ENTRY, str(config_path)]
    if launcher == "deepspeed":
        ranks = [f"--num_gpus={processes}", f"--num_nodes={nodes}"]
        return ["deepspeed", *ranks, "--module", *entry[1:]]
    if processes == 1 and nodes == 1:
        return [sys.executable, *entry]
    where = ["--standalone"] if nodes == 1 else [f"--nnodes={nodes}"]
    ranks = f"--nproc-per-node={processes}"
    return [sys.executable, "-m", "torch.distributed.run", *where, ranks, *entry]


def show_command(config_path: Path, processes: int = 1) -> str:
    """The same command as a reader types it in the repository's top folder."""
    words = command(Path(show(config_path)), processes)
    return shlex.join(["python", *words[1:]])


def write(folder: Path, config: Mapping[str, Any], processes: int) -> plan.Plan:
    """Write `config.json`, `deepspeed.json`, `plan.npy` and `plan.json`; return the plan.

    Raises:
        settings.ConfigError, plan.PlanError, FileNotFoundError, shards.EmptySource: bad input,
            named; nothing has been started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    full = settings.check(config)
    zero = engine.deepspeed_config(full, processes)
    laid_out = plan.prepare(full)
    records.write_json(folder / "config.json", full)
    records.write_json(folder / "deepspeed.json", zero)
    plan.save(laid_out, folder)
    return laid_out


def run(folder: str | Path, config: Mapping[str, Any], processes: int = 1) -> Path:
    """Train as `config` says, in `folder`, with `processes` ranks; return the model's folder.

    A run that was interrupted continues from its newest complete checkpoint; one that has finished
    with the same settings and data is not repeated. While it runs, a line with step, loss, speed
    and remaining time is shown (not when the output is no terminal or TQDM_DISABLE=1).

    Raises:
        settings.ConfigError, plan.PlanError, FileNotFoundError, shards.EmptySource: bad input,
            named; nothing has been started.
        RuntimeError: the training failed; the message ends with its own error.
    """
    folder = Path(folder).resolve()
    laid_out = write(folder, config, processes)
    who = checkpoints.identity(settings.check(config), laid_out.hash, processes)
    if finished(folder, who):
        return folder / "model"
    _clear(folder)
    with open(folder / "train.out", "wb") as output, _child(folder, processes, output) as child:
        _follow(child, folder / "log.jsonl", laid_out)
    if child.returncode or not (folder / "finished.json").exists():
        raise RuntimeError(_explain(folder, child.returncode))
    return folder / "model"


def _clear(folder: Path) -> None:
    """Remove what a finished run left for its own continuation, and the errors of earlier ones."""
    if (folder / "finished.json").exists():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for old in [*folder.glob("failure-*.json"), folder / "finished.json"]:
        old.unlink(missing_ok=True)


def finished(folder: Path, who: Mapping[str, Any]) -> bool:
    """Whether `folder` already holds the model of this very run."""
    path = folder / "finished.json"
    if not (path.exists() and (folder / "model").exists()):
        return False
    return records.read_json(path)["identity"] == json.loads(json.dumps(who))


@contextmanager
def _child(folder: Path, processes: int, output: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """The training, in a process group of its own that ends when the block does."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(":"),
    }
    child = subprocess.Popen(
        command(folder / "config.json", processes),
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:  # the reader interrupted the cell
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _follow(child: subprocess.Popen[bytes], log: Path, laid_out: plan.Plan) -> None:
    """Show a live line until the child has ended."""
    seen = 0
    with _live_line(laid_out.steps) as show_line:
        while True:
            ended = child.poll() is not None
            lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
            if len(lines) > seen and lines[-1].endswith("}"):
                seen = len(lines)
                last = json.loads(lines[-1])
                speed = f"{last['tokens_per_second'] / 1000:.1f}k tokens/s"
                show_line(last["step"], f"{last['stage']}, loss {last['loss']:.3f}, {speed}")
            if ended:
                return
            time.sleep(POLL_SECONDS)


@contextmanager
def _live_line(steps: int) -> Iterator[Callable[[int, str], None]]:
    """A function that shows (step, text): a bar in a terminal, one changing line in a notebook."""
    from IPython import get_ipython
    from IPython.display import display

    in_kernel = getattr(get_ipython(), "kernel", None) is not None
    if in_kernel and os.environ.get("TQDM_DISABLE", "0") in ("", "0"):
        started = time.time()
        place = display({"text/plain": "starting"}, raw=True, display_id=True)

        def show_line(step: int, text: str) -> None:
            left = (time.time() - started) / max(1, step) * (steps - step)
            line = f"step {step} of {steps}, {text}, about {left:.0f} s left"
            place.update({"text/plain": line}, raw=True)

        yield show_line
        return
    with tqdm(total=steps, unit="step", desc="training", disable=None) as bar:

        def move_bar(step: int, text: str) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(text)

        yield move_bar


def _explain(folder: Path, code: int) -> str:
    """What went wrong: the first rank's own error, or the last lines of the output."""
    failures = [records.read_json(path) for path in folder.glob("failure-*.json")]
    own = sorted(failures, key=lambda failure: failure["at"])  # the others fail for lack of it
    tail = (folder / "train.out").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    said = f"rank {own[0]['rank']}: {own[0]['error']}" if own else "\n".join(tail)
    advice = ""
    if "out of memory" in said.lower() or code in (-9, 137):
        advice = (
            "\nIf memory ran out (a killed process says no more): halve micro_batch_rows, or set "
            "gradient_checkpointing: true."
        )
    return (
        f"the training ended with exit code {code}; {said}{advice}\n"
        f"Its whole output is in {show(folder / 'train.out')}."
    )
