"""The real entry point: against a plain loop, across ranks, resumed, and when it fails."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import prepared
import pytest
import slurm_stand_ins as stand_ins
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM

from trait_lib import ROOT, head, pretrained, records
from trait_lib.training import base, launch
from trait_lib.training.data import plan, rows
from trait_lib.training.loop import checkpoints, heldout, schedule, train, training_log
from trait_lib.training.loop.model import load_model

prepared.load("trait_lib.training.loop.trainer")


def log_of(folder):
    return training_log.read(folder / "log.jsonl")[0]


def same_log(one, two):
    """The same steps to the last bit; the same measurements but for the last digits.

    A measurement's odd shapes make the sums of a pass depend on where in memory the weights lie.
    """
    logs = [training_log.read(folder / "log.jsonl") for folder in (one, two)]
    (steps, texts), (other_steps, other_texts) = logs
    assert [timeless(line) for line in steps] == [timeless(line) for line in other_steps]
    assert [line["step"] for line in texts] == [line["step"] for line in other_texts]
    for line, other in zip(texts, other_texts, strict=True):
        assert training_log.scalars(line["heldout"]) == pytest.approx(
            training_log.scalars(other["heldout"]), rel=1e-6
        )


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).state_dict()


def timeless(line):
    timed = ("seconds", "tokens_per_second", "memory_gib", "mfu")
    return {k: v for k, v in line.items() if k not in timed}


def small_model(folder, vocabulary, spoil=False):
    """Save a Mistral model of one layer; `spoil` puts a NaN into its last norm."""
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    model = MistralForCausalLM(
        MistralConfig(vocab_size=vocabulary, eos_token_id=0, **size, **heads)
    )
    if spoil:
        model.model.norm.weight.data[0] = math.nan
    model.save_pretrained(folder)
    return str(folder)


def written(folder):
    """The names of the weights in a model's file."""
    with safe_open(folder / "model" / "model.safetensors", "pt") as file:
        return set(file.keys())


def same_bits(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def plain_loop(config):
    """The same training as a few lines of PyTorch: losses and gradient norms of each step."""
    laid_out = plan.prepare(config)
    data = rows.PlannedRows(laid_out, True)
    model = load_model(config, pretrained.tokenizer(config["tokenizer"])).train()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=config["learning_rate"],
        betas=(0.9, 0.95),
    )
    done = []
    for step, rate in enumerate(schedule.rates(laid_out.stages, config)):
        numbers = range(step * laid_out.batch_rows, (step + 1) * laid_out.batch_rows)
        batch = rows.collate([data[n] for n in numbers])
        targets = rows.next_tokens(batch["labels"])
        logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
        loss = head.cross_entropies(logits, targets).sum() / (targets != -100).sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        done.append((loss.item(), norm.item()))
    return done


def test_steps_equal_a_plain_loop(plain, checked):
    # 1e-4: the same sums in another order, enlarged by eight steps of Adam and its small moments
    log = log_of(plain)
    assert [(x["loss"], x["grad_norm"]) for x in log] == [
        (pytest.approx(loss, rel=1e-4), pytest.approx(norm, rel=1e-4))
        for loss, norm in plain_loop(checked)
    ]
    assert [x["learning_rate"] for x in log] == pytest.approx(
        schedule.rates(plan.prepare(checked).stages, checked)
    )


# Losses of 20 steps of four rows each on one core of x86-64, torch 2.13. 1e-3: another processor
# multiplies in another order, a difference of 1e-7 that twenty steps of Adam at a high rate, with
# their division by small moments, enlarge about a thousandfold.
GOLDEN = {1: 5.78064, 2: 5.50798, 5: 4.50192, 10: 3.50084, 15: 3.20433, 20: 3.03725}


