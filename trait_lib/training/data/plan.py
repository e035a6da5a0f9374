"""Which row of which source is trained on when: fixed before training, by seed, weights, stages.

The order does not depend on the number of processes: step k trains on rows k*B to (k+1)*B - 1 of
the plan, however they are shared out. Paper: the order of the two stages; the rest is ours.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trait_lib import pretrained, records, run
from trait_lib.training.data import shards as shard_files

FORMAT = 1
MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


class PlanError(ValueError):
    """A mixture that the given sources cannot provide."""


@dataclass(frozen=True)
class Plan:
    """`entries` (rows, 2) int64: source number and row number within it, in training order."""

    entries: np.ndarray
    sources: list[str]
    shards: list[Path]
    stages: list[dict[str, Any]]
    sequence_length: int
    batch_rows: int
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return len(self.entries) // self.batch_rows

    @property
    def hash(self) -> str:
        """SHA-256 over the order, the shards' contents, the row length and the batch."""
        return self.report["hash"]

    def stage_of(self, step: int) -> str:
        """The name of the stage that step `step` (from 0) belongs to."""
        return next(s["name"] for s in reversed(self.stages) if step >= s["first_step"])

    def rows_of_step(self, step: int) -> np.ndarray:
        """The entries (B, 2) of step `step` (from 0).

        Raises:
            IndexError: there is no such step.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step}: the plan has steps 0 to {self.steps - 1}")
        return self.entries[step * self.batch_rows : (step + 1) * self.batch_rows]


def scramble(seed: int, salt: str, count: int) -> np.ndarray:
    """`count` well mixed 64-bit numbers (splitmix64): the same on every machine and version."""
    offset = (seed * 0x9E3779B97F4A7C15 + zlib.crc32(salt.encode()) * 0xD1B54A32D192ED03) & int(
        MASK
    )
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(offset)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def shares_to_counts(weights: list[float], total: int) -> list[int]:
    """Split `total` rows by weight; the largest remainders get the rows that are left over."""
    exact = np.asarray(weights, dtype=float) / sum(weights) * total
    counts = np.floor(exact).astype(int)
    for index in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[index] += 1
    return counts.tolist()


def draw_rows(available: int, first: int, count: int, seed: int, name: str) -> np.ndarray:
    """Rows number `first` to `first + count` of an endless walk: epoch after epoch, each shuffled.

    No row comes twice within an epoch.
    """
    epochs = range(first // available, (first + count - 1) // available + 1)
    walk = [
        np.argsort(scramble(seed, f"{name}/epoch {e}", available), kind="stable") for e in epochs
    ]
    skip = first - epochs[0] * available
    return np.concatenate(walk)[skip : skip + count]


def interleave(counts: list[int], seed: int, salt: str) -> np.ndarray:
    """Source numbers in an order where every stretch holds nearly the shares of the whole.

    The j-th row of a source with n rows falls at a random place in [j/n, (j+1)/n).
    """
    keys = [
        (np.arange(n) + scramble(seed, f"{salt}/{i}", n) / 2.0**64) / max(n, 1)
        for i, n in enumerate(counts)
    ]
    order = np.argsort(np.concatenate(keys), kind="stable")
    return np.repeat(np.arange(len(counts)), counts)[order]


def stage_steps(stages: Sequence[Mapping[str, Any]], batch_tokens: int) -> list[dict[str, Any]]:
    """Name, first step and number of steps of each stage: its tokens in whole batches."""
    laid, first = [], 0
    for stage in stages:
        steps = max(1, round(stage["tokens"] / batch_tokens))
        laid.append({"name": stage["name"], "first_step": first, "steps": steps})
        first += steps
    return laid


def build(config: Mapping[str, Any], shards: Mapping[str, shard_files.Shard]) -> Plan:
    """Lay out the whole run. `shards` maps each file of `config["stages"]` to its shard.

    Raises:
        PlanError: a source shorter than one row, or one that would be repeated more often than
            `max_epochs`; the message says how much text is needed.
    """
    length = config["sequence_length"]
    batch_rows = config["batch_tokens"] // length
    numbers = _number_sources(config["stages"])
    used: Counter[Path] = Counter()  # rows drawn from each shard so far, over all stages
    entries, stages = [], []
    for stage, timing in zip(
        config["stages"], stage_steps(config["stages"], config["batch_tokens"]), strict=True
    ):
        sources, rows = stage["sources"], timing["steps"] * batch_rows
        counts = shares_to_counts([s["weight"] for s in sources], rows)
        drawn = [
            _draw(source, shards[source["file"]], count, config, used)
            for source, count in zip(sources, counts, strict=True)
        ]
        which = interleave(counts, config["seed"], stage["name"])
        ordered = np.empty((rows, 2), dtype=np.int64)
        for index, source in enumerate(sources):
            ordered[which == index, 0] = numbers[source["name"]][0]
            ordered[which == index, 1] = drawn[index]
        entries.append(ordered)
        stages.append({**timing, **_stage_report(sources, counts, config, shards)})
    plan = Plan(
        entries=np.concatenate(entries),
        sources=list(numbers),
        shards=[shards[file].folder for _, file in numbers.values()],
        stages=stages,
        sequence_length=length,
        batch_rows=batch_rows,
    )
    plan.report.update(_report(plan, config, shards, numbers, used))
    return plan


def _draw(
    source: Mapping[str, Any],
    shard: shard_files.Shard,
    count: int,
    config: Mapping[str, Any],
    used: Counter[Path],
) -> np.ndarray:
    """The next `count` rows (count,) of a shard, going on where an earlier stage stopped."""
    length, first = config["sequence_length"], used[shard.folder]
    _check_supply(source, shard, length, first + count, config["max_epochs"])
    used[shard.folder] += count
    if count == 0:
        return np.empty(0, dtype=np.int64)
    return draw_rows(shard.rows(length), first, count, config["seed"], shard.folder.name)


def _number_sources(stages: list[dict[str, Any]]) -> dict[str, tuple[int, str]]:
    numbers: dict[str, tuple[int, str]] = {}
    for source in (source for stage in stages for source in stage["sources"]):
        _, file = numbers.setdefault(source["name"], (len(numbers), source["file"]))
        if file != source["file"]:
            raise PlanError(f"source {source['name']!r} names two files: {file}, {source['file']}")
    return numbers


def _check_supply(
    source: Mapping[str, Any], shard: shard_files.Shard, length: int, needed: int, max_epochs: float
) -> None:
    rows = shard.rows(length)
    if rows == 0:
        raise PlanError(
            f"source {source['name']!r} ({source['file']}) holds {len(shard.tokens)} tokens, less "
            f"than one row of {length}; give more text or a shorter sequence_length"
        )
    if needed > max_epochs * rows:
        raise PlanError(
            f"source {source['name']!r} ({source['file']}) holds {rows * length} tokens in whole "
            f"rows; the plan needs {needed * length}, {needed / rows:.1f} epochs, and "
            f"max_epochs is {max_epochs:g}; give more text, a smaller weight, fewer tokens, or "
            "raise max_epochs"
        )


def _stage_report(
    sources: list[dict[str, Any]],
    counts: list[int],
    config: Mapping[str, Any],
    shards: Mapping[str, shard_files.Shard],
) -> dict[str, Any]:
    length, weights = config["sequence_length"], [s["weight"] for s in sources]
    return {
        "tokens": sum(counts) * length,
        "sources": [
            {
                "name": source["name"],
                "weight": source["weight"] / sum(weights),
                "share": count / sum(counts),
                "tokens": count * length,
                "epochs": round(count / shards[source["file"]].rows(length), 4),
            }
            for source, count in zip(sources, counts, strict=True)
        ],
    }


def _report(
    plan: Plan,
    config: Mapping[str, Any],
    shards: Mapping[str, shard_files.Shard],
    numbers: Mapping[str, tuple[int, str]],
    used: Mapping[Path, int],
) -> dict[str, Any]:
    """What `plan.json` holds: everything a reader needs to know about the mixture."""
    length = plan.sequence_length
    sources = {}
    for name, (_, file) in numbers.items():
        shard = shards[file]
        sources[name] = {
            "file": Path(file).name,
            "documents": shard.meta["documents"],
            "empty_documents": shard.meta["empty"],
            "tokens": len(shard.tokens),
            "rows": shard.rows(length),
            "tail_tokens": len(shard.tokens) - shard.rows(length) * length,
            "epochs": round(used[shard.folder] / shard.rows(length), 4),
            "content": run.hash_value(shard.folder.name),
        }
    identity = [FORMAT, length, plan.batch_rows, [s["first_step"] for s in plan.stages]]
    contents = [source["content"] for source in sources.values()]
    order = hashlib.sha256(plan.entries.astype("<i8").tobytes()).hexdigest()
    return {
        "hash": run.hash_value([identity, contents, order]),
        "seed": config["seed"],
        "sequence_length": length,
        "batch_rows": plan.batch_rows,
        "steps": plan.steps,
        "tokens": plan.steps * plan.batch_rows * length,
        "stages": plan.stages,
        "sources": sources,
    }


def prepare(config: Mapping[str, Any]) -> Plan:
    """Tokenise every source of a checked configuration (cached) and lay out the run."""
    tokenizer = pretrained.tokenizer(config["tokenizer"], config["end_mark"])
    files = {s["file"]: None for stage in config["stages"] for s in stage["sources"]}
    whole = config["sequence_length"] if config["whole_documents"] else 0
    answers_only = config["loss_on"] == "answer"
    return build(
        config,
        {file: shard_files.tokenise(file, tokenizer, whole, answers_only) for file in files},
    )


def largest_deviation(plan: Plan) -> float:
    """By how much the share of a source in a stage misses its weight, at most (0.001 = 0.1 %)."""
    shares = [source for stage in plan.stages for source in stage["sources"]]
    return max(abs(source["share"] - source["weight"]) for source in shares)


def save(plan: Plan, folder: Path) -> None:
    """Write `plan.npy` (the order) and `plan.json` (the report, and where the shards are)."""
    with records.atomic_path(folder / "plan.npy") as temporary, open(temporary, "wb") as out:
        np.save(out, plan.entries)
    # a list: the source numbers in `entries` are places in it
    places = {"shards": [list(p) for p in zip(plan.sources, map(str, plan.shards), strict=True)]}
    records.write_json(folder / "plan.json", {**plan.report, **places})


def read(folder: Path) -> Plan:
    """Read a saved plan back."""
    report = records.read_json(folder / "plan.json")
    places = report.pop("shards")
    return Plan(
        entries=np.load(folder / "plan.npy"),
        sources=[name for name, _ in places],
        shards=[Path(place) for _, place in places],
        stages=report["stages"],
        sequence_length=report["sequence_length"],
        batch_rows=report["batch_rows"],
        report=report,
    )


def seen_at(plan: Plan, step: int) -> list[dict[str, Any]]:
    """What the model sees at step `step` (from 0): source, row and document ids of each row."""
    opened = [shard_files.open_shard(folder) for folder in plan.shards]
    return [
        {
            "source": plan.sources[source],
            "row": int(row),
            "documents": opened[source].documents(int(row), plan.sequence_length),
        }
        for source, row in plan.rows_of_step(step)
    ]


def row_tokens(plan: Plan, source: str, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens (S,) of a source's row, and the position (S,) of each within its document."""
    shard = shard_files.open_shard(plan.shards[plan.sources.index(source)])
    return shard.row(row, plan.sequence_length)
