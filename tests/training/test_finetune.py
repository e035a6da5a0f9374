"""Fine-tuning: the examples, whole in their rows, with the loss on the answer."""

import numpy as np
import pytest

from trait_lib import form, records
from trait_lib.training import finetune
from trait_lib.training.data import plan, rows, shards
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import schedule

PROBLEMS = [
    {
        "id": f"p-{n}",
        "task": "sums",
        "question": f"How many are {n} and {n % 7}?",
        "solution": f"{n} plus {n % 7} is {n + n % 7}. The answer is {n + n % 7}.",
    }
    for n in range(40)
]
PAIR = {
    "id": "r-1",
    "task": "fit",
    "prompt": "Good?\nAnswer:",
    "positive": " yes",
    "negative": " no",
}
PARAMETERS = {
    "finetune_learning_rate": 5e-3,
    "finetune_schedule": "cosine",
    "finetune_final_lr_share": 0.0,
    "finetune_batch_tokens": 256,
    "finetune_loss": "answer",
    "finetune_epochs": 5,
    "warmup_share": 0.03,
}


@pytest.fixture
def file(tmp_path):
    records.write_rows(tmp_path / "examples.jsonl", finetune.examples(PROBLEMS))
    return tmp_path / "examples.jsonl"


def test_examples_have_the_form_of_the_evaluation():
    made = list(finetune.examples(PROBLEMS[:3], [{**PAIR, "label": 1}, {**PAIR, "label": 0}]))
    assert [row["text"] for row in made[:3]] == [form.example(row) for row in PROBLEMS[:3]]
    prompts = [row["text"][: row["answer_starts"]] for row in made[:3]]
    assert prompts == [form.prompt(row) for row in PROBLEMS[:3]]
    assert [row["text"] for row in made[3:]] == ["Good?\nAnswer: yes", "Good?\nAnswer: no"]
    assert made[3]["text"] == form.example({**PAIR, "label": 1})


def test_no_example_is_cut_and_only_answers_are_learned(runs, file, tokenizer):
    shard = shards.tokenise(file, tokenizer, whole=128, answers_only=True)
    assert len(shard.tokens) % 128 == 0
    ends = [*shard.starts[1:].tolist(), len(shard.tokens)]
    for start, end, row in zip(shard.starts, ends, PROBLEMS, strict=True):
        tokens = tokenizer(form.example(row))["input_ids"] + [tokenizer.eos_token_id]
        assert shard.tokens[start : start + len(tokens)].tolist() == tokens
        assert start // 128 == (start + len(tokens) - 1) // 128  # in one row
        learned = shard.tokens[start:end][shard.learn[start:end]]
        assert tokenizer.decode(learned) == f" {row['solution']}{tokenizer.eos_token}"
    assert shard.meta["padding"] == len(shard.tokens) - sum(
        len(tokenizer(form.example(row))["input_ids"]) + 1 for row in PROBLEMS
    )


def test_labels_are_the_answers_and_all_of_them(runs, file, tokenizer, configuration):
    source = {"name": "tasks", "file": str(file), "weight": 1.0}
    tokens = finetune.epoch_tokens(file, tokenizer, 128, "answer")
    given = configuration(
        **{
            "stages": [{"name": "fine-tuning", "tokens": tokens, "sources": [source]}],
            "sequence_length": 128,
            "batch_tokens": 128,
            "whole_documents": True,
            "loss_on": "answer",
        }
    )
    laid_out = plan.prepare(settings.check(given))
    data = rows.PlannedRows(laid_out, True)
    labels = np.concatenate([data[n]["labels"].numpy() for n in range(len(data))])
    answers = tokenizer.decode(labels[labels != -100]).split(tokenizer.eos_token)
    assert sorted(answers[:-1]) == sorted(f" {row['solution']}" for row in PROBLEMS)


def test_all_tokens_can_be_learned_and_fillings_never(runs, file, tokenizer):
    shard = shards.tokenise(file, tokenizer, whole=128)
    assert (~np.asarray(shard.learn)).sum() == shard.meta["padding"] > 0


def test_an_example_longer_than_a_row_is_named(runs, file, tokenizer):
    with pytest.raises(records.BadRow, match=r"examples\.jsonl: 'p-0' has \d+ tokens.*row has 8"):
        shards.tokenise(file, tokenizer, whole=8)


def test_an_example_without_the_place_of_its_answer_is_named(runs, files, tokenizer):
    with pytest.raises(records.BadRow, match=r"row 1 \('lessons-0'\) has no answer_starts"):
        shards.tokenise(files["lessons"], tokenizer, answers_only=True)


def test_five_epochs_with_a_cosine_through_the_same_entry_point(
    runs, file, tokenizer, configuration, plain, tmp_path, trained_here
):
    changed = finetune.settings(PARAMETERS)
    epoch = finetune.epoch_tokens(file, tokenizer, 128, "answer")
    source = {"name": "tasks", "file": str(file), "weight": 1.0}
    stage = {"name": "fine-tuning", "tokens": 5 * epoch, "sources": [source]}
    given = {key: value for key, value in changed.items() if key in settings.SETTINGS}
    # from the model that two stages have made
    start = {"model": str(plain / "model"), "model_config": None, "tokenizer": ""}
    log = trained_here(
        tmp_path / "run", configuration(**start, **given, stages=[stage], sequence_length=128)
    )
    laid_out = plan.read(tmp_path / "run")
    (made,) = laid_out.stages
    assert made["sources"][0]["epochs"] == pytest.approx(5, abs=256 / epoch)
    seen = [row for _, row in laid_out.entries[: 5 * epoch // 128]]
    for n in range(4):  # every example once in each whole epoch
        assert len(set(seen[n * epoch // 128 : (n + 1) * epoch // 128])) == epoch // 128
    rates = [line["learning_rate"] for line in log]
    assert rates == pytest.approx(schedule.rates(laid_out.stages, {**given, "warmup_share": 0.03}))
    assert max(rates) == 5e-3 and rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[0] == 2.5e-3  # 3 % of the steps are two
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert log[-1]["loss"] < log[0]["loss"] - 1
