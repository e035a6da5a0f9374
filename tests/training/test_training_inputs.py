"""What notebook 03 reads: recorded by content, and refused where it has changed since."""

import pytest
from tiny import SHAPE
from transformers import MistralConfig, MistralForCausalLM

from trait_lib import contamination, pretrained, records, run
from trait_lib.training import arms, base, finetune, inputs

VALUES = {
    "domain": "math",
    "tier": "smoke",
    "seed": 0,
    "arm": "trait",
    "dry_run": False,
    "base_model": "",
    "heldout_passages_share": 0.1,
    "sequence_length": 64,
    "finetune_loss": "answer",
    "finetune_epochs": 5,
    "finetune_epoch_tokens": 1000,
}
PROBLEM = {"id": "p", "task": "sums", "question": "How many are 2 and 3?", "solution": "5."}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Notebook 03 about to start, behind finished notebooks 00 to 02 of a few rows."""
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    rows = [{"id": str(n), "text": f"Text {n} of a few words."} for n in range(20)]
    written = {name: rows for _, name in arms.FILES.values()}
    written |= {f"heldout_{name}.jsonl": rows for name in ("domain", "general")}
    written |= {f"problems_{split}.jsonl": [PROBLEM | {"id": split}] for split in ("dev", "test")}
    written["problems_train.jsonl"] = [
        {**PROBLEM, "id": "leaked"},
        {**PROBLEM, "question": "How many are 4 and 7?"},
        {**PROBLEM, "question": "How many are 8 and 1?", "prompt": "Say: 8 + 1 ="},
    ]
    written["relevance_train.jsonl"] = []
    for name in run.SHARED_STAGES:
        earlier = run.open_stage(name, VALUES)
        for file, some in written.items():
            records.write_rows(earlier.path(file), some)
        if name == inputs.BASE:
            contamination.write_known(earlier.path("contamination.json"), {}, [])
            records.write_json(earlier.path("base_model.json"), pretrained.record(model(tmp_path)))
        earlier.close()
    return run.open_stage("03_two_stage_training", VALUES)


def model(folder):
    place = folder / "model"
    records.write_rows(folder / "text.jsonl", [{"text": "How many are 8 and 1? 9."}])
    made = base.train_tokenizer([folder / "text.jsonl"], 300, place)
    MistralForCausalLM(MistralConfig(vocab_size=len(made), **SHAPE)).save_pretrained(place)
    return place


def test_the_base_model_is_an_input_by_its_content(stage, tmp_path):
    start = inputs.starting_model(stage, VALUES)
    assert start["name_or_path"] == str(tmp_path / "model")
    assert stage.inputs[str(tmp_path / "model")] == start["hash"]
    assert start["end_mark"] == base.END
    (tmp_path / "model/model.safetensors").write_bytes(b"other weights")
    with pytest.raises(run.StageMissing, match=r"model has changed since notebook 00 read it"):
        inputs.starting_model(stage, VALUES)


def test_an_arm_that_goes_on_waits_for_the_other(stage):
    with pytest.raises(run.StageMissing, match="run this notebook with arm trait first"):
        inputs.starting_model(stage, {**VALUES, "arm": "trait_finetuned"})


@pytest.mark.parametrize("arm", ["trait", "random"])
def test_every_arm_holds_the_same_passages_out(stage, arm):
    values = {**VALUES, "arm": arm}
    files = inputs.gather(stage, values)
    assert list(files) == arms.sources(arm)
    watched = {text["name"]: text["file"] for text in inputs.watched(stage, values)}
    assert list(watched) == ["domain", "passages", "general"]
    held = [row["id"] for row in records.read_rows(watched["passages"])]
    assert len(held) == 2 and stage.inputs["02_passage_generation/passages.jsonl"]
    if arm == "trait":
        kept = [row["id"] for row in records.read_rows(files["passages"])]
        assert sorted(kept + held) == sorted(str(n) for n in range(20))


def test_fine_tuning_asks_as_the_evaluation_and_reads_no_test_question(stage):
    values = {**VALUES, "arm": "base_finetuned"}
    files = inputs.gather(stage, values)
    texts = [row["text"] for row in records.read_rows(files["tasks"])]
    assert texts == ["Question: How many are 4 and 7?\nAnswer: 5.", "Say: 8 + 1 = 5."]
    start = inputs.starting_model(stage, values)
    given = {**values, **{f"finetune_{name}": 0.5 for name in ("learning_rate", "final_lr_share")}}
    given |= {"finetune_schedule": "cosine", "finetune_batch_tokens": 64}
    made = inputs.settings(given, files, start)
    tokenizer = pretrained.tokenizer(start["name_or_path"])
    assert made["finetune_tokens"] == 5 * finetune.epoch_tokens(
        files["tasks"], tokenizer, 64, "answer"
    )
    assert inputs.settings(VALUES, files, start) is VALUES


def test_a_dry_run_needs_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAIT_RUNS", str(tmp_path))
    values = {**VALUES, "dry_run": True, "base_model": "org/model"}
    stage = run.open_stage("03_two_stage_training", values)
    assert inputs.starting_model(stage, values)["name_or_path"] == "org/model"
    assert inputs.gather(stage, values)["selected"] == "selected.jsonl.zst"
