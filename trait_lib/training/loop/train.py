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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from trait_lib import records, run
from trait_lib.training import card
from trait_lib.training.checks import preflight
from trait_lib.training.data import plan, shards
from trait_lib.training.loop import checkpoints, engine, journal, schedule
from trait_lib.training.loop import config as settings
from trait_lib.training.loop.model import load_model

LOCK_SECONDS = 5.0  # in which a training whose notebook was killed has noticed it and ended


def training_arguments(config: Mapping[str, Any], folder: Path, steps: int, world: int) -> Any:
    """Trainer's arguments for this run."""
    from transformers import TrainingArguments

    ds = engine.deepspeed_config(config, world)
    on_cpu = os.environ.get("DS_ACCELERATOR") == "cpu"
    zero = config["engine"] == "deepspeed"
    if config["tensorboard"]:  # Trainer would put it below the checkpoints
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=ds["train_micro_batch_size_per_gpu"],
        gradient_accumulation_steps=ds["gradient_accumulation_steps"],
        learning_rate=config["learning_rate"],
        weight_decay=config["weight_decay"],
        adam_beta1=config["adam_beta1"],
        adam_beta2=config["adam_beta2"],
        adam_epsilon=config["adam_epsilon"],
        max_grad_norm=config["clip"],
        bf16=config["precision"] == "bf16",
        deepspeed=ds if zero else None,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and (world > 1 or zero) else None,
        optim="adamw_torch" if on_cpu else "adamw_torch_fused",
        train_sampling_strategy="sequential",  # the plan is the order
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        accelerator_config={"even_batches": False, "use_seedable_sampler": False},
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide a loss that is not a number
        save_strategy="steps" if config["checkpoint_steps"] else "no",
        save_steps=config["checkpoint_steps"] or 500,
        seed=config["seed"],
        report_to=["tensorboard"] if config["tensorboard"] else [],
        disable_tqdm=True,
        log_level="error",
    )


