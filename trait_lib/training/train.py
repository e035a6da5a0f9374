"""The entry point of training: `python -m trait_lib.training.train --config FOLDER/config.json`.

The same file runs as one plain process, under torchrun on CPU ranks, or under torchrun or the
`deepspeed` launcher on GPUs and several machines. It writes beside its configuration: `plan.npy`,
`plan.json`, `log.jsonl` (a line a step), `checkpoints/`, `finished.json` and the folder `model`.
Paper: HF-style continual pre-training with DeepSpeed ZeRO stage 1.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trait_lib import records, run
from trait_lib.training import card, checkpoints, engine, plan, schedule, shards
from trait_lib.training import config as settings
from trait_lib.training.model import load_model


class TrainingDiverged(FloatingPointError):
    """The loss or the gradient is not a number; the message names step, stage and rows."""


def training_arguments(config: Mapping[str, Any], folder: Path, steps: int, world: int) -> Any:
    """Trainer's arguments for this run."""
    from transformers import TrainingArguments

    ds = engine.deepspeed_config(config, world)
    on_cpu = os.environ.get("DS_ACCELERATOR") == "cpu"
    zero = config["engine"] == "deepspeed"
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
        optim="adamw_torch",
        train_sampling_strategy="sequential",  # the plan is the order
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        accelerator_config={"even_batches": False, "use_seedable_sampler": False},
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide a loss that is not a number
        save_strategy="steps" if config["checkpoint_steps"] else "no",
        save_steps=config["checkpoint_steps"] or 500,
        seed=config["seed"],
        report_to=[],
        disable_tqdm=True,
        log_level="error",
    )


def build_trainer(
    config: Mapping[str, Any], laid_out: plan.Plan, folder: Path, model: Any, world: int
) -> Any:
    """Trainer with our loss per source, log, schedule and completeness marks."""
    import torch
    from transformers import PrinterCallback, Trainer

    from trait_lib.training import rows

    class PlannedTrainer(Trainer):
        """Trainer, with the four places overridden where it falls short (see each docstring)."""

        sums = torch.zeros(len(laid_out.sources), 2, dtype=torch.float64)
        identity = checkpoints.identity(config, laid_out.hash, world)
        clock = time.perf_counter()

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
            line = log_line(laid_out, step, sums.tolist(), logs, now - self.clock)
            self.clock = now
            if self.is_world_process_zero():
                with open(folder / "log.jsonl", "a", encoding="utf-8") as handle:
                    handle.write(json.dumps(line) + "\n")
            stop_if_diverged(line, laid_out)

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

    trainer = PlannedTrainer(
        model=model,
        args=training_arguments(config, folder, laid_out.steps, world),
        train_dataset=rows.PlannedRows(laid_out, config["isolate_documents"]),
        data_collator=rows.collate,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def log_line(
    laid_out: plan.Plan,
    step: int,
    sums: list[list[float]],
    logs: Mapping[str, float],
    seconds: float,
) -> dict[str, Any]:
    """The log's line for `step` (from 1). `sums`: (loss sum in nats, tokens) of each source."""
    tokens = laid_out.batch_rows * laid_out.sequence_length
    return {
        "step": step,
        "stage": laid_out.stage_of(step - 1),
        "tokens": step * tokens,
        "loss": sum(total for total, _ in sums) / max(1.0, sum(count for _, count in sums)),
        "learning_rate": logs["learning_rate"],
        "grad_norm": float(logs.get("grad_norm", math.nan)),
        "tokens_per_second": round(tokens / seconds, 1),
        "seconds": round(seconds, 4),
        "memory_gib": round(_memory_gib(), 3),
        "loss_by_source": {
            name: total / count
            for name, (total, count) in zip(laid_out.sources, sums, strict=True)
            if count
        },
    }


def _memory_gib() -> float:
    """Peak memory of this rank: of the GPU when there is one, else of the process."""
    import torch

    if os.environ.get("DS_ACCELERATOR") != "cpu":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def stop_if_diverged(line: Mapping[str, Any], laid_out: plan.Plan) -> None:
    """Raise `TrainingDiverged` when the loss or the gradient norm of a log line is not finite."""
    if math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]):
        return
    rows = [
        f"{laid_out.sources[source]} row {row}"
        for source, row in laid_out.rows_of_step(line["step"] - 1)
    ]
    raise TrainingDiverged(
        f"step {line['step']} (stage {line['stage']}): loss {line['loss']}, gradient norm "
        f"{line['grad_norm']}, learning rate {line['learning_rate']:g}. Its rows: "
        f"{', '.join(rows[:8])}{' ...' if len(rows) > 8 else ''}. Lower learning_rate, or look at "
        "those rows."
    )


def rewind_log(path: Path, step: int) -> None:
    """Drop the log's lines after `step`: they will be trained again."""
    kept = []
    if path.exists() and step:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("}") and json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    with records.atomic_path(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def save_model(trainer: Any, tokenizer: Any, config: Mapping[str, Any], folder: Path) -> None:
    """Write the plain Hugging Face folder `model`, visible only once it is whole."""
    partial, final = folder / ".model.partial", folder / "model"
    trainer.model.config.use_cache = True  # generation wants it
    trainer.save_model(str(partial))
    if trainer.is_world_process_zero():
        (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle, and of no use
        tokenizer.save_pretrained(partial)
        log = list(records.read_rows(folder / "log.jsonl"))
        text = card.write_card(config, records.read_json(folder / "plan.json"), log)
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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RuntimeError(
                f"another training is still running in {run.show(folder)}; wait for it or end it"
            ) from None
        yield


def train_rank(
    config: Mapping[str, Any], folder: Path, world: int, first: bool, started: float
) -> None:
    """The part of one rank; `first` writes what is written once."""
    engine.micro_batch_rows(config, world)
    laid_out = plan.prepare(config)  # cached: the first rank to come builds it
    tokenizer = shards.load_tokenizer(config["tokenizer"])
    who = checkpoints.identity(config, laid_out.hash, world)
    resume = checkpoints.latest(folder / "checkpoints", who)
    model = load_model(config, tokenizer)
    trainer = build_trainer(config, laid_out, folder, model, world)
    if first:
        plan.save(laid_out, folder)
        (folder / "finished.json").unlink(missing_ok=True)
        checkpoints.discard_incomplete(folder / "checkpoints")
        rewind_log(folder / "log.jsonl", int(resume.name.rpartition("-")[2]) if resume else 0)
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
                "steps": laid_out.steps,
                "tokens": laid_out.report["tokens"],
                "startup_seconds": round(ready - started, 2),
                "training_seconds": round(trained - ready, 2),
            },
        )
    close_ranks()


def close_ranks() -> None:
    """Leave the process group in good order, so that no rank waits for one that has gone."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, train, and leave the error where the launcher finds it."""
    parser = argparse.ArgumentParser(prog="trait_lib.training.train", description=__doc__)
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
        }
        records.write_json(
            path.parent / f"failure-{rank}.json", {**failure, "trace": traceback.format_exc()}
        )
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