def test_twenty_steps_give_the_losses_they_always_gave(runs, tmp_path, configuration, trained_here):
    config = configuration(batch_tokens=4 * 32)
    for stage in config["stages"]:
        stage["tokens"] = 10 * 4 * 32
    losses = [line["loss"] for line in trained_here(tmp_path, config)]
    assert len(losses) == 20
    assert {step: losses[step - 1] for step in GOLDEN} == pytest.approx(GOLDEN, rel=1e-3)


def test_measuring_changes_no_bit(runs, tmp_path, plain, configuration, trained_here):
    log = trained_here(tmp_path, configuration())
    assert [timeless(x) for x in log] == [timeless(x) for x in log_of(plain)]
    assert same_bits(weights(tmp_path), weights(plain))
    assert training_log.read(tmp_path / "log.jsonl")[1] == []


def test_held_out_texts_are_measured_at_start_boundary_and_end(plain):
    _, measured = training_log.read(plain / "log.jsonl")
    assert [(x["step"], x["stage"]) for x in measured] == [
        *[(0, "stage 1"), (3, "stage 1"), (4, "stage 1"), (6, "stage 2"), (8, "stage 2")]
    ]
    first, last = measured[0]["heldout"], measured[-1]["heldout"]
    assert list(first) == ["lessons", "general"]
    # a new model guesses among its tokens: about ln(320) nats
    assert first["lessons"]["loss"] == pytest.approx(math.log(320), rel=0.02)
    assert last["lessons"]["bits_per_byte"] < first["lessons"]["bits_per_byte"] - 0.5


def test_the_log_tells_each_step(plain):
    log = log_of(plain)
    assert [x["step"] for x in log] == list(range(1, 9))
    assert [x["stage"] for x in log] == ["stage 1"] * 4 + ["stage 2"] * 4
    assert [x["tokens"] for x in log] == [256 * n for n in range(1, 9)]
    assert set(log[0]["loss_by_source"]) == {"lessons", "general"}
    assert log[-1]["loss"] < log[0]["loss"] - 0.5
    assert all(x["seconds"] > 0 and x["memory_gib"] > 0 for x in log)


@pytest.mark.parametrize("micro", [1, 4])
def test_accumulation_does_not_change_the_step(
    runs, tmp_path, plain, configuration, trained_here, micro
):
    log = trained_here(tmp_path, configuration(micro_batch_rows=micro))
    for ours, theirs in zip(log[:3], log_of(plain), strict=False):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-5)


def test_recomputed_activations_are_really_recomputed(checked):
    tokenizer = pretrained.tokenizer(checked["tokenizer"])
    counts = []
    for recomputed in (False, True):
        calls: list[int] = []
        model = load_model({**checked, "gradient_checkpointing": recomputed}, tokenizer).train()
        layer = model.model.layers[0].mlp
        hook = layer.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        model(input_ids=torch.ones(1, 4, dtype=torch.long)).logits.sum().backward()
        hook.remove()
        counts.append(len(calls))
    assert counts == [1, 2]  # once more on the way back


def test_recomputed_activations_change_nothing(runs, tmp_path, plain, configuration, trained_here):
    log = trained_here(tmp_path, configuration(gradient_checkpointing=True))
    assert [x["loss"] for x in log] == pytest.approx([x["loss"] for x in log_of(plain)], rel=1e-5)


@pytest.mark.parametrize("step", [2, 4, 6])
def test_resume_is_bit_identical(plain, copied, step):
    # in stage 1, at the boundary, in stage 2
    folder = copied(step)
    train.train(folder / "config.json")
    assert same_bits(weights(folder), weights(plain))
    same_log(folder, plain)


def test_an_incomplete_checkpoint_is_passed_over(plain, copied):
    folder = copied(4)
    broken = folder / "checkpoints" / "checkpoint-6"
    shutil.copytree(folder / "checkpoints" / "checkpoint-4", broken)
    (broken / checkpoints.MARKER).unlink()
    (broken / "model.safetensors").write_bytes(b"half")
    train.train(folder / "config.json")
    assert same_bits(weights(folder), weights(plain))


