"""Cells of the experiment: planned, trained, asked, found again, and gone on with after a kill."""

import time

import prepared
import pytest

from trait_lib import records, run
from trait_lib.claims import cell, jobs
from trait_lib.claims import settings as claims_settings

prepared.load("trait_lib.claims.cell", "trait_lib.training.loop.trainer")
RATE = 0.002
RUN = """
import pathlib, pickle, sys
from trait_lib.claims import cell
cell.run_cell(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))
"""


def numbers(record):
    return [row for row in record["rows"] if row["metric"] != "seconds"]


def weights(job):
    return run.hash_file(cell.Path(job.folder) / "model" / "model.safetensors")


def test_a_plan_with_too_little_text_names_arm_source_and_tokens(where, known):
    short = known | {"max_epochs": 1.0}
    with pytest.raises(jobs.PlansRefused) as refused:
        jobs.make(where, short, [("base", 0.0), ("trait", RATE), ("random", RATE)])
    lines = str(refused.value).splitlines()
    for line, arm in zip(lines, ("trait", "random"), strict=True):
        assert line.startswith(f"math, seed 0, arm {arm}: source ")
        assert "tokens in whole rows; the plan needs" in line
    assert not list(where.folder.glob("trait*")), "nothing has been trained"


def test_arms_with_one_first_stage_train_it_once_and_get_the_same_bits(where, known):
    rated = [("trait", RATE), ("permuted_answers", RATE), ("one_mixed_stage", RATE)]
    trait, permuted, mixed = jobs.make(where, known, rated)
    assert trait.shared and permuted.shared and not mixed.shared
    assert permuted.after == (trait.folder,)
    alone = cell.replace(permuted, shared=False, keep=True, folder=permuted.folder + "-alone")
    cell.run_cell(alone)
    cell.run_cell(trait)
    record = cell.run_cell(cell.replace(permuted, keep=True))
    assert weights(permuted) == weights(alone)
    assert {row["task"] for row in record["rows"]} >= {
        "mean of tasks", "entities in documents only", "general questions",
        "held-out domain text", "training",
    }  # fmt: skip
    assert record["curve"][0]["step"] == 0


def test_a_cell_that_stands_is_found_and_a_changed_setting_runs_again(where, known):
    (base,) = jobs.make(where, known, [("base", 0.0)])
    assert cell.done(base) is None
    record = cell.run_cell(base)
    assert cell.done(base) == record
    assert record["manifest"] == records.read_json(cell.Path(base.folder) / "cell.json")["manifest"]
    told = {row["task"]: row["value"] for row in record["rows"]}
    assert told["classifier selection"] == 0.5 and told["documents-only facts"] == 0
    moved = cell.replace(base, after=("elsewhere",), keep=True)  # these change no number
    assert cell.done(moved) == record
    asked = cell.replace(base.asked, parameters={**base.asked.parameters, "shots": 1})
    assert cell.done(cell.replace(base, asked=asked)) is None


def test_a_killed_cell_runs_again_to_the_same_numbers(where, known, tmp_path):
    import pickle

    (job,) = jobs.make(where, known, [("stage1_only", RATE)])
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    child = prepared.start(RUN, tmp_path / "job")
    log = cell.Path(job.folder) / "log.jsonl"
    give_up = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 3) and time.monotonic() < give_up:
        time.sleep(0.02)
    child.kill()
    child.join()
    assert cell.done(job) is None
    after = cell.run_cell(job)
    again = cell.run_cell(cell.replace(job, folder=job.folder + "-again"))
    assert numbers(after) == numbers(again) and after["key"] == again["key"]


def test_a_sweep_asks_development_problems_and_nothing_else(where, known):
    (job,) = jobs.make(where, known, [("base", 0.0)], split="dev")
    tasks = {row["task"]: row for row in cell.run_cell(job)["rows"]}
    assert tasks["mean of tasks"]["n"] == 8
    assert not tasks.keys() & {"general questions", "held-out domain text"}
    assert "/dev/" in job.folder


def test_answers_without_a_model_are_graded_like_the_others(where, known):
    for name in (cell.CONSTANT, cell.COPIED):
        (job,) = jobs.make(where, known, [(name, 0.0)])
        record = cell.run_cell(job)
        scored = {row["task"]: row["value"] for row in record["rows"]}
        assert 0 <= scored["mean of tasks"] < 1 and "held-out domain text" not in scored
        rows = records.read_rows(cell.Path(job.folder) / "answers.jsonl")
        assert {row["extracted"] for row in rows} - {None, ""}, "an answer was read"


def test_fine_tuning_goes_on_from_the_arm_that_it_names(where, known):
    made = jobs.make(where, known, [("trait_finetuned", 0.0005)])
    assert [job.arm for job in made] == ["trait", "trait_finetuned"]
    trait, tuned = made
    assert trait.folder in tuned.after and tuned.start == trait.key and trait.keep
    assert claims_settings.rate_of("trait", known) == trait.rate


def test_ads_are_scored_as_the_paper_scores_them(where, known):
    ads = jobs.Where("ads", "smoke", 0, where.params)
    base, constant = jobs.make(ads, known, [("base", 0.0), (cell.CONSTANT, 0.0)])
    found = {row["task"]: row for row in cell.run_cell(base)["rows"]}
    assert found["query_landing_page_relevance (likelihood)"]["metric"] == "AUC"
    assert found["title_generation (judge)"]["value"] == 0.5, "the base model against itself"
    assert {"rewrites: diversity", "rewrites: density"} <= found.keys()
    found = {row["task"]: row for row in cell.run_cell(constant)["rows"]}
    assert found["title_generation (judge)"]["value"] > 0.5, (
        "titles beat an untrained model's noise"
    )
    assert "query_landing_page_relevance (likelihood)" not in found
