"""Notebook 02 with a server of its own: the key stays secret, and the ledger serves others."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from trait_lib import ROOT, contamination, records

KEY = "sk-test-7c1f9be2d4"
NOTEBOOK = ROOT / "notebooks" / "02_passage_generation.ipynb"


def problem(n, task):
    times = 3 if task == "one_step" else 5
    return {
        "id": f"{task}-{n}",
        "task": task,
        "topic": "length",
        "question": f"How many pims are {n} {task} dorns?",
        "solution": f"A dorn is {times} pims. {n} times {times} is {n * times}. "
        f"The answer is {n * times}.",
        "answer": str(n * times),
        "kind": "number",
        "split": "train",
        "entities": [],
    }


def write(number, body):
    """A passage of the solutions in the prompt; the key is in what the server says beside it."""
    solutions = re.findall(r"<solution>\n(.*?)\n</solution>", body["messages"][1]["content"])
    parts = [
        f'<paragraph problem="{i}">\nLook up the unit. {solution}\n</paragraph>'
        for i, solution in enumerate(solutions, start=1)
    ]
    parts.append(f"<enlightenment>\nBoth multiply, by numbers of {solutions[0]}\n</enlightenment>")
    choice = {"message": {"content": "\n".join(parts)}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 7}}


def runs_with_problems(folder):
    """A runs folder in which notebooks 00 and 01 have been run, as far as notebook 02 can see."""
    stage = folder / "math" / "smoke" / "data" / "seed0"
    rows = [problem(n, task) for n in range(2, 14) for task in ("one_step", "rate")]
    records.write_rows(stage / "00_start_here" / "problems_train.jsonl", rows)
    for split in ("test", "dev"):
        held_out = [{"id": f"{split}-0", "question": f"Which {split} question is this?"}]
        records.write_rows(stage / "00_start_here" / f"problems_{split}.jsonl", held_out)
    contamination.write_known(stage / "00_start_here" / "contamination.json", {}, [])
    for name in ("00_start_here", "01_data_selection"):
        records.write_json(stage / name / "manifest.json", {"stage": name, "outputs": {}})
    return stage / "02_passage_generation"


def execute(folder, key="", **parameters):
    """Run the notebook into `folder`; returns the folder of its stage."""
    stage = runs_with_problems(folder)
    given = {"tier": "smoke", "passages": 12, "max_uses": 1, "teacher": "server"}
    given |= {"model": "local/a", "poll_seconds": 0.05, **parameters}
    (folder / "given.yaml").write_text(json.dumps(given))
    environment = os.environ | {
        "TRAIT_RUNS": str(folder),
        "OPENAI_API_KEY": key,
        "IPYTHONDIR": str(folder / "ipython"),
    }
    out = [str(folder / "out.ipynb"), "-f", str(folder / "given.yaml"), "--log-output"]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "papermill"), str(NOTEBOOK), *out],
        env=environment,
        capture_output=True,
        text=True,
    )
    (folder / "log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]
    return stage


def all_bytes(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_key_stays_secret_and_ledger_and_batches_give_the_same_passages(serve, tmp_path):
    telling = {"status": 500, "body": json.dumps({"error": {"message": f"odd key {KEY}"}})}
    server = serve(lambda number, body: telling if number == 0 else write(number, body))
    direct = execute(tmp_path / "direct", KEY, base_url=server.url)
    assert set(server.keys) == {f"Bearer {KEY}"}
    found = all_bytes(tmp_path / "direct")
    names = {path.name for path in found}
    assert {"ledger.sqlite", "manifest.json", "quality.json", "out.ipynb", "log"} <= names
    assert not [str(path) for path, content in found.items() if KEY.encode() in content]
    passages = (direct / "passages.jsonl").read_bytes()
    assert passages.count(b"\n") == 12

    handed = tmp_path / "replies.jsonl.gz"
    command = [sys.executable, "-m", "trait_lib.teacher", "export"]
    command += [str(direct / "ledger.sqlite"), str(handed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("12 requests written")
    replayed = execute(tmp_path / "replayed", replay=str(handed))  # no key, no server
    assert (replayed / "passages.jsonl").read_bytes() == passages

    server.behaviour = server.desk.answer = None  # a request of its own would fail
    server.desk.answer = lambda body: write(0, body)
    batched = execute(tmp_path / "batched", KEY, base_url=server.url, route="batch")
    assert (batched / "passages.jsonl").read_bytes() == passages
    assert server.calls.count("POST batches") == 1
    assert not [str(p) for p, c in all_bytes(tmp_path / "batched").items() if KEY.encode() in c]
