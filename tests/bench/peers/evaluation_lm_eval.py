"""The peer of `tests/bench/evaluation.py`: lm-evaluation-harness's Hugging Face route.

    python evaluation_lm_eval.py JOB.json

reads the job (model, tasks with their rows, stop strings, new tokens, batch sizes), writes each
task as a local YAML file over a local JSON file, evaluates them with `simple_evaluate` and writes
the outputs and the seconds of each `generate_until`, by batch size, to the job's file `out`.
"""

import json
import sys
import time
from pathlib import Path

import yaml


def task_file(folder: Path, name: str, rows: list[dict], job: dict) -> None:
    """A task as the harness takes it: the prompt is the document's text, examples included."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "num_fewshot": 0,
        "generation_kwargs": {
            "until": job["stop"],
            "max_gen_toks": job["max_new_tokens"],
            "do_sample": False,
        },
        "metric_list": [{"metric": "exact_match"}],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def main(path: str) -> None:
    """Run the job in the file `path`."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    folder = Path(path).parent / "lm_eval"
    folder.mkdir(exist_ok=True)
    for name, rows in job["tasks"].items():
        task_file(folder, name, rows, job)

    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(job["threads"])
    model = HFLM(pretrained=job["model"], device=job["device"], dtype=job["dtype"], batch_size=1)
    generating = model.generate_until
    seconds = []

    def timed(requests: list, *args: object, **kwargs: object) -> list:
        started, used = time.perf_counter(), time.process_time()
        found = generating(requests, *args, **kwargs)
        seconds.append((time.perf_counter() - started, time.process_time() - used))
        return found

    model.generate_until = timed
    made = {}
    for size in job["batch_sizes"]:
        model.batch_size_per_gpu = size
        seconds.clear()
        for _ in range(1 + job["repeats"]):  # the first is for warming up
            found = lm_eval.simple_evaluate(
                model=model,
                tasks=list(job["tasks"]),
                task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                bootstrap_iters=0,
                log_samples=True,
            )
        outputs = {
            sample["doc"]["id"]: sample["resps"][0][0]
            for samples in found["samples"].values()
            for sample in samples
        }
        made[size] = {"outputs": outputs, "wall": [w for w, _ in seconds[1:]]}
        made[size]["cpu"] = [c for _, c in seconds[1:]]
    Path(job["out"]).write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
