"""The plain PyTorch loop that `training.py` compares with: python training_loop.py FOLDER,
which holds config.json and gets log.jsonl and finished.json.

The same model, rows, loss, AdamW, clipping and schedule as ours, and nothing else. In bf16 the
weights are bf16 with fp32 masters and fp32 accumulation, as under DeepSpeed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

START = time.perf_counter()
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from trait_lib import head, pretrained  # noqa: E402
from trait_lib.training.data import plan, rows  # noqa: E402
from trait_lib.training.loop import config as settings  # noqa: E402
from trait_lib.training.loop import schedule  # noqa: E402
from trait_lib.training.loop.model import load_model  # noqa: E402


def main() -> None:
    folder = Path(sys.argv[1])
    config = settings.check(json.loads((folder / "config.json").read_text()))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device, half = config["device"], config["precision"] == "bf16"
    laid_out = plan.prepare(config)
    data = rows.PlannedRows(laid_out, config["isolate_documents"])
    model = load_model({**config, "engine": "plain"}, pretrained.tokenizer(config["tokenizer"]))
    model = model.to(device, torch.bfloat16 if half else torch.float32).train()
    weights = list(model.parameters())
    masters = [p.detach().float().clone() for p in weights] if half else weights
    optimizer = torch.optim.AdamW(
        [
            {"params": [m for m in masters if m.dim() > 1], "weight_decay": config["weight_decay"]},
            {"params": [m for m in masters if m.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=config["learning_rate"],
        betas=(config["adam_beta1"], config["adam_beta2"]),
        fused=device == "cuda",
    )
    micro = config["micro_batch_rows"]
    done = {"startup_seconds": time.perf_counter() - START}
    log = open(folder / "log.jsonl", "a", encoding="utf-8")
    clock = time.perf_counter()
    for step, rate in enumerate(schedule.rates(laid_out.stages, config)):
        first = step * laid_out.batch_rows
        batches = [
            rows.collate([data[n] for n in range(low, low + micro)])
            for low in range(first, first + laid_out.batch_rows, micro)
        ]
        loss = one_pass_each(model, batches, masters if half else None, device)
        torch.nn.utils.clip_grad_norm_(masters, config["clip"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        if half:
            torch._foreach_copy_([p.data for p in weights], masters)
        line = {"loss": loss.item()}  # waits for the device, as our log does
        line |= {"seconds": time.perf_counter() - clock, "memory_gib": memory_gib(device)}
        clock = time.perf_counter()
        log.write(json.dumps(line) + "\n")
        log.flush()
    (folder / "finished.json").write_text(json.dumps(done))


def memory_gib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one_pass_each(model: Any, batches: list[Any], masters: list[Any] | None, device: str) -> Any:
    """Loss of a step; its gradient is left in the weights, or added up in the fp32 masters."""
    targets = [rows.next_tokens(batch["labels"]) for batch in batches]
    count = sum(int((one != -100).sum()) for one in targets)
    total = torch.zeros((), device=device)
    for batch, target in zip(batches, targets, strict=True):
        ids, positions = batch["input_ids"].to(device), batch["position_ids"].to(device)
        logits = model(input_ids=ids, position_ids=positions).logits
        loss = head.cross_entropies(logits, target.to(device)).sum() / count
        loss.backward()
        total += loss.detach()
        if masters is not None:
            gradients = [p.grad for p in model.parameters()]
            if masters[0].grad is None:
                for master, gradient in zip(masters, gradients, strict=True):
                    master.grad = gradient.float()
            else:
                torch._foreach_add_([m.grad for m in masters], [g.float() for g in gradients])
            for parameter in model.parameters():
                parameter.grad = None
    return total


if __name__ == "__main__":
    main()