def build_trainer(
    config: Mapping[str, Any],
    laid_out: plan.Plan,
    folder: Path,
    model: Any,
    world: int,
    texts: Sequence[Any] = (),
) -> Any:
    """Trainer with our loss per source, log, schedule, held-out texts and completeness marks."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback

    from trait_lib.training.data import rows
    from trait_lib.training.loop import heldout

    size = preflight.shape(model.config)
    operations = preflight.flops_per_token(size, config["sequence_length"])
    peak = config["device_peak_tflops"] * 1e12 * world
    measured = heldout.measured_steps(laid_out.stages, config["heldout_steps"]) if texts else set()

    class PlannedTrainer(Trainer):
        """Trainer, with the four places overridden where it falls short (see each docstring)."""

        sums = torch.zeros(len(laid_out.sources), 2, dtype=torch.float64)
        identity = checkpoints.identity(config, laid_out.hash, world)
        clock = time.perf_counter()
        heldout_seconds = 0.0

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """The mean over all predicted tokens of the step, on all ranks; summed by source."""
            source, targets = inputs.pop("source"), rows.next_tokens(inputs.pop("labels"))
            outputs = model(**inputs)
            losses = rows.token_losses(outputs.logits, targets)
            counts = (targets != -100).sum(1)
            pairs = torch.stack([losses.detach().sum(1), counts], 1).double()
            self.sums = self.sums.to(pairs.device).index_add_(0, source, pairs)
            loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
            return (loss, outputs) if return_outputs else loss

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            """WSD with exponential decay is not among Trainer's own schedules."""
            if self.lr_scheduler is None:
                self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                    optimizer or self.optimizer,
                    lambda step: schedule.share_at(step, laid_out.stages, config),
                )
                self._created_lr_scheduler = True
            return self.lr_scheduler

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            """One line a step, from the exact sums over all ranks; stops when it diverges."""
            if "loss" not in logs:
                return
            sums = self.accelerator.reduce(self.sums.clone(), "sum")
            self.sums.zero_()
            step = self.state.global_step
            now = time.perf_counter()
            line = journal.step_line(
                laid_out, step, sums.tolist(), logs, now - self.clock, operations, peak
            )
            self.clock = now
            self.note(line)
            journal.stop_if_diverged(line, laid_out)
            if step in measured:
                self.measure_heldout(step)

        def note(self, line: dict[str, Any]) -> None:
            """Write a line into the log, and show it to callbacks such as TensorBoard's."""
            if self.is_world_process_zero():
                journal.append(folder / "log.jsonl", line)
            flat = journal.scalars(line)
            self.control = self.callback_handler.on_log(self.args, self.state, self.control, flat)

        def measure_heldout(self, step: int) -> None:
            """Loss and bits per byte of the held-out texts; changes nothing of the training."""
            began = time.perf_counter()
            with self.accelerator.autocast():
                found = heldout.measure(
                    self.model,
                    texts,
                    self.accelerator.process_index,
                    self.accelerator.num_processes,
                    lambda part: self.accelerator.reduce(part.to(self.args.device), "sum").cpu(),
                )
            self.clock = time.perf_counter()  # the next step's time begins after this
            self.heldout_seconds += self.clock - began
            self.note(journal.heldout_line(laid_out, step, found, self.clock - began))

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            """Trainer's own does not say when a checkpoint is complete."""
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                root = Path(self.args.output_dir)
                step = self.state.global_step
                checkpoints.mark(root / f"checkpoint-{step}", step, self.identity)
                checkpoints.prune(root, config["keep_checkpoints"])
            self.accelerator.wait_for_everyone()

    class AtTheStart(TrainerCallback):
        """Measures the model that the training starts from, and not one that is resumed."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """Called once model and optimizer stand."""
            if state.global_step == 0 and 0 in measured:
                trainer.measure_heldout(0)

    trainer = PlannedTrainer(
        model=model,
        args=training_arguments(config, folder, laid_out.steps, world),
        train_dataset=rows.PlannedRows(laid_out, config["isolate_documents"]),
        data_collator=rows.collate,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(AtTheStart)
    return trainer


def save_model(trainer: Any, tokenizer: Any, config: Mapping[str, Any], folder: Path) -> None:
    """Write the plain Hugging Face folder `model`, visible only once it is whole."""
    partial, final = folder / ".model.partial", folder / "model"
    trainer.model.config.use_cache = True  # generation wants it
    trainer.save_model(str(partial))
    if trainer.is_world_process_zero():
        (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle, and of no use
        tokenizer.save_pretrained(partial)
        steps, measured = journal.read(folder / "log.jsonl")
        text = card.write_card(config, records.read_json(folder / "plan.json"), steps, measured)
        (partial / "README.md").write_text(text, encoding="utf-8")
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)


def train(path: Path) -> None:
    """Run the training that the configuration at `path` describes, or continue it."""
    started = time.perf_counter()
    folder = path.resolve().parent
    config = settings.check(records.read_json(path))
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
    with open(folder / ".lock", "w") as lock:
        give_up = time.monotonic() + LOCK_SECONDS
        while not _locked(lock):
            if time.monotonic() > give_up:
                raise RuntimeError(
                    f"another training is still running in {run.show(folder)}; wait for it or "
                    "end it"
                )
            time.sleep(0.1)
        yield


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def train_rank(
    config: Mapping[str, Any], folder: Path, world: int, first: bool, started: float
) -> None:
    """The part of one rank; `first` writes what is written once."""
    from trait_lib.training.loop import heldout

    engine.micro_batch_rows(config, world)
    laid_out = plan.prepare(config)  # cached: the first rank to come builds it
    tokenizer = shards.load_tokenizer(config["tokenizer"])
    who = checkpoints.identity(config, laid_out.hash, world)
    resume = checkpoints.latest(folder / "checkpoints", who)
    model = load_model(config, tokenizer)
    texts = heldout.prepare(config, tokenizer)
    trainer = build_trainer(config, laid_out, folder, model, world, texts)
    if first:
        plan.save(laid_out, folder)
        (folder / "finished.json").unlink(missing_ok=True)
        checkpoints.discard_incomplete(folder / "checkpoints")
        journal.rewind(folder / "log.jsonl", int(resume.name.rpartition("-")[2]) if resume else 0)
    trainer.accelerator.wait_for_everyone()
    ready = trainer.clock = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trained = time.perf_counter()
    save_model(trainer, tokenizer, config, folder)
    if first:
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
