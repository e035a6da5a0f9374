"""The Trainer of a planned run: our loss by source, log, schedule, held-out texts, marks.

Paper: DeepSpeed ZeRO stage 1, AdamW, WSD. The Hugging Face Trainer is ours. Import this only after
`engine.prepare_environment`, which settles what torch and DeepSpeed find when they are loaded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from trait_lib import head
from trait_lib.training.checks import preflight
from trait_lib.training.data import plan, rows
from trait_lib.training.loop import (
    checkpoints,
    engine,
    heldout,
    optimizer,
    schedule,
    training_log,
)
from trait_lib.training.loop import model as models


def arguments(config: Mapping[str, Any], folder: Path, steps: int, world: int) -> TrainingArguments:
    """Trainer's arguments for this run."""
    ds = engine.deepspeed_config(config, world)
    on_cpu = engine.on_cpu()
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
        logging_strategy="no",  # see `_maybe_log_save_evaluate`
        logging_nan_inf_filter=False,  # it would hide a loss that is not a number
        save_strategy="steps" if config["checkpoint_steps"] else "no",
        save_steps=config["checkpoint_steps"] or 500,
        seed=config["seed"],
        report_to=["tensorboard"] if config["tensorboard"] else [],
        disable_tqdm=True,
        log_level="error",
    )


class PlannedTrainer(Trainer):
    """Trainer on a plan, with the places overridden where it falls short (see each docstring)."""

    def __init__(
        self,
        config: Mapping[str, Any],
        laid_out: plan.Plan,
        folder: Path,
        model: Any,
        world: int,
        identity: Mapping[str, Any] | None = None,
        texts: Sequence[heldout.Text] = (),
    ) -> None:
        """Make a trainer of one rank.

        Args:
            config: the checked configuration.
            laid_out: which rows are read when.
            folder: where log and checkpoints are written.
            model: the model to train.
            world: number of ranks.
            identity: what its checkpoints say of this run, see `checkpoints.identity`.
            texts: held-out texts to measure.
        """
        super().__init__(
            model=model,
            args=arguments(config, folder, laid_out.steps, world),
            train_dataset=rows.PlannedRows(laid_out, config["isolate_documents"]),
            data_collator=rows.collate,
        )
        self.config, self.plan, self.folder = config, laid_out, folder
        self.run_identity, self.texts = identity or {}, texts
        moments = heldout.measured_steps(laid_out.stages, config["heldout_steps"])
        self.measured = moments if texts else set()
        size = preflight.shape(model.config)
        self.operations = preflight.flops_per_token(size, config["sequence_length"])
        self.peak = config["device_peak_tflops"] * 1e12 * world
        self.sums = torch.zeros(len(laid_out.sources), 2, dtype=torch.float64)
        self.clock, self.heldout_seconds = time.perf_counter(), 0.0
        self.remove_callback(PrinterCallback)
        self.add_callback(_AtTheStart(self))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean over all predicted tokens of the step, on all ranks; summed by source."""
        source, targets = inputs.pop("source"), rows.next_tokens(inputs.pop("labels"))
        with models.arithmetic(self.config["precision"], targets.device.type):
            # `self.model` is not wrapped; accelerate's way to it asks for packages at each step
            total, losses = head.token_losses(model, self.model, inputs, targets)
        counts = (targets != -100).sum(1)
        pairs = torch.stack([losses.sum(1), counts], 1).double()
        self.sums = self.sums.to(pairs.device).index_add_(0, source, pairs)
        loss = total / num_items_in_batch * self.accelerator.num_processes
        return (loss, None) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:
        """Muon is not among Trainer's own optimizers."""
        if self.optimizer is None and self.config["optimizer"] == "muon":
            self.optimizer = optimizer.Muon(self.model, self.config)
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """WSD with exponential decay is not among Trainer's own schedules."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,
                lambda step: schedule.share_at(step, self.plan.stages, self.config),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """The predicted tokens of a step; Trainer's own asks all ranks for what the plan knows."""
        first = self.state.global_step * self.plan.batch_rows
        numbers = range(first, first + self.plan.batch_rows)
        return torch.tensor(sum(map(self.train_dataset.predicted, numbers)), device=device)

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, *rest: Any, learning_rate: float | None = None
    ) -> None:
        """Trainer's own gathers a mean of the ranks' losses first, which our log does not use."""
        tr_loss.zero_()
        if self.state.global_step > self._globalstep_last_logged:
            self._globalstep_last_logged = self.state.global_step
            self.log({"grad_norm": float(grad_norm), "learning_rate": learning_rate})
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *rest, learning_rate=learning_rate)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One line a step, from the exact sums over all ranks; stops when it diverges."""
        if "grad_norm" not in logs:  # what Trainer says of the whole run at its end
            return
        sums = self.accelerator.reduce(self.sums.clone(), "sum").tolist()
        self.sums.zero_()
        step, now = self.state.global_step, time.perf_counter()
        line = training_log.step_line(
            self.plan, step, sums, logs, now - self.clock, self.operations, self.peak
        )
        self.clock = now
        self.note(line)
        training_log.stop_if_diverged(line, self.plan)
        if step in self.measured:
            self.measure_heldout(step)

    def note(self, line: dict[str, Any]) -> None:
        """Write a line into the log, and show it to callbacks such as TensorBoard's."""
        if self.is_world_process_zero():
            training_log.append(self.folder / "log.jsonl", line)
        flat = training_log.scalars(line)
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, flat)

    def measure_heldout(self, step: int) -> None:
        """Loss and bits per byte of the held-out texts; changes nothing of the training."""
        began = time.perf_counter()
        precision = self.config["precision"]
        with self.accelerator.autocast(), models.arithmetic(precision, self.args.device.type):
            scores = heldout.measure(
                self.model,
                self.texts,
                self.accelerator.process_index,
                self.accelerator.num_processes,
                lambda part: self.accelerator.reduce(part.to(self.args.device), "sum").cpu(),
            )
        self.clock = time.perf_counter()  # the next step's time begins after this
        self.heldout_seconds += self.clock - began
        self.note(training_log.heldout_line(self.plan, step, scores, self.clock - began))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Trainer's own does not say when a checkpoint is complete."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            root, step = Path(self.args.output_dir), self.state.global_step
            checkpoints.mark(root / f"checkpoint-{step}", step, self.run_identity)
            checkpoints.prune(root, self.config["keep_checkpoints"])
        self.accelerator.wait_for_everyone()


class _AtTheStart(TrainerCallback):
    """Measures the model that a training starts from, and not one that is resumed."""

    def __init__(self, trainer: PlannedTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Called once model and optimizer stand."""
        if state.global_step == 0 and 0 in self.trainer.measured:
            self.trainer.measure_heldout(0)
