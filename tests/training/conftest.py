"""A tiny world for the training tests: two document files, their tokenizer, a random model."""

import os
import shutil

import pytest
import torch
from tiny import SHAPE

from trait_lib import records
from trait_lib.training import base, launch
from trait_lib.training.loop import config as settings
from trait_lib.training.loop import train, training_log

LENGTH, ROWS = 32, 8


@pytest.fixture(autouse=True)
def keep_environment():
    """A training in this process settles ranks and devices in os.environ; put them back."""
    before = dict(os.environ)
    torch.set_num_threads(1)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A runs folder of its own for the whole session."""
    folder = tmp_path_factory.mktemp("runs")
    before = os.environ.get("TRAIT_RUNS")
    os.environ["TRAIT_RUNS"] = str(folder)
    yield folder
    os.environ.pop("TRAIT_RUNS") if before is None else os.environ.update(TRAIT_RUNS=before)


@pytest.fixture(scope="session")
def files(runs):
    """The document files `lessons` and `general`, a few thousand tokens each."""
    numbers = range(160)
    lessons = [
        f"Lesson {n}. One unit is {n % 9 + 1} parts. {n} plus 3 is {n + 3}." for n in numbers
    ]
    general = [
        f"The fox number {n} went home. It was {'wet' if n % 2 else 'dry'}." for n in numbers
    ]
    made = {}
    for name, texts in (("lessons", lessons), ("general", general)):
        made[name] = runs / f"{name}.jsonl"
        rows = [{"id": f"{name}-{n}", "text": text} for n, text in enumerate(texts)]
        records.write_rows(made[name], rows)
    return made


@pytest.fixture(scope="session")
def tokenizer(runs, files):
    """A tokenizer trained on both files, saved in a folder."""
    return base.train_tokenizer(list(files.values()), 320, runs / "tokenizer")


@pytest.fixture(scope="session")
def configuration(runs, files, tokenizer):
    """A function that makes the configuration of a short two-stage run of a new model."""

    def make(**changes):
        lessons = {"name": "lessons", "file": str(files["lessons"])}
        general = {"name": "general", "file": str(files["general"])}
        tokens = 4 * ROWS * LENGTH
        stages = [
            {
                "name": "stage 1",
                "tokens": tokens,
                "sources": [{**lessons, "weight": 0.75}, {**general, "weight": 0.25}],
            },
            {
                "name": "stage 2",
                "tokens": tokens,
                "sources": [{**lessons, "weight": 0.5}, {**general, "weight": 0.5}],
            },
        ]
        return {
            "model_config": SHAPE,
            "tokenizer": str(runs / "tokenizer"),
            "stages": stages,
            "sequence_length": LENGTH,
            "batch_tokens": ROWS * LENGTH,
            "learning_rate": 1e-2,
            "engine": "plain",
            "device": "cpu",
            **changes,
        }

    return make


@pytest.fixture(scope="session")
def trained_here():
    """A function that trains in this process, with one plain rank, and returns the log."""

    def run_in(folder, config):
        launch.write(folder, config, 1)
        train.train(folder / "config.json")
        return training_log.read(folder / "log.jsonl")[0]

    return run_in


@pytest.fixture(scope="session")
def measured(files):
    """Settings that measure two texts after every third step, at the start and at stage ends."""
    texts = [{"name": name, "file": str(file)} for name, file in files.items()]
    return {"heldout": texts, "heldout_tokens": 300, "heldout_steps": 3}


@pytest.fixture(scope="session")
def plain(runs, configuration, measured, trained_here):
    """The reference: a finished plain run of 8 steps with a checkpoint at every second step."""
    folder = runs / "plain"
    trained_here(folder, configuration(checkpoint_steps=2, keep_checkpoints=9, **measured))
    return folder


@pytest.fixture
def checked(configuration):
    """The configuration with its defaults filled in."""
    return settings.check(configuration())


@pytest.fixture
def copied(plain, tmp_path):
    """A function that copies the reference run as it stood after a checkpoint."""

    def at(step):
        folder = tmp_path / f"at{step}"
        shutil.copytree(plain, folder, ignore=shutil.ignore_patterns("model", "finished.json"))
        for checkpoint in (folder / "checkpoints").iterdir():
            if int(checkpoint.name.rpartition("-")[2]) > step:
                shutil.rmtree(checkpoint)
        return folder

    return at
