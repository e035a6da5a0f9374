"""datatrove's fastText filter, file in to file out; prints the seconds of the pipeline."""

import sys
import time
from pathlib import Path

from datatrove.pipeline.filters import FastTextClassifierFilter
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from loguru import logger

source, out, model, least = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
logger.remove()
parquet = source.suffix == ".parquet"
reader, writer = (ParquetReader, ParquetWriter) if parquet else (JsonlReader, JsonlWriter)
keep = FastTextClassifierFilter(model, keep_labels=[("in", least)], newline_replacement=" ")
keep.model  # noqa: B018  (loaded before the clock starts)
steps = [
    reader(str(source.parent), glob_pattern=source.name),
    keep,
    writer(out, **({} if parquet else {"compression": None})),
]

started = time.perf_counter()
data = None
for step in steps:
    data = step(data, 0, 1)
for _ in data:
    pass
print(time.perf_counter() - started)
