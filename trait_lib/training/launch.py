"""Start a training as a subprocess, follow its log, and show its error when it fails.

Paper: DeepSpeed ZeRO stage 1. The launcher, torchrun, is ours: it works alike on CPU ranks, GPUs
and several machines.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from trait_lib import ROOT, params, pretrained, records
from trait_lib.run import SCRATCH, on_this_machine, runs_dir, show
from trait_lib.training.checks import preflight
from trait_lib.training.data import plan
from trait_lib.training.loop import checkpoints, engine, heldout
from trait_lib.training.loop import config as settings
from trait_lib.training.loop.model import described

ENTRY = ("-m", "trait_lib.training.loop.train", "--config")
DEEPSPEED_ENVIRONMENT = f"{SCRATCH}/deepspeed_env"
POLL_SECONDS = 0.2
OUT_OF_MEMORY = ("out of memory", "memoryerror", "can't allocate memory", "cannot allocate memory")
# where the ranks of several machines find each other, and which training they are of
MEETING = ("--rdzv-id=${SLURM_JOB_ID:-trait}", "--rdzv-endpoint=${HEAD}:${PORT:-29500}")
RECENT_STEPS = 50  # whose mean duration tells the remaining time


class Elsewhere(RuntimeError):
    """A training over several machines that this process cannot start; says how to start it."""


def command(
    config_path: Path | str, processes: int = 1, nodes: int = 1, hostfile: str = ""
) -> list[str]:
    """The command that trains by hand: `processes` ranks on each of `nodes` machines.

    On several machines it is run on each one, where HEAD in the environment names the first and
    PORT a free port of it; with a DeepSpeed hostfile (a line `name slots=8` a machine) it is run
    once, and reaches the others by ssh.
    """
    entry = [*ENTRY, str(config_path)]
    if hostfile:
        where = [f"--hostfile={hostfile}", f"--num_nodes={nodes}", f"--num_gpus={processes}"]
        return [sys.executable, "-m", "deepspeed.launcher.runner", *where, "--module", *entry[1:]]
    if processes == 1 and nodes == 1:
        return [sys.executable, *entry]
    meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", *MEETING]
    where = ["--standalone"] if nodes == 1 else meeting
    ranks = f"--nproc-per-node={processes}"
    return [sys.executable, "-m", "torch.distributed.run", *where, ranks, *entry]


def show_command(config_path: Path, processes: int = 1, nodes: int = 1, hostfile: str = "") -> str:
    """The same command as it is typed in the repository's top folder, for any TRAIT_RUNS."""
    path = show(config_path)
    if path.startswith("runs/"):
        path = "${TRAIT_RUNS:-runs}/" + path.removeprefix("runs/")
    words = command(path, processes, nodes, hostfile)
    return " ".join(
        ["python", *(f'"{word}"' if "$" in word else shlex.quote(word) for word in words[1:])]
    )


