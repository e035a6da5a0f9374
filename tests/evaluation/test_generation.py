"""Generation: the same answers however they are batched, interrupted or served."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from trait_lib import ROOT
from trait_lib.evaluation import generation, models
from trait_lib.evaluation.generation import Settings

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
    return generation.cut(text.replace(tokenizer.eos_token, ""), settings.stop)


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
from trait_lib.evaluation import generation
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


def test_a_server_gives_the_same_answers(tmp_path, model_folder, server):
    here = generation.generate(PROMPTS, str(model_folder), tmp_path / "here.jsonl", SETTINGS)
    settings = Settings(max_new_tokens=12, workers=4, base_url=server.url)
    there = generation.generate(PROMPTS, "tiny", tmp_path / "there.jsonl", settings)
    assert outputs(here) == outputs(there)
    assert {asked["model"] for asked in server.asked} == {"tiny"}
    assert all(asked["temperature"] == 0 for asked in server.asked)


KILLED = """
import os, sys
from trait_lib.evaluation import generation
whole = generation._batch
def dying(prompts, settings):
    if generation.done >= 2:
        os.kill(os.getpid(), 9)
    generation.done += 1
    return whole(prompts, settings)
generation.done, generation._batch = 0, dying
question = "Question: How many legs have {} cows?\\nAnswer:"
prompts = {f"p{n}": question.format(n * 7)[: 20 + n] for n in range(23)}
settings = generation.Settings(max_new_tokens=12, batch_size=8)
generation.generate(prompts, sys.argv[1], sys.argv[2], settings)
"""


def test_a_killed_run_repeats_no_finished_row(tmp_path, model_folder, monkeypatch):
    file = tmp_path / "answers.jsonl"
    command = [sys.executable, "-c", KILLED, str(model_folder), str(file)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    before = file.read_bytes()
    assert before.count(b"\n") == 16
    file.write_bytes(before + b'{"id": "p0", "outp')  # and a line that was cut off

    asked = []
    whole = generation._batch
    monkeypatch.setattr(
        generation, "_batch", lambda prompts, s: asked.extend(prompts) or whole(prompts, s)
    )
    rows = generation.generate(PROMPTS, str(model_folder), file, SETTINGS)
    kept = {json.loads(line)["id"] for line in before.splitlines()}
    assert len(asked) == 7 and not kept & set(asked)
    assert file.read_bytes().startswith(before)
    fresh = generation.generate(PROMPTS, str(model_folder), tmp_path / "fresh.jsonl", SETTINGS)
    assert outputs(rows) == outputs(fresh)


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


def test_batches_hold_prompts_of_similar_length_longest_first():
    made = generation.batches({"a": 5, "b": 9, "c": 7, "d": 1, "e": 9}, 2)
    assert made == [["b", "e"], ["c", "a"], ["d"]]


def test_a_prompt_without_room_for_an_answer_is_an_error(tmp_path, model_folder):
    prompts = {"long": "One warb is 7 saln. " * 60}
    with pytest.raises(ValueError, match=r"exceed the model's 256 positions; lower shots"):
        generation.generate(prompts, str(model_folder), tmp_path / "x.jsonl", SETTINGS)
    assert not os.path.getsize(tmp_path / "x.jsonl")


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such model folder; run notebook 03 first"):
        models.load(tmp_path / "absent")
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, got 'fp16'"):
        models.load(tmp_path, "fp16")