def test_a_run_with_other_settings_is_not_continued(copied, configuration):
    folder = copied(4)
    launch.write(folder, configuration(checkpoint_steps=2, learning_rate=5e-3), 1)
    with pytest.raises(checkpoints.ResumeRefused, match=r"learning_rate was 0\.01, is 0\.005"):
        train.train(folder / "config.json")


def test_a_finished_run_does_not_stand_in_the_way_of_another(copied):
    folder = copied(4)
    launch._clear(folder)  # interrupted: its checkpoints are kept
    assert len(checkpoints.complete(folder / "checkpoints")) == 2
    (folder / "finished.json").write_text("{}")
    launch._clear(folder)
    assert checkpoints.complete(folder / "checkpoints") == []
    assert not (folder / "finished.json").exists()


def test_two_runs_do_not_share_a_folder(copied, monkeypatch):
    folder = copied(4)
    monkeypatch.setattr(train, "LOCK_SECONDS", 0.2)
    with train.alone_in(folder), pytest.raises(RuntimeError, match="another training is still"):
        train.train(folder / "config.json")
    train.train(folder / "config.json")
    assert (folder / "model").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sequence_length": 16}, "sequence_length was 32, is 16"),
        ({"tokenizer": "other"}, "plan was .*tokenizer was"),
        ({"seed": 1}, "plan was .*seed was 0, is 1"),
        ({"isolate_documents": False}, "isolate_documents was True, is False"),
    ],
)
def test_each_thing_that_decides_the_weights_refuses(
    copied, configuration, files, tmp_path, change, reason
):
    folder = copied(2)
    if "tokenizer" in change:
        change = {"tokenizer": str(tmp_path / "other")}
        base.train_tokenizer([files["general"]], 300, tmp_path / "other")
    launch.write(folder, configuration(checkpoint_steps=2, **change), 1)
    with pytest.raises(checkpoints.ResumeRefused, match=reason):
        train.train(folder / "config.json")


DIES_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from trait_lib.training.loop import checkpoints, train
import safetensors.torch, torch
write = torch.save
def save(what, path, *more, **settings):
    write(what, path, *more, **settings)
    if "checkpoint-6" in str(path) and "optimizer" in str(path):
        half = Path(path).read_bytes()[:1000]
        Path(path).write_bytes(half)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = save