def write(folder: Path, config: Mapping[str, Any], processes: int, nodes: int = 1) -> plan.Plan:
    """Write configuration, DeepSpeed's and plan into `folder`; return the plan.

    The files are `config.json`, `deepspeed.json`, `plan.npy` and `plan.json`.

    Raises:
        params.ParameterError, plan.PlanError, FileNotFoundError, shards.EmptySource,
        pretrained.ModelError: bad input, named; nothing has been started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    full = settings.resolve(settings.check(config))
    for text in full["heldout"]:
        if not Path(text["file"]).exists():
            raise FileNotFoundError(f"held-out text {text['name']}: no such file: {text['file']}")
    packages = ("tensorboard", "tensorboardX")
    if full["tensorboard"] and not any(importlib.util.find_spec(name) for name in packages):
        raise RuntimeError(
            "tensorboard: true needs a package that is not part of the core: `make tensorboard`, "
            "or pip install tensorboard (or set tensorboard: false; log.jsonl has the numbers too)"
        )
    zero = engine.deepspeed_config(full, processes * nodes)
    described(full, pretrained.tokenizer(full["tokenizer"], full["end_mark"]))
    laid_out = plan.prepare(full)
    records.write_json(folder / "config.json", full)
    records.write_json(folder / "deepspeed.json", zero)
    plan.save(laid_out, folder)
    return laid_out


def run(
    folder: str | Path,
    config: Mapping[str, Any],
    processes: int = 1,
    nodes: int = 1,
    hostfile: str = "",
) -> Path:
    """Train as `config` says, in `folder`, with `processes` ranks; return the model's folder.

    With several `nodes` that many on each, which takes a DeepSpeed `hostfile`; without one, this
    function only finds a training that has been started by hand or by SLURM, when it has ended.

    A run that was interrupted continues from its newest complete checkpoint; one that has finished
    with the same settings and data is not repeated. While it runs, a line with step, loss, speed
    and remaining time is shown (not when the output is no terminal or TQDM_DISABLE=1).

    Raises:
        Elsewhere: several machines, no hostfile, and no finished model yet.
        RuntimeError: the training failed; the message ends with its own error.
        Others: bad input, see `write`.
    """
    folder = Path(folder).resolve()
    if hostfile:
        hostfile = str(params.locate(hostfile).resolve())  # the child starts elsewhere
        if not Path(hostfile).exists():
            raise FileNotFoundError(f"hostfile: no such file: {hostfile}; one line `name slots=8`")
    laid_out = write(folder, config, processes, nodes)
    full = records.read_json(folder / "config.json")
    who = checkpoints.identity(full, laid_out.hash, processes * nodes)
    if finished(folder, who, heldout.fingerprint(full)):
        return folder / "model"
    if nodes > 1 and not hostfile:
        raise Elsewhere(
            f"this training takes {nodes} machines. Start it with `sbatch "
            f"{on_this_machine(folder / 'launch.slurm')}`, or run the command above on each "
            "machine, or give a hostfile; then run this notebook again with the same parameters."
        )
    _clear(folder)
    if hostfile:  # what DeepSpeed's launcher takes along to the other machines
        taken = f"TRAIT_RUNS={runs_dir()}\n"
        (folder / DEEPSPEED_ENVIRONMENT).write_text(taken, encoding="utf-8")
    words = command(folder / "config.json", processes, nodes, hostfile)
    with open(folder / "train.out", "wb") as output, child(folder, words, output) as started:
        _follow(started, folder / "log.jsonl", laid_out)
    if started.returncode or not (folder / "finished.json").exists():
        raise RuntimeError(_explain(folder, started.returncode, processes * nodes))
    return folder / "model"


def _clear(folder: Path) -> None:
    """Remove what a finished run left for its own continuation, and the errors of earlier ones."""
    if (folder / "finished.json").exists():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / SCRATCH).mkdir(exist_ok=True)
    for old in [*folder.glob("failure-*.json"), folder / "finished.json"]:
        old.unlink(missing_ok=True)


def finished(folder: Path, who: Mapping[str, Any], measured: str) -> bool:
    """Whether `folder` already holds the model of this very run, measured as it is now asked."""
    path = folder / "finished.json"
    if not (path.exists() and (folder / "model").exists()):
        return False
    done = records.read_json(path)
    return done["identity"] == json.loads(json.dumps(who)) and done["heldout"] == measured


@contextmanager
def child(
    folder: Path, words: list[str], output: BinaryIO, threads: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """The training, in a process group of its own that ends when the block or this process does.

    Each rank has so many `threads`; 0: as the environment says, else one.
    """
    environment = {
        **os.environ,
        engine.LAUNCHER: str(os.getpid()),
        "DS_ENV_FILE": str(folder / DEEPSPEED_ENVIRONMENT),
        "OMP_NUM_THREADS": str(threads or os.environ.get("OMP_NUM_THREADS", "1")),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(":"),
    }
    started = subprocess.Popen(
        words,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:  # the reader interrupted the cell
            os.killpg(started.pid, signal.SIGTERM)
            try:
                started.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


def _follow(child: subprocess.Popen[bytes], log: Path, laid_out: plan.Plan) -> None:
    """Show a live line until the child has ended."""
    # lines that stand already are an earlier run's: this one cuts them off or goes on after them
    place, steps, measured = log.stat().st_size if log.exists() else 0, [], {}
    with _live_line(laid_out.steps) as show_line:
        while True:
            ended = child.poll() is not None
            place, lines = _new_lines(log, place)
            steps = [*steps, *(line for line in lines if "loss" in line)][-RECENT_STEPS:]
            measured = next((x["heldout"] for x in reversed(lines) if "heldout" in x), measured)
            if lines and steps:
                show_line(steps[-1]["step"], progress(steps, laid_out.steps, measured))
            if ended:
                return
            time.sleep(POLL_SECONDS)


def _new_lines(log: Path, place: int) -> tuple[int, list[dict[str, Any]]]:
    """The whole lines of the log after byte `place`, and the place after them."""
    if not log.exists():
        return 0, []
    if log.stat().st_size < place:  # begun again
        place = 0
    with open(log, "rb") as handle:
        handle.seek(place)
        whole, newline, _ = handle.read().rpartition(b"\n")
    lines = [json.loads(line) for line in whole.splitlines()]
    return place + len(whole) + len(newline), lines


def progress(
    recent: Sequence[Mapping[str, Any]], steps: int, measured: Mapping[str, Any] | None = None
) -> str:
    """What the live line says: stage, loss, speed, MFU, memory, held-out text, remaining time.

    `recent` holds the log's last lines of steps. The MFU is 6N + 12LdS operations a token over the
    stated peak of all devices; "-" where no peak is stated.
    """
    last = recent[-1]
    seconds = sum(line["seconds"] for line in recent) / len(recent)
    mfu = "-" if last["mfu"] is None else f"{last['mfu']:.0%}"
    speed = last["tokens"] / last["step"] / seconds
    texts = [f"{name} {score['bits_per_byte']:.2f}" for name, score in (measured or {}).items()]
    return ", ".join(
        [
            last["stage"],
            f"loss {last['loss']:.3f}",
            *([f"held-out bits/byte {' '.join(texts)}"] if texts else []),
            f"{speed / 1000:.1f}k tokens/s",
            f"MFU {mfu}",
            f"{last['memory_gib']:.1f} GiB",
            f"about {timedelta(seconds=round((steps - last['step']) * seconds))} left",
        ]
    )


@contextmanager
def _live_line(steps: int) -> Iterator[Callable[[int, str], None]]:
    """A function that shows (step, text): a bar in a terminal, one changing line in a notebook."""
    from IPython import get_ipython
    from IPython.display import display

    in_kernel = getattr(get_ipython(), "kernel", None) is not None
    if in_kernel and os.environ.get("TQDM_DISABLE", "0") in ("", "0"):
        place = display({"text/plain": "starting"}, raw=True, display_id=True)
        yield lambda step, text: place.update(
            {"text/plain": f"step {step} of {steps}, {text}"}, raw=True
        )
        return
    with tqdm(total=steps, unit="step", desc="training", disable=None) as bar:

        def move_bar(step: int, text: str) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(text)

        yield move_bar


def _explain(folder: Path, code: int, ranks: int) -> str:
    """What went wrong: the first rank's own error, or the last lines of the output."""
    failures = [records.read_json(path) for path in folder.glob("failure-*.json")]
    own = sorted(failures, key=lambda failure: failure["at"])  # the others fail for lack of it
    tail = (folder / "train.out").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    said = f"rank {own[0]['rank']}: {own[0]['error']}" if own else "\n".join(tail)
    advice = ""
    if any(words in said.lower() for words in OUT_OF_MEMORY) or code in (-9, 137):
        device = own[0].get("device_gib") if own else None
        advice = (
            "\nIt ran out of memory. " if own else "\nIt was killed, perhaps for lack of memory. "
        )
        advice += _memory_advice(folder, ranks, device or engine.machine_gib() / ranks)
    return (
        f"the training ended with exit code {code}; {said}{advice}\n"
        f"Its whole output is in {show(folder / 'train.out')}."
    )


def _memory_advice(folder: Path, ranks: int, gib: float) -> str:
    """Advice in numbers for the run whose configuration stands in `folder`."""
    config = records.read_json(folder / "config.json")
    try:
        tokenizer = pretrained.tokenizer(config["tokenizer"], config["end_mark"])
        size = preflight.shape(described(config, tokenizer))
        rows = engine.micro_batch_rows(config, ranks)
        return preflight.memory_advice(size, config, ranks, rows, gib)
    except (OSError, ValueError) as error:  # no model to measure: the first error says more
        return f"Halve micro_batch_rows, or set gradient_checkpointing: true ({error})."
