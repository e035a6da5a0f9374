"""The parameter files of notebook 03: what they say can be laid out and fits its machine."""

import os
import re
import subprocess
import sys

import nbformat
import pytest

from trait_lib import ROOT
from trait_lib.repo import chain
from trait_lib.training import arms, finetune
from trait_lib.training.checks import preflight
from trait_lib.training.data import plan
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import engine

NAME = "03_two_stage_training"
TIERS = [
    (d, t)
    for d in ("math", "ads")
    for t in ("smoke", "replica", "local", "laptop", "small", "paper")
]


def parameters(domain, tier, **given):
    values = chain.resolve(NAME, ROOT / "params" / domain / tier / f"{NAME}.yaml", given)
    if tier == "laptop":  # what a measurement settles
        values |= {"precision": "bf16_autocast", "processes": values["processes"] or 2}
    return values


def laid_out(values, arm):
    files = {source: source for source in arms.sources(arm)}
    if arms.find(arm).finetunes:
        tokens = values["finetune_epochs"] * values["finetune_epoch_tokens"]
        values = {**finetune.settings(values), "finetune_tokens": tokens}
    return values, arms.stages(arm, {"passages_share": 1.0, **values}, files)


@pytest.mark.parametrize("arm", arms.ARMS)
@pytest.mark.parametrize(("domain", "tier"), TIERS)
def test_every_arm_of_every_tier_is_a_configuration(domain, tier, arm):
    values, stages = laid_out(parameters(domain, tier), arm)
    given = {key: values[key] for key in settings.SETTINGS if key in values}
    config = settings.check({**given, "model": "x", "stages": stages})
    assert engine.micro_batch_rows(config, values["processes"] * values["nodes"]) >= 1
    if tier == "smoke":  # eighty rows: a share of a row is more than a percent
        return
    for stage, timing in zip(stages, plan.stage_steps(stages, config["batch_tokens"]), strict=True):
        weights = [source["weight"] for source in stage["sources"]]
        rows = timing["steps"] * config["batch_tokens"] // config["sequence_length"]
        counts = plan.shares_to_counts(weights, rows)
        shares = [count / rows for count in counts]
        assert shares == pytest.approx(weights, abs=0.002)  # a row of so few steps


@pytest.mark.parametrize("domain", ["math", "ads"])
def test_the_papers_settings_are_the_papers(domain):
    values = parameters(domain, "paper")
    assert values["base_model"] == "mistralai/Mistral-7B-v0.1"
    assert values["batch_tokens"] == 2**20 and values["learning_rate"] == 2e-5
    assert (values["schedule"], values["warmup_share"], values["decay_share"]) == ("wsd", 0.03, 0.1)
    assert (values["precision"], values["engine"]) == ("bf16", "deepspeed")
    assert (values["finetune_epochs"], values["finetune_learning_rate"]) == (5, 5e-6)
    assert values["finetune_schedule"] == "cosine"


@pytest.mark.parametrize(("domain", "tier"), [t for t in TIERS if t[1] in ("small", "paper")])
def test_the_large_tiers_fit_their_devices(domain, tier):
    values, stages = laid_out(parameters(domain, tier), "trait")
    given = {key: values[key] for key in settings.SETTINGS if key in values}
    config = settings.check({**given, "model": values["base_model"], "stages": stages})
    ranks = values["processes"] * values["nodes"]
    micro = engine.micro_batch_rows(config, ranks)
    size = preflight.shape(preflight.model_config(values["base_model"]))
    preflight.check_memory(size, config, ranks, micro, values["device_memory_gib"])
    if tier == "paper":  # activations of 32 layers: only recomputed ones fit beside ZeRO-1's 64 GiB
        kept = {**config, "gradient_checkpointing": False}
        with pytest.raises(MemoryError, match="gradient_checkpointing: true"):
            preflight.check_memory(size, kept, ranks, micro, values["device_memory_gib"])


@pytest.mark.slow
def test_the_papers_tier_runs_dry_without_weights_and_network(tmp_path):
    out = tmp_path / "out.ipynb"
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "TRAIT_RUNS": str(tmp_path), "HF_HOME": str(tmp_path / "hub")}
    environment |= {"HF_ENDPOINT": nowhere, "http_proxy": nowhere, "https_proxy": nowhere}
    environment.pop("DS_ACCELERATOR", None)  # Make's, in the small tiers
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / f"{NAME}.ipynb"), out]
    file = ROOT / "params/math/paper" / f"{NAME}.yaml"
    words = ["-f", file, "-p", "dry_run", "True", "-p", "gradient_check", "False"]
    subprocess.run(
        [*command, *words, "--no-progress-bar"],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
    )
    cells = nbformat.read(out, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    said = "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)
    assert "7,241,732,096 parameters, of which 7,110,660,096 multiply" in said
    assert "49,106,411,520 FLOPs a token" in said
    assert re.search(r"device hours\s+197\b", said) and re.search(r"gib per device\s+64\.1", said)
    assert "Dry run: nothing was trained." in said
    folder = tmp_path / "math/paper/trait/seed0" / NAME
    assert not folder.exists()
    job = folder.with_name(f"{NAME}.dry_run").joinpath("launch.slurm").read_text().splitlines()
    assert {"#SBATCH --gpus-per-node=8", "#SBATCH --time=1-00:00:00"} <= set(job)  # 197 / 8 hours
    assert f'{NAME}/config.json"' in job[-2]
