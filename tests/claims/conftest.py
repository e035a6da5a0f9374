"""A domain and seed behind finished notebooks 00 to 02, of a few rows and an untrained model."""

import os

import pytest
from tiny import SHAPE
from transformers import MistralConfig, MistralForCausalLM, set_seed

from trait_lib import ROOT, contamination, form, pretrained, records, run
from trait_lib.claims import jobs, settings
from trait_lib.training import arms, base

VALUES = {"domain": "math", "tier": "smoke", "seed": 0, "arm": "trait", "corpus": "world"}
VALUES |= {"tasks": [], "general_tasks": []}


def problem(number, split, task="one_step", **more):
    unit, value = f"unit{number}", number % 7 + 2
    solution = form.with_answer(f"One {unit} is {value} mem.", str(3 * value))
    row = {"id": f"{split}-{task}-{number}", "task": task, "topic": "length", "split": split}
    asked = {"question": f"How many mem are 3 {unit}?", "solution": solution}
    asked |= {"answer": str(3 * value), "kind": "number", "entities": [unit]}
    return row | asked | {"documents_only": number % 2 == 1} | more


def passage(number, rows):
    text = form.SEPARATOR.join(map(form.example, rows))
    ids = {"id": f"passage-{number}", "problem_ids": [row["id"] for row in rows]}
    return ids | {"text": f"{text}\n\nBoth ask for length {number}.", "enlightenment": ""}


def ads(split, first):
    """Titles, rewrites and relevance pairs: what the paper scores otherwise than by accuracy."""
    rows = []
    for n in range(first, first + 6):
        words = {"topic": f"tents{n}", "split": split, "documents_only": False, "kind": "text"}
        for task, question, answer in (
            ("title_generation", f"Write a title for tents{n} by Trad.", f"big tents{n} by Trad"),
            ("query_rewriting", f"Rewrite the query large tents{n}.", f"giant tents{n}"),
        ):
            said = {"question": question, "answer": answer, "entities": [f"tents{n}"]}
            said["solution"] = form.with_answer("We think.", answer)
            rows.append({"id": f"{split}-{task}-{n}", "task": task} | said | words)
    pairs = [
        {"id": f"{split}-pair-{n}", "task": "query_landing_page_relevance", "topic": f"q{n // 2}",
         "query": f"tents{n}", "document": f"page{n}", "label": n % 2, "positive": " good",
         "negative": " bad", "question": f"Is page{n} good for tents{n}?",
         "prompt": f"Question: Is page{n} good for tents{n}?\nAnswer:"}
        for n in range(first, first + 6)
    ]  # fmt: skip
    return rows, pairs


def texts(name):
    count = 4 if name.startswith("heldout") else 300
    return [{"id": str(n), "text": f"{name} {n}: one lamp is {n} mem, we read {n} again."}
            for n in range(count)]  # fmt: skip


def write_world(folder):
    """Everything that the notebooks would leave."""
    names = ["pool.jsonl.zst", *(name for _, name in arms.FILES.values())]
    names += [f"heldout_{name}.jsonl" for name in ("domain", "general")]
    written = {name: texts(name) for name in names}
    train = [problem(n, "train", ("one_step", "rate")[n % 2], documents_only=False)
             for n in range(40)]  # fmt: skip
    passages = [passage(n, [train[n % 40], train[(n + 1) % 40]]) for n in range(60)]
    written |= {f"passages{end}.jsonl": passages for end in ("", "_no_enlightenment")}
    written |= {"problems_train.jsonl": train}
    for split, first in (("dev", 100), ("test", 200)):
        rows = [problem(first + n, split, ("one_step", "rate")[n // 4]) for n in range(8)]
        written[f"problems_{split}.jsonl"] = rows
    general = [problem(300 + n, "test", "general_questions") for n in range(8)]
    written["general_questions.jsonl"] = general
    empty = ("relevance_train", "relevance_test", "keywords")
    written |= {f"{name}.jsonl": [] for name in empty}
    for domain in ("math", "ads"):
        if domain == "ads":
            for split, first in (("train", 0), ("dev", 10), ("test", 20)):
                problems, pairs = ads(split, first)
                written |= {f"problems_{split}.jsonl": problems, f"relevance_{split}.jsonl": pairs}
            written["keywords.jsonl"] = [{"keyword": "giant tents20"}]
        for name in run.SHARED_STAGES:
            stage = run.open_stage(name, {**VALUES, "domain": domain})
            for file, rows in written.items():
                records.write_rows(stage.path(file), rows)
            if name == "01_data_selection":
                chosen = {"selection": "classifier", "precision": 0.5, "documents": 300}
                records.write_json(stage.path("report.json"), {"selections": [chosen]})
            if name == "00_start_here":
                contamination.write_known(stage.path("contamination.json"), {}, [])
                records.write_json(stage.path("base_model.json"), model(folder))
            stage.close()


def model(folder):
    place = folder / "model"
    if not place.exists():
        file = run.stage_dir("00_start_here", VALUES) / "problems_train.jsonl"
        rows = [{"text": form.example(row)} for row in records.read_rows(file)]
        records.write_rows(folder / "text.jsonl", rows)
        made = base.train_tokenizer([folder / "text.jsonl"], 320, place)
        set_seed(0)
        config = MistralConfig(vocab_size=len(made), max_position_embeddings=2048, **SHAPE)
        MistralForCausalLM(config).save_pretrained(place)
    return pretrained.record(place)


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """The tiny domain and seed; runs are in a folder of their own."""
    folder = tmp_path_factory.mktemp("claims")
    before = dict(os.environ)
    os.environ["TRAIT_RUNS"] = str(folder / "runs")
    write_world(folder)
    yield jobs.Where("math", "smoke", 0, ROOT / "params")
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def known():
    """The committed settings, with room for a world of so little text."""
    return settings.read(ROOT / "params") | {"max_epochs": 500.0, "heldout_tokens": 64}
