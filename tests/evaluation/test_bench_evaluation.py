"""The own side of `make bench-evaluation`, on a tiny model."""

import importlib.util
import json

from trait_lib import ROOT, records
from trait_lib.evaluation.inference import generation

PLACE = ROOT / "tests" / "bench" / "evaluation.py"


def bench():
    spec = importlib.util.spec_from_file_location("bench_evaluation", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problem(number, task):
    return {
        "id": f"{task}{number}",
        "task": task,
        "question": f"What is {number} plus {number}?",
        "solution": f"It is {2 * number}. The answer is {2 * number}.",
        "answer": str(2 * number),
    }


def test_our_side_of_the_benchmark(tmp_path, model_folder, monkeypatch):
    module = bench()
    for split, numbers in (("train", range(9)), ("test", range(20, 25)), ("dev", range(30, 32))):
        rows = [problem(n, task) for task in ("sums", "twice") for n in numbers]
        records.write_rows(tmp_path / f"problems_{split}.jsonl", rows)
    records.write_json(tmp_path / "base_model.json", {"name_or_path": str(model_folder)})
    job = module.job_of(tmp_path, 1, "task", 10**6)
    assert {task: len(rows) for task, rows in job["tasks"].items()} == {"sums": 7, "twice": 7}
    job |= {
        "repeats": 2,
        "batch_sizes": [4],
        "out": str(tmp_path / "out.json"),
        "max_new_tokens": 5,
    }
    decoded = []
    whole = generation._row
    monkeypatch.setattr(
        generation, "_row", lambda name, *more: decoded.append(name) or whole(name, *more)
    )
    for turn in (1, 2):  # a second turn in the same folder does the work again
        made = module.ours(job)
        assert len(made[4]["outputs"]) == 14 and len(made[4]["wall"]) == len(made[4]["cpu"]) == 2
        assert len(decoded) == turn * (1 + job["repeats"]) * 14
    assert json.loads(json.dumps(job)) == job
