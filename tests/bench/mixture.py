"""Precision of every ranking of notebook 01 on a labelled mixture of open text.

    python tests/bench/mixture.py FOLDER

FOLDER holds `corpus/corpus_open.jsonl.gz` (documents with id, text, source, label, split),
`corpus/mix_minority_ids.txt.gz` (the ids of the mixture) and `math_eval/gsm8k_train.jsonl.gz`.
For each seed the notebook is run on files without labels, and selects as many documents as the
mixture holds of the domain; borderline documents are left out. The labels are used afterwards.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests/bench/results/mixture.json"
SEEDS = {  # name -> (domain, label that must be found)
    "math, same sources": "math",
    "ads, same sources": "ads",
    "math from word problems": "math",
    "ads from a marketing textbook": "ads",
}
RANKINGS = ("mined", "classifier", "second_round", "sampled", "averaged")
# fastText's settings are the notebook's own; every document is its own chunk and nothing is
# filtered, so that a ranking's selection is its best documents
SETTINGS = {"tier": "local", "quality_filter": "none", "near_duplicates": 0.0, "min_words": 1}


def rows(path: Path) -> list[dict]:
    """The JSON rows of a compressed file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path: Path, texts: list[tuple[str, str]]) -> Path:
    """Rows of id and text."""
    lines = [json.dumps({"id": name, "text": text}) for name, text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def seeds(folder: Path, documents: list[dict]) -> dict[str, list[tuple[str, str]]]:
    """The seed texts of each case."""
    own = [d for d in documents if d["split"] == "seed"]
    problems = rows(folder / "math_eval/gsm8k_train.jsonl.gz")

    def pick(keep) -> list[tuple[str, str]]:
        return [(d["id"], d["text"]) for d in own if keep(d)]

    return {
        "math, same sources": pick(lambda d: d["label"] == "math"),
        "ads, same sources": pick(lambda d: d["label"] == "ads"),
        "math from word problems": [(p["id"], p["question"]) for p in problems],
        "ads from a marketing textbook": pick(lambda d: d["source"] == "openstax_marketing"),
    }


def select(work: Path, name: str, seed_file: Path, pool_file: Path, number: int) -> dict:
    """Run the notebook; the ids that each ranking selects."""
    runs = work / "runs" / name.replace(" ", "_").replace(",", "")
    given = {**SETTINGS, "domain": SEEDS[name], "selection_documents": number, "compare": RANKINGS}
    given |= {"seed_files": [str(seed_file)], "corpus_files": [str(pool_file)]}
    parameters = work / "parameters.json"
    parameters.write_text(json.dumps(given))
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks/01_data_selection.ipynb")]
    command += [str(work / "out.ipynb"), "-f", str(parameters), "--no-progress-bar"]
    environment = os.environ | {"TRAIT_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, cwd=ROOT)
    (scores,) = runs.rglob("scores.parquet")
    table = pq.read_table(scores).to_pydict()
    columns = {"mined": "kept", **{n: f"kept_{n}" for n in RANKINGS[1:]}}
    columns |= {"DSIR": "kept_dsir", "random": "kept_random"}
    return {
        name: [i for i, kept in zip(table["id"], table[column], strict=True) if kept]
        for name, column in columns.items()
    }


def measure(folder: Path, names: list[str]) -> dict:
    """Precision of every ranking for every seed."""
    documents = rows(folder / "corpus/corpus_open.jsonl.gz")
    with gzip.open(folder / "corpus/mix_minority_ids.txt.gz", "rt") as lines:
        mixture = set(lines.read().split())
    pool = [d for d in documents if d["id"] in mixture and not d["label"].startswith("borderline")]
    label = {d["id"]: d["label"] for d in pool}
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pool_file = write(work / "pool.jsonl", [(d["id"], d["text"]) for d in pool])
        for name in names:
            seed_file = write(work / "seed.jsonl", seeds(folder, documents)[name])
            number = sum(value == SEEDS[name] for value in label.values())
            kept = select(work, name, seed_file, pool_file, number)
            right = {n: sum(label[i] == SEEDS[name] for i in ids) for n, ids in kept.items()}
            found[name] = {n: round(count / number, 4) for n, count in right.items()}
            print(name, found[name], flush=True)
    return {"documents": len(pool), "precision": found}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the labelled text")
    parser.add_argument("--only", choices=SEEDS, action="append", help="one seed; not written")
    options = parser.parse_args()
    result = measure(options.folder, options.only or list(SEEDS))
    if not options.only:
        result |= {"command": "python tests/bench/mixture.py FOLDER", "date": str(date.today())}
        result |= {"python": platform.python_version()}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
