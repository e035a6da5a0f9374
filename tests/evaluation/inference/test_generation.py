"""Generation: the same answers however they are batched, interrupted or served."""

import json
import os
import signal
import subprocess
import sys
import time

import prepared
import pytest
import torch

from trait_lib import ROOT
from trait_lib.evaluation.inference import checkpoint, generation
from trait_lib.evaluation.inference.generation import Settings

prepared.load("trait_lib.evaluation.inference.checkpoint")
PROMPTS = {
    f"p{n}": f"Question: How many legs have {n * 7} cows?\nAnswer:"[: 20 + n] for n in range(23)
}
SETTINGS = Settings(max_new_tokens=12, batch_size=8)


def outputs(rows):
    return {name: row["output"] for name, row in rows.items()}


def by_hand(model, tokenizer, prompt, settings):
    """Greedy decoding without batches, padding or cache."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    for _ in range(settings.max_new_tokens):
        with torch.no_grad():
            token = model(input_ids=ids, use_cache=False).logits[0, -1].argmax()
        ids = torch.cat([ids, token.view(1, 1)], dim=1)
        text = tokenizer.decode(ids[0, start:])
        if token == tokenizer.eos_token_id or any(stop in text for stop in settings.stop):
            break
    for special in tokenizer.all_special_tokens:
        text = text.replace(special, "")
    return generation.cut(text, settings.stop)


def test_batches_of_any_size_give_the_answers_of_plain_decoding(tmp_path, model_folder, loaded):
    wanted = {name: by_hand(*loaded, text, SETTINGS) for name, text in PROMPTS.items()}
    assert len(set(wanted.values())) > 1
    for size in (1, 5, 64):
        settings = Settings(max_new_tokens=12, batch_size=size)
        rows = generation.generate(PROMPTS, str(model_folder), tmp_path / f"{size}.jsonl", settings)
        assert outputs(rows) == wanted
        assert list(rows) == list(PROMPTS)


def test_an_output_ends_before_its_stop_string(tmp_path, model_folder, loaded):
    free = Settings(max_new_tokens=12, stop=())
    whole = generation.generate(PROMPTS, str(model_folder), tmp_path / "free.jsonl", free)
    text = max(outputs(whole).values(), key=len)
    stop = text[3:5]
    settings = Settings(max_new_tokens=12, stop=(stop,))
    cut = generation.generate(PROMPTS, str(model_folder), tmp_path / "cut.jsonl", settings)
    for name, row in cut.items():
        assert row["output"] == generation.cut(whole[name]["output"], (stop,))
    assert sum(row["tokens"] for row in cut.values()) < sum(row["tokens"] for row in whole.values())


def test_two_processes_give_the_same_answers(tmp_path, model_folder):
    one = generation.generate(PROMPTS, str(model_folder), tmp_path / "1.jsonl", SETTINGS)
    settings = Settings(max_new_tokens=12, batch_size=8, workers=2)
    two = generation.generate(PROMPTS, str(model_folder), tmp_path / "2.jsonl", settings)
    assert outputs(one) == outputs(two)


ORPHANED = """
import multiprocessing, os, sys, time
from trait_lib.evaluation.inference import generation
generation._load = lambda *_: None
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    from concurrent.futures import ProcessPoolExecutor
    pool = ProcessPoolExecutor(1, spawn, generation._begin, ("", ""))
    print(pool.submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "orphaned.py"
    script.write_text(ORPHANED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60
    )
    worker, deadline = int(done.stdout), time.monotonic() + 20
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{worker}")


KILLED = """
import os, sys
from trait_lib.evaluation.inference import generation
whole = generation._row
def dying(*row):
    if generation.done >= 9:
        os.kill(os.getpid(), 9)
    generation.done += 1
    return whole(*row)
generation.done, generation._row = 0, dying
question = "Question: How many legs have {} cows?\\nAnswer:"
prompts = {f"p{n}": question.format(n * 7)[: 20 + n] for n in range(23)}
settings = generation.Settings(max_new_tokens=12, batch_size=8)
generation.generate(prompts, sys.argv[1], sys.argv[2], settings)
"""


def test_a_killed_run_repeats_no_finished_row(tmp_path, model_folder, monkeypatch):
    file = tmp_path / "answers.jsonl"
    child = prepared.start(KILLED, model_folder, file)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    before = file.read_bytes()
    assert before.count(b"\n") == 9
    file.write_bytes(before + b'{"id": "p0", "outp')  # and a line that was cut off

    asked = []
    whole = generation._decoded
    monkeypatch.setattr(
        generation,
        "_decoded",
        lambda prompts, *more: asked.extend(prompts) or whole(prompts, *more),
    )
    rows = generation.generate(PROMPTS, str(model_folder), file, SETTINGS)
    kept = {json.loads(line)["id"] for line in before.splitlines()}
    assert len(asked) == 14 and not kept & set(asked)
    assert file.read_bytes().startswith(before)
    fresh = generation.generate(PROMPTS, str(model_folder), tmp_path / "fresh.jsonl", SETTINGS)
    assert outputs(rows) == outputs(fresh)


def test_each_task_has_its_own_stops_and_length(tmp_path, model_folder, loaded):
    tasks = {name: "short" if n % 2 else "long" for n, name in enumerate(PROMPTS)}
    settings = Settings(12, (), task_tokens={"short": 3}, task_stops={"long": ("e",)})
    rows = generation.generate(
        PROMPTS, str(model_folder), tmp_path / "x.jsonl", settings, tasks=tasks
    )
    for name, text in PROMPTS.items():
        way = Settings(3, ()) if tasks[name] == "short" else Settings(12, ("e",))
        assert rows[name]["output"] == by_hand(*loaded, text, way)


def test_rows_of_another_prompt_model_or_setting_are_not_reused():
    key = generation.key_of("a", "model", SETTINGS)
    assert key == generation.key_of(
        "a", "model", Settings(max_new_tokens=12, batch_size=1, workers=3)
    )
    assert key != generation.key_of("b", "model", SETTINGS)
    assert key != generation.key_of("a", "other", SETTINGS)
    assert key != generation.key_of("a", "model", Settings(max_new_tokens=13))


def test_a_finished_file_is_answered_without_loading_a_model(tmp_path, model_folder):
    file = tmp_path / "answers.jsonl"
    rows = generation.generate(PROMPTS, str(model_folder), file, SETTINGS)
    generation.unload()
    started = time.monotonic()
    again = generation.generate(PROMPTS, str(model_folder), file, SETTINGS)
    assert again == rows and not generation._loaded
    assert time.monotonic() - started < 5


def test_parts_hold_prompts_that_begin_alike():
    made = generation.parts({"a": "xy", "b": "pq", "c": "xz", "d": "pr", "e": "k"}, 2)
    assert made == [["e", "b"], ["d", "a"], ["c"]]


def test_a_prompt_without_room_for_an_answer_is_an_error(tmp_path, model_folder):
    prompts = {"long": "One warb is 7 saln. " * 60}
    with pytest.raises(ValueError, match=r"exceed the model's 256 positions; lower shots"):
        generation.generate({**PROMPTS, **prompts}, str(model_folder), tmp_path / "x", SETTINGS)
    assert not os.path.getsize(tmp_path / "x")
    with pytest.raises(ValueError, match="an empty prompt cannot be continued"):
        generation.generate({"none": ""}, str(model_folder), tmp_path / "x", SETTINGS)


def test_one_prompt_too_long_is_refused_before_any_other_is_answered(tmp_path, model_folder):
    prompts = {"short": "One warb", "long": "One warb is 7 saln. " * 60}
    tasks = {"short": "a", "long": "b"}
    for settings in (
        Settings(8, task_stops={"b": ("x",)}),
        Settings(8, batch_size=1, workers=2),
        Settings(250, task_tokens={"a": 3}),
    ):
        with pytest.raises(ValueError, match=r"'long': \d+ tokens and \d+ new .* 256 positions"):
            generation.generate(prompts, str(model_folder), tmp_path / "x", settings, tasks=tasks)
        assert not os.path.getsize(tmp_path / "x") and not generation._loaded


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such model folder; run notebook 03 first"):
        checkpoint.load(tmp_path / "absent")
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, got 'fp16'"):
        checkpoint.load(tmp_path, "fp16")
