"""What a run over a corpus will take, before it is begun.

Some shards are opened, their first documents scored and timed; the rest is proportion. Not stated
in the paper; ours because nobody should learn after three days that it takes thirty.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trait_lib.reading import tables
from trait_lib.reading.shards import Shard
from trait_lib.records import Damaged
from trait_lib.selection.cut.budget import Budget
from trait_lib.selection.scan import passes

SAMPLED_SHARDS = 8
SAMPLED_DOCUMENTS = 1000  # of each
FINEWEB_TOKENS = 15e12
FINEWEB_BYTES = FINEWEB_TOKENS * 4.4  # of UTF-8; about what GPT-2's tokenizer gives on web text


@dataclass(frozen=True)
class Forecast:
    """An estimate of one pass over a corpus."""

    shards: int
    disk_bytes: float  # of the corpus
    documents: float
    text_bytes: float
    bytes_per_second: float  # of text, reading and scoring, by one worker
    part_bytes: float  # of the scores that are kept

    def hours(self, workers: int = 1) -> float:
        """The pass takes so long with this many workers on cores like this one."""
        return self.text_bytes / self.bytes_per_second / 3600 / workers

    def lines(self, workers: int) -> list[str]:
        """The plan for a reader."""
        return [
            f"{self.shards:,} shards, {_size(self.disk_bytes)} on the disk",
            f"about {self.documents:,.0f} documents, {_size(self.text_bytes)} of text",
            f"about {_size(self.part_bytes)} of disk for their scores",
            f"{self.bytes_per_second / 1e6:,.1f} MB of text a second and worker: "
            f"{_time(3600 * self.hours(workers))} with {workers} of them",
        ]


def make(
    shards: Sequence[Shard], methods: Sequence[passes.Named], fields: Mapping[str, str]
) -> Forecast:
    """Measure a sample of the shards and estimate the pass over all of them.

    Args:
        shards: of the corpus.
        methods: that will score it.
        fields: `text_field` and `id_field`.

    Raises:
        Damaged: no sampled shard can be read.
        EmptyCorpus: the sampled shards hold no document.
    """
    shards = [s for s in shards if s.size or s.kind == "hub"] or shards  # not the empty files
    made = passes.made(methods)
    warm = pa.array(["to compile and to load"], pa.large_string())
    for method in made:
        method(warm)
    chosen = np.unique(np.linspace(0, len(shards) - 1, SAMPLED_SHARDS).round().astype(int))
    found, problem = [], None
    for i in chosen:
        try:
            found.append(_measure(shards[i], made, fields))
        except Damaged as error:
            problem = problem or error
    if not found:
        raise problem
    total = np.sum(found, axis=0)  # documents, text, seconds, part bytes, documents in the shard
    if not total[0]:
        raise tables.EmptyCorpus(f"{shards[chosen[0]].label()}: holds no document, nor do others")
    documents = total[4] / len(found) * len(shards)
    known = [s.size for s in shards]
    if all(known):  # sizes on the disk say more than the number of shards
        sampled = sum(shards[i].size for i in chosen) * len(found) / len(chosen)
        documents = total[4] / sampled * sum(known)
    each = 1 / max(1, total[0])
    return Forecast(
        shards=len(shards),
        disk_bytes=float(sum(known)),
        documents=documents,
        text_bytes=documents * total[1] * each,
        bytes_per_second=total[1] / max(1e-9, total[2]),
        part_bytes=documents * total[3] * each,
    )


def _measure(shard: Shard, made: Sequence[passes.Method], fields: Mapping[str, str]) -> Any:
    """(documents, bytes of text, seconds, bytes of part) of a sample, documents of the shard."""
    documents, size, kept = 0, 0, 0
    started = time.process_time()
    for _, table in tables.read(shard, **fields):
        texts = table["text"].combine_chunks()
        columns: dict[str, Any] = {"id": table["id"], "source": table["source"]}
        for method in made:
            columns |= method(texts)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink, compression="zstd")
        documents, size = documents + len(texts), size + int(passes.sizes(texts).sum())
        kept += sink.getvalue().size
        if documents >= SAMPLED_DOCUMENTS:
            break
    seconds = time.process_time() - started
    return documents, size, seconds, kept, tables.documents_in(shard, documents)


def looked_at(plan: Forecast, size: Budget, oversample: float, rankings: int) -> float:
    """Bytes of text of all candidates that so many rankings propose, at most."""
    each = plan.text_bytes / plan.documents * size.documents or size.tokens * size.bytes_per_token
    return min(plan.text_bytes, oversample * each) * rankings


def fineweb(bytes_per_second: float) -> float:
    """Core-hours for one pass over FineWeb (15T tokens, about 66 TB of text) at a measured rate."""
    return FINEWEB_BYTES / bytes_per_second / 3600


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"