train.train(Path(sys.argv[1]))
"""


def test_a_kill_in_the_middle_of_a_save_loses_only_the_steps_since_the_last(
    copied, plain, tmp_path
):
    folder = copied(2)
    died = prepared.start(DIES_WHILE_SAVING, folder / "config.json")
    died.join()
    assert died.exitcode == -9
    half = folder / "checkpoints" / "checkpoint-6"
    assert half.exists() and not (half / checkpoints.MARKER).exists()
    assert [c.name for c in checkpoints.complete(half.parent)][-1] == "checkpoint-4"
    train.train(folder / "config.json")
    assert same_bits(weights(folder), weights(plain))
    same_log(folder, plain)


def test_a_run_with_other_data_is_not_continued(copied, configuration, files, tmp_path):
    folder = copied(4)
    other = tmp_path / "lessons.jsonl"
    texts = [row["text"].upper() for row in records.read_rows(files["lessons"])]
    records.write_rows(other, [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    config = configuration(checkpoint_steps=2)
    for stage in config["stages"]:
        stage["sources"][0]["file"] = str(other)
    launch.write(folder, config, 1)
    with pytest.raises(checkpoints.ResumeRefused, match="plan was"):
        train.train(folder / "config.json")


def test_tensorboard_gets_the_log(runs, tmp_path, configuration, measured, trained_here):
    # the package is an extra, and this test runs where it is installed
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = trained_here(tmp_path, configuration(tensorboard=True, **measured))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [line["step"] for line in log]
    assert events.Scalars("train/loss")[-1].value == pytest.approx(log[-1]["loss"])
    texts = events.Scalars("train/heldout/general/bits_per_byte")
    assert [e.step for e in texts] == [0, 3, 4, 6, 8]


def test_callbacks_get_each_line_as_numbers(runs, tmp_path, checked, tokenizer):
    from transformers import TrainerCallback

    from trait_lib.training.loop.trainer import PlannedTrainer

    given = []

    class Listener(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **rest):
            given.append((state.global_step, logs))

    laid_out = plan.prepare(checked)
    launch.engine.prepare_environment(checked, tmp_path)
    trainer = PlannedTrainer(checked, laid_out, tmp_path, load_model(checked, tokenizer), 1)
    trainer.add_callback(Listener)
    trainer.train()
    assert [step for step, _ in given] == list(range(1, 9))
    assert all(isinstance(value, int | float) for _, logs in given for value in logs.values())
    assert {"loss", "grad_norm", "loss_by_source/lessons"} <= set(given[0][1])


def test_the_model_folder_is_plain_and_has_a_card(plain, tokenizer):
    names = {path.name for path in (plain / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert "lm_head.weight" not in written(plain)  # the embedding, which is written once
    assert not any(name.endswith((".bin", ".pt")) for name in names)
    card = (plain / "model" / "README.md").read_text()
    assert records.read_json(plain / "plan.json")["hash"] in card
    assert "| stage 1 | lessons | 0.750 | 768 |" in card
    assert str(plain.parent) not in card
    made = records.read_json(plain / "model" / "config.json")
    assert made["use_cache"] is True
    assert made["eos_token_id"] == tokenizer.eos_token_id


def test_a_loss_that_is_not_a_number_stops_with_step_and_rows(
    runs, tmp_path, configuration, tokenizer, trained_here
):
    model = small_model(tmp_path / "broken", len(tokenizer), spoil=True)
    config = configuration(model=model, model_config=None, checkpoint_steps=1)
    with pytest.raises(
        training_log.TrainingDiverged,
        match=r"step 1 \(stage stage 1\): loss nan.*lessons row \d+ \(documents lessons-",
    ):
        trained_here(tmp_path / "run", config)
    assert not (tmp_path / "run" / "model").exists()
    assert checkpoints.complete(tmp_path / "run" / "checkpoints") == []


def test_other_weights_in_the_same_folder_are_another_training(
    runs, tmp_path, plain, configuration, trained_here
):
    start = shutil.copytree(plain / "model", tmp_path / "start")
    config = configuration(model=str(start), model_config=None, tokenizer="")
    before = trained_here(tmp_path / "run", config)
    assert launch.run(tmp_path / "run", config) == tmp_path / "run" / "model"
    other = small_model(tmp_path / "other", 320)
    shutil.copy(Path(other) / "model.safetensors", start)
    shutil.copy(Path(other) / "config.json", start)
    laid_out = launch.write(tmp_path / "run", config, 1)
    who = checkpoints.identity(records.read_json(tmp_path / "run/config.json"), laid_out.hash, 1)
    assert not launch.finished(tmp_path / "run", who, heldout.fingerprint({**config, **NO_TEXTS}))
    assert trained_here(tmp_path / "run", config)[0]["loss"] != before[0]["loss"]


NO_TEXTS = {"heldout": [], "heldout_tokens": 8192, "heldout_steps": 0}


@pytest.mark.parametrize("length", [2049, 4096])
def test_rows_longer_than_the_models_positions_are_refused(runs, tmp_path, configuration, length):
    config = configuration(sequence_length=length, batch_tokens=length)
    config["model_config"] = {**config["model_config"], "max_position_embeddings": 2048}
    with pytest.raises(pretrained.ModelError, match=f"has {length} tokens.* knows 2048 positions"):
        launch.write(tmp_path, config, 1)


def test_a_training_may_end_its_documents_with_a_mark_of_its_own(
    runs, tmp_path, configuration, trained_here, files
):
    trained_here(tmp_path, configuration(end_mark=base.PAD))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    made = pretrained.tokenizer(tmp_path / "model")
    assert made.eos_token == base.PAD
    assert model.config.eos_token_id == made.eos_token_id
    assert model.generation_config.eos_token_id == made.eos_token_id
    shard = plan.shard_files.open_shard(plan.read(tmp_path).shards[0])
    assert (shard.tokens == made.eos_token_id).sum() == shard.meta["documents"]


def test_a_foreign_tokenizer_is_refused(runs, tmp_path, configuration, trained_here):
    model = small_model(tmp_path / "m", 100)
    config = configuration(model=model, model_config=None)
    with pytest.raises(ValueError, match="do not belong together"):
        trained_here(tmp_path / "run", config)


def test_a_new_start_forgets_the_old_log(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"step": n}) + "\n" for n in range(1, 6)) + '{"step": 6, "lo')
    training_log.rewind(log, 3)
    assert [row["step"] for row in records.read_rows(log)] == [1, 2, 3]
    training_log.rewind(log, 0)
    assert log.read_text() == ""


@pytest.mark.slow
def test_two_zero_1_ranks_equal_one_process_and_resume_to_the_bit_as_a_killed_job(
    runs, tmp_path, plain, configuration
):
    config = configuration(engine="deepspeed", checkpoint_steps=4, keep_checkpoints=2)
    folder = runs / "two"
    launch.write(folder, config, 2)
    # the printed command, typed by hand in the repository's top folder
    typed = launch.show_command(folder / "config.json", 2)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", typed], check=True, cwd=ROOT, env={**os.environ, "PATH": path})
    # fp32: only the order of sums differs; the first steps agree to 1e-5, later ones to 1e-3,
    # since Adam divides by small moments and so enlarges differences in the last digit
    limits = [1e-5] * 3 + [1e-3] * 5
    for limit, ours, theirs in zip(limits, log_of(folder), log_of(plain), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=limit)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=limit)
    assert written(folder) == written(plain)
    assert records.read_json(folder / "deepspeed.json")["zero_optimization"]["stage"] == 1
    job = tmp_path / "trait" / "seed0" / "job"
    a_job_of_slurm_survives_the_kill_of_a_rank(job, config)
    assert same_bits(weights(job), weights(folder))
    same_log(job, folder)


# of a test alone: rank 1 of the job's first start kills itself after the first checkpoint
KILLED = """
import os, pathlib, signal, threading, time
def kill(marker):
    while not marker.exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
