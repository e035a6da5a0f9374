"""How fast would a model train here? Measured in seconds, for each way to use a CPU.

Machines differ: with avx512_bf16 a model trains twice as fast when its matrix products are in
bf16, without it a bf16 step does not end in minutes; and two ranks of one thread or one of two are
the better layout, depending on what else runs. So models of one and of three layers take a step
each way, from which the time of all layers follows, and the exchange and the optimizer's step are
timed for each parameter. Paper: not stated; ours.

    python -m torch.distributed.run --standalone --nproc-per-node=2 \
        -m trait_lib.training.checks.speed --asked FILE --found FILE
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from trait_lib import code, head, records, run
from trait_lib.training.loop import engine
from trait_lib.training.loop import model as models

PRECISIONS = ("fp32", models.AUTOCAST)
REPEATS = 2  # of which the faster counts: others on the machine can only slow one down
NUMBERS = 2**23  # parameters of the trial exchange and optimizer
LAYERS = (1, 3)


def measured(config: Any, length: int, batch_tokens: int) -> list[dict[str, Any]]:
    """Each way to train a model on this machine's CPU, fastest first; measured once and kept.

    Args:
        config: the transformers configuration of the model.
        length: tokens of a row, one row a pass.
        batch_tokens: of a step.

    Returns:
        Rows `precision`, `processes`, `threads`, `tokens_per_second`.

    Raises:
        RuntimeError: the measurement failed; the message ends with its output.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows = batch_tokens // length
    ranks = [n for n in (1, 2) if n <= (cores or 1) and rows % n == 0]
    asked = {"config": config.to_dict(), "length": length, "batch_tokens": batch_tokens}
    key = {
        **asked,
        "cpu": _processor(),
        "cores": cores,
        "versions": {name: metadata.version(name) for name in ("torch", "transformers")},
        "code": code.hash_of(__name__),
    }

    def build(folder: Path) -> None:
        records.write_json(folder / "asked.json", asked)
        found = [_measure(folder, n, (cores or 1) // n) for n in ranks]
        records.write_json(folder / "ways.json", [way for ways in found for way in ways])

    ways = records.read_json(run.cached("speed", key, build) / "ways.json")
    return sorted(ways, key=lambda way: -way["tokens_per_second"])


def _processor() -> str:
    """The processor's name and what of it decides the speed of bf16."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        told = {line.partition("\t")[0]: line.partition(": ")[2] for line in lines}
        flags = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & {*told.get("flags", "").split()}
        return " ".join([told.get("model name", ""), *sorted(flags)])
    return platform.processor()


def _measure(folder: Path, ranks: int, threads: int) -> list[dict[str, Any]]:
    """The ways of one layout, in processes of their own: threads are fixed when torch is loaded."""
    from trait_lib.training import launch

    found = folder / f"{ranks}.json"
    entry = ["-m", "trait_lib.training.checks.speed", "--asked", str(folder / "asked.json")]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    words = [sys.executable, *torchrun, *entry, "--found", str(found)]
    with (
        open(folder / f"{ranks}.out", "wb") as output,
        launch.child(folder, words, output, threads) as started,
    ):
        started.wait()
    if started.returncode or not found.exists():
        said = (folder / f"{ranks}.out").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the measurement of speed failed with {ranks} ranks:\n{said}")
    return records.read_json(found)


def main(arguments: list[str] | None = None) -> int:
    """One rank of the measurement."""
    parser = argparse.ArgumentParser(prog="trait_lib.training.checks.speed", description=__doc__)
    parser.add_argument("--asked", type=Path, required=True, help="what to measure")
    parser.add_argument("--found", type=Path, required=True, help="where the ways are written")
    given = parser.parse_args(arguments)
    engine.end_with_launcher()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    threads, world = int(os.environ["OMP_NUM_THREADS"]), dist.get_world_size()
    torch.set_num_threads(threads)
    asked = records.read_json(given.asked)
    ways = [
        {"precision": precision, "processes": world, "threads": threads, "tokens_per_second": speed}
        for precision in PRECISIONS
        if (speed := _speed(asked, precision, world))
    ]
    if dist.get_rank() == 0:
        records.write_json(given.found, ways)
    dist.destroy_process_group()
    return 0


def _speed(asked: Mapping[str, Any], precision: str, world: int) -> float:
    """Tokens a second of all ranks together; 0 where bf16 is slower than fp32 in one product."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.for_model(**asked["config"])
    size = (asked["length"], config.hidden_size), (config.hidden_size, config.intermediate_size)
    if precision == models.AUTOCAST:
        products = [
            _seconds(lambda a=a, b=b: a @ b, world)
            for a, b in (
                [torch.ones(s, dtype=d) for s in size] for d in (torch.float32, torch.bfloat16)
            )
        ]
        if products[1] > products[0]:
            return 0.0
    few, more = (_pass_seconds(asked, precision, layers, world) for layers in LAYERS)
    layer = max(0.0, (more[0] - few[0]) / (LAYERS[1] - LAYERS[0]))
    passes = asked["batch_tokens"] / (asked["length"] * world)
    count = few[1] + (config.num_hidden_layers - LAYERS[0]) * (more[1] - few[1]) / 2
    once = count * _each_parameter(world)
    return asked["batch_tokens"] / (
        passes * (few[0] + layer * (config.num_hidden_layers - 1)) + once
    )


def _seconds(work: Callable[[], Any], world: int) -> float:
    """The shorter of some runs after a first one, on the slowest rank."""
    import torch
    import torch.distributed as dist

    taken = []
    for _ in range(REPEATS + 1):
        dist.barrier()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    found = torch.tensor(min(taken[1:]))
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return float(found)


def _pass_seconds(
    asked: Mapping[str, Any], precision: str, layers: int, world: int
) -> tuple[float, int]:
    """(seconds of one forward and backward pass over a row, parameters) of so many layers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**{**asked["config"], "num_hidden_layers": layers})
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    models.settle(model, precision)
    ids = torch.zeros(1, asked["length"], dtype=torch.long)
    inputs = {"input_ids": ids, "position_ids": torch.arange(asked["length"])[None]}

    def work() -> None:
        with models.arithmetic(precision, "cpu"):
            total, _ = head.token_losses(model, model, inputs, ids)
        total.backward()

    return _seconds(work, world), sum(p.numel() for p in model.parameters())


def _each_parameter(world: int) -> float:
    """Seconds of exchange and optimizer a parameter and step."""
    import torch
    import torch.distributed as dist

    weights = torch.nn.Parameter(torch.zeros(NUMBERS))
    weights.grad = torch.ones(NUMBERS)
    step = torch.optim.AdamW([weights]).step
    exchange = _seconds(lambda: dist.all_reduce(weights.grad), world) if world > 1 else 0.0
    return (exchange + _seconds(step, world) / world) / NUMBERS


if __name__ == "__main__":
    sys.exit(main())
