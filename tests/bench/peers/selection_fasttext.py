"""Batched fastText from Python, file in to file out; prints the seconds."""

import gzip
import sys
import time
from itertools import islice

import fasttext
import orjson
import pyarrow.parquet as pq

source, out, path, least = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
BATCH = 1000
model = fasttext.load_model(path)


def batches():
    if source.endswith(".parquet"):
        for batch in pq.ParquetFile(source).iter_batches(BATCH):
            yield batch.to_pylist()
        return
    with gzip.open(source) as handle:
        while lines := list(islice(handle, BATCH)):
            yield [orjson.loads(line) for line in lines]


started = time.perf_counter()
with open(out, "wb") as handle:
    for rows in batches():
        names, values = model.predict([row["text"].replace("\n", " ") for row in rows], k=2)
        for row, name, value in zip(rows, names, values, strict=True):
            if value[0 if name[0] == "__label__in" else 1] >= least:
                handle.write(orjson.dumps(row) + b"\n")
print(time.perf_counter() - started)