if os.environ.get("RANK") == "1" and "SLURM_RESTART_COUNT" not in os.environ:
    marker = pathlib.Path(os.environ["KILL_AFTER"])
    threading.Thread(target=kill, args=(marker,), daemon=True).start()
"""


def a_job_of_slurm_survives_the_kill_of_a_rank(folder, config):
    """Two machines of one rank each, which are both this one: the script's own lines run."""
    launch.write(folder, config, 1, nodes=2)
    (folder / "sitecustomize.py").write_text(KILLED)
    job = stand_ins.Job(folder, nodes=2)
    job.environment |= {
        "KILL_AFTER": str(folder / "checkpoints" / "checkpoint-4" / checkpoints.MARKER),
        "PYTHONPATH": str(folder),
    }
    assert job.run() != 0
    assert not (folder / "model").exists()
    assert (folder / "checkpoints" / "checkpoint-4").exists()
    job.environment["SLURM_RESTART_COUNT"] = "1"
    assert job.run() == 0


def test_bf16_arithmetic_and_a_loss_in_pieces_train_like_fp32(
    plain, configuration, trained_here, tmp_path, monkeypatch
):
    monkeypatch.setattr(head, "PIECE_BYTES", 4096)
    log = trained_here(tmp_path, configuration(precision="bf16_autocast"))
    expected = training_log.read(plain / "log.jsonl")[0]
    losses, others = ([line["loss"] for line in one] for one in (log, expected))
    assert losses == pytest.approx(others, rel=2e-2)
    assert "fp32_attention" not in (tmp_path / "model" / "config.json").read_text()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.float32
