"""DeepSpeed's configuration, and the ground that it and torch stand on: ranks, threads, device.

Paper: DeepSpeed ZeRO stage 1, bf16. How rows are shared among ranks is ours and changes no result.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from trait_lib import params, run

FIRST_GOOD_DEEPSPEED = (0, 19, 4)
AUTO_MICRO_TOKENS = 2048
LAUNCHER = "TRAIT_LAUNCHER"  # process id of the notebook that started a training
WATCH_SECONDS = 1.0
MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BLOCK, KEPT_BYTES = 2**26, 2**30

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # threads of several ranks on shared cores slow each other down
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DEEPSPEED_LOG_LEVEL": "error",
    "TQDM_DISABLE": "1",  # the log is the progress; bars of ranks would only fill train.out
}


def refuse_bad_deepspeed(version: str) -> None:
    """Stop on versions with silently wrong ZeRO-1 gradients (bf16 with fp32 accumulation).

    Raises:
        RuntimeError: the version is older than 0.19.4.
    """
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:3])
    if numbers < FIRST_GOOD_DEEPSPEED:
        raise RuntimeError(
            f"deepspeed {version} is refused: versions before 0.19.4 give wrong gradients with "
            "ZeRO-1, bf16 and 2 or more ranks; pip install 'deepspeed>=0.19.4'"
        )


def micro_batch_rows(config: Mapping[str, Any], processes: int) -> int:
    """Rows of one forward pass: as configured, or the largest divisor of a rank's share.

    Raises:
        params.ParameterError: the rows of a step cannot be shared out evenly.
    """
    rows = config["batch_tokens"] // config["sequence_length"]
    if rows % processes:
        raise params.ParameterError(
            f"a step has {rows} rows (batch_tokens / sequence_length), which {processes} processes "
            "cannot share evenly; change batch_tokens or the number of processes"
        )
    share = rows // processes
    wanted = config["micro_batch_rows"]
    if wanted and share % wanted:
        raise params.ParameterError(
            f"'micro_batch_rows' must divide the {share} rows that a process has a step, "
            f"got {wanted}"
        )
    limit = max(1, AUTO_MICRO_TOKENS // config["sequence_length"])
    return wanted or max(n for n in range(1, min(share, limit) + 1) if share % n == 0)


def deepspeed_config(config: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """The DeepSpeed configuration: ZeRO stage 1, and fp32 accumulation beside bf16 weights."""
    micro = micro_batch_rows(config, processes)
    rows = config["batch_tokens"] // config["sequence_length"]
    result: dict[str, Any] = {
        "zero_optimization": {"stage": 1},
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": rows // processes // micro,
        "gradient_clipping": config["clip"],
        # torch's AdamW: DeepSpeed's own compile for minutes and gain nothing here
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }
    if on_cpu() or config["device"] == "cpu":
        # the buffer is made anew each step, of 5e8 numbers; and the ranks' sum needs no copies
        result["zero_optimization"] |= {"reduce_bucket_size": 10**7, "reduce_scatter": False}
    if config["precision"] == "bf16":
        result["bf16"] = {"enabled": True}
        result["data_types"] = {"grad_accum_dtype": "fp32"}
    return result


def prepare_environment(config: Mapping[str, Any], folder: Path) -> None:
    """Settle threads, device, ranks and DeepSpeed's extensions; call it before importing torch."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if _cpu_chosen(config):
        os.environ["DS_ACCELERATOR"] = "cpu"
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        keep_freed_memory()
    # a compile that was interrupted leaves a lock behind that makes every later run wait
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(folder / run.SCRATCH / "torch_extensions"))
    if config["engine"] == "deepspeed":
        refuse_bad_deepspeed(metadata.version("deepspeed"))
        if "RANK" not in os.environ:  # without a launcher: a world of one
            alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
            os.environ.update(alone, MASTER_PORT=str(_free_port()))
        import deepspeed

        # its shared-memory helper takes a minute to compile; gloo serves as well at this size
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def is_running(process: int) -> bool:
    """Whether a process lives; one that has ended and was not waited for does not."""
    try:
        return psutil.Process(process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:  # gone, or somebody else's: the number has been given away again
        return False


def end_with_launcher() -> None:
    """End this rank soon after the launcher that started it has gone, even by kill -9.

    A training that outlived its notebook would hold the folder's lock and go on unseen. One that
    was started by hand has no launcher in its environment and watches nothing.
    """
    launcher = os.environ.get(LAUNCHER)
    if not launcher:
        return

    def watch() -> None:
        while is_running(int(launcher)):
            time.sleep(WATCH_SECONDS)
        os._exit(1)  # checkpoints and log are written so that this spoils none

    threading.Thread(target=watch, daemon=True).start()


def close_ranks() -> None:
    """Leave the process group in good order, so that no rank waits for one that has gone."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def device_gib() -> float | None:
    """GiB of this rank's GPU in all; None without one."""
    if on_cpu():
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**30


def machine_gib() -> float:
    """GiB of memory that processes of this machine or container may use together."""
    total = psutil.virtual_memory().total
    limit = Path("/sys/fs/cgroup/memory.max")
    with contextlib.suppress(OSError, ValueError):  # not in a container of Linux, or "max"
        total = min(total, int(limit.read_text()))
    return total / 2**30


def on_cpu() -> bool:
    """Whether this process trains on the CPU, as `prepare_environment` or Make has settled."""
    return os.environ.get("DS_ACCELERATOR") == "cpu"


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one.

    glibc gives large blocks back to the system, which then clears every page again: 6,000 faults
    and an eighth of a step at the replica's size. Other C libraries are left as they are.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(MALLOPT_MMAP_THRESHOLD, KEPT_BLOCK)
        library.mallopt(MALLOPT_TRIM_THRESHOLD, KEPT_BYTES)


def _cpu_chosen(config: Mapping[str, Any]) -> bool:
    import torch

    if config["device"] == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("device is 'cuda', but torch sees no GPU; set device: auto or cpu")
    return config["device"] == "cpu" or not torch.cuda.is_available()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
