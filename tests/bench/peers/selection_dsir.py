"""The package data-selection: fit, weights and resampling on one core; prints the seconds."""

import os
import sys
import time
from pathlib import Path

import numpy as np
from data_selection import HashedNgramDSIR

source, target, out, number = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
os.environ["TQDM_DISABLE"] = "1"
started = time.perf_counter()
dsir = HashedNgramDSIR([source], [target], cache_dir=str(out / "cache"), num_proc=1)
dsir.fit_importance_estimator(num_tokens_to_fit="auto")
dsir.compute_importance_weights()
dsir.resample(out_dir=str(out / "resampled"), num_to_sample=number, cache_dir=str(out / "drawn"))
seconds = time.perf_counter() - started
files = sorted(Path(dsir.log_importance_weights_dir).glob("*.npy"))
np.save(out / "weights.npy", np.concatenate([np.load(file) for file in files]))
print(seconds)
