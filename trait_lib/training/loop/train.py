"""The entry point: `python -m trait_lib.training.loop.train --config FOLDER/config.json`.

The same file runs as one plain process, under torchrun on CPU ranks, or under torchrun or the
`deepspeed` launcher on GPUs and several machines. It writes beside its configuration: `plan.npy`,
`plan.json`, `log.jsonl` (a line a step), `checkpoints/`, `finished.json` and the folder `model`.
Paper: HF-style continual pre-training with DeepSpeed ZeRO stage 1.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trait_lib import pretrained, records, run
from trait_lib.training import card
from trait_lib.training.data import plan
from trait_lib.training.loop import checkpoints, engine, training_log
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import model as models

LOCK_SECONDS = 5.0  # in which a training whose notebook was killed has noticed it and ended


def save_model(trainer: Any, tokenizer: Any, config: Mapping[str, Any], folder: Path) -> None:
    """Write the plain Hugging Face folder `model` with its card, visible only once it is whole."""
    partial, final = folder / run.SCRATCH / "model", folder / "model"
    models.save(trainer.accelerator.unwrap_model(trainer.model), tokenizer, partial)
    steps, measured = training_log.read(folder / "log.jsonl")
    text = card.write_card(config, records.read_json(folder / "plan.json"), steps, measured)
    (partial / "README.md").write_text(text, encoding="utf-8")
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)


def train(path: Path) -> None:
    """Run the training that the configuration at `path` describes, or continue it."""
    started = time.perf_counter()
    folder = path.resolve().parent
    (folder / run.SCRATCH).mkdir(exist_ok=True)
    config = settings.resolve(settings.check(records.read_json(path)))
    engine.prepare_environment(config, folder)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    first = int(os.environ.get("RANK", "0")) == 0
    with alone_in(folder) if first else nullcontext():
        train_rank(config, folder, world, first, started)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two runs that write into one folder would spoil both.

    Raises:
        RuntimeError: another training holds it, perhaps one whose notebook has gone.
    """
    with open(folder / run.SCRATCH / "lock", "w") as lock:
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > give_up:
                    raise RuntimeError(
                        f"another training is still running in {run.show(folder)}; wait for it or "
                        "end it"
                    ) from None
            time.sleep(0.1)
        yield


def train_rank(
    config: Mapping[str, Any], folder: Path, world: int, first: bool, started: float
) -> None:
    """The part of one rank; `first` writes what is written once."""
    from trait_lib.training.loop import heldout
    from trait_lib.training.loop.trainer import PlannedTrainer

    engine.micro_batch_rows(config, world)
    tokenizer = pretrained.tokenizer(config["tokenizer"], config["end_mark"])
    models.described(config, tokenizer)  # refuses before anything is read
    laid_out = plan.prepare(config)  # cached: the first rank to come builds it
    who = checkpoints.identity(config, laid_out.hash, world)
    resume = checkpoints.latest(folder / "checkpoints", who)
    model = models.load_model(config, tokenizer)
    texts = heldout.prepare(config, tokenizer)
    trainer = PlannedTrainer(config, laid_out, folder, model, world, who, texts)
    if first:
        plan.save(laid_out, folder)
        (folder / "finished.json").unlink(missing_ok=True)
        checkpoints.discard_incomplete(folder / "checkpoints")
        step = int(resume.name.rpartition("-")[2]) if resume else 0
        training_log.rewind(folder / "log.jsonl", step)
    trainer.accelerator.wait_for_everyone()
    ready = trainer.clock = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trained = time.perf_counter()
    if first:
        save_model(trainer, tokenizer, config, folder)
        records.write_json(
            folder / "finished.json",
            {
                "identity": who,
                "heldout": heldout.fingerprint(config),
                "steps": laid_out.steps,
                "tokens": laid_out.report["tokens"],
                "startup_seconds": round(ready - started, 2),
                "training_seconds": round(trained - ready - trainer.heldout_seconds, 2),
                "heldout_seconds": round(trainer.heldout_seconds, 2),
            },
        )
    engine.close_ranks()


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, train, and leave the error where the launcher finds it."""
    engine.end_with_launcher()
    parser = argparse.ArgumentParser(prog="trait_lib.training.loop.train", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the run's config.json")
    parser.add_argument("--local_rank", type=int, help="given by the deepspeed launcher; unused")
    path = parser.parse_args(arguments).config
    rank = os.environ.get("RANK", "0")
    warnings.simplefilter("ignore", FutureWarning)  # of libraries about each other
    try:
        train(path)
    except BaseException as error:
        failure = {
            "error": f"{type(error).__name__}: {error}",
            "rank": int(rank),
            "at": time.time(),
            "device_gib": engine.device_gib(),
        }
        records.write_json(
            path.parent / f"failure-{rank}.json", {**failure, "trace": traceback.format_exc()}
        )
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
