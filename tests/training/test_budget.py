"""From hours to tokens: measured once, the same for every arm, refused where it is too little."""

import os

import pytest
from tiny import SHAPE

from trait_lib import run
from trait_lib.training import budget
from trait_lib.training.checks import speed

VALUES = {
    "hours": 1.0,
    "training_share": 0.5,
    "precision": "auto",
    "processes": 0,
    "sequence_length": 16,
    "batch_tokens": 64,
    "engine": "deepspeed",
    "base_revision": "main",
    "dry_run": True,
    "tokens_stage1": 1,
    "tokens_stage2": 1,
    "domain": "math",
    "tier": "laptop",
}


def test_hours_become_whole_batches_and_too_few_are_refused():
    assert budget.tokens_of(100.0, {**VALUES, "batch_tokens": 4096}) == 21 * 4096
    with pytest.raises(ValueError, match=r"hours: 0.1 hold .* 40,000 are the least. Set hours: "):
        budget.tokens_of(100.0, {**VALUES, "hours": 0.1})


def test_values_that_leave_nothing_open_come_back_unchanged():
    values = {**VALUES, "precision": "fp32", "processes": 2, "hours": 0.0}
    assert budget.settle(None, values, {}) is values


def test_a_measurement_settles_everything_and_is_kept(runs, monkeypatch, tmp_path, capsys):
    from transformers import MistralConfig, MistralForCausalLM

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})  # one rank: seconds
    MistralForCausalLM(MistralConfig(vocab_size=97, sliding_window=None, **SHAPE)).save_pretrained(
        tmp_path
    )
    stage = run.Stage("03_two_stage_training", tmp_path, {})
    start = {"name_or_path": str(tmp_path)}
    first = budget.settle(stage, VALUES, start)
    assert first["precision"] in speed.PRECISIONS and first["processes"] == 1
    assert first["tokens_stage1"] == first["tokens_stage2"] >= budget.LEAST
    assert first["tokens_stage1"] % 64 == 0
    assert os.environ["OMP_NUM_THREADS"] == "1"
    said = capsys.readouterr().out
    assert "tokens/s expected here" in said and "GiB of memory in all" in said
    assert "the same for every arm" in said
    monkeypatch.setattr(speed, "_measure", None)  # it stands
    assert budget.settle(stage, VALUES, start) == first
    with pytest.raises(ValueError, match="Set precision: auto and processes: 0"):
        budget.settle(stage, {**VALUES, "processes": 7}, start)
