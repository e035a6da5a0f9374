"""Everything that is asked of one model: killed, repeated, by either route, on real files."""

import json
import os
from pathlib import Path

import numpy as np
import prepared
import pytest

from trait_lib import ROOT, records
from trait_lib.corpora import load_problems, load_task
from trait_lib.evaluation import comparison, fewshot, measure
from trait_lib.evaluation.inference import generation
from trait_lib.grading import grade
from trait_lib.params import ParameterError

prepared.load("trait_lib.evaluation.measure", "trait_lib.evaluation.inference.checkpoint")
WRITTEN = "outputs", "likelihoods"
SCRIPT = """
import os, sys
from trait_lib.evaluation import measure
from trait_lib.evaluation.inference import generation

os.environ["TRAIT_RUNS"], count, kill_after = sys.argv[2], 0, int(sys.argv[3])

def counting(original):
    def call(*a, **k):
        global count
        count += 1
        if count == kill_after:
            os.kill(os.getpid(), 9)
        return original(*a, **k)
    return call

generation._row = counting(generation._row)
measure.Reader._add = counting(measure.Reader._add)
measure.Reader.values.__defaults__ = (4,)
problems = [
    {"id": f"q{n}", "task": "legs", "question": f"How many legs have {n} cows?", "answer": "4"}
    for n in range(11)
]
prompts = {row["id"]: f"Question: {row['question']}\\nAnswer:" for row in problems}
pairs = [
    {"id": f"r{n}", "task": "pairs", "query": f"hen {n}", "document": "A hen", "label": n % 2,
     "positive": " good", "negative": " bad", "topic": str(n)}
    for n in range(9)
]
pair_prompts = {row["id"]: f"Is {row['query']} like {row['document']}? It is" for row in pairs}
texts = {"domain": [f"One warb is {n} saln." for n in range(6)]}
questions = measure.Questions(problems, prompts, pairs, pair_prompts, texts)
settings = generation.Settings(6, batch_size=3)
measure.evaluate(sys.argv[1], "tiny", questions, settings, measure.Scoring(window=16))
"""


def evaluate(model_folder, runs, kill_after):
    """The program's exit code, and how many lines of answers and of likelihoods stand then."""
    process = prepared.start(SCRIPT, model_folder, runs, kill_after)
    process.join()
    files = [next(runs.glob("cache/evaluation-*")) / f"{name}.jsonl" for name in WRITTEN]
    return process.exitcode, *(len(f.read_text().splitlines()) if f.exists() else 0 for f in files)


def test_killed_twice_nothing_is_repeated_and_the_scores_are_the_same(tmp_path, model_folder):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    *first, all_read = evaluate(model_folder, whole, 0)
    assert first == [0, 11]
    # killed at the 5th answer; then, of the 7 that are left and the parts of likelihoods, at 10
    found = [evaluate(model_folder, killed, moment) for moment in (5, 10, 0)]
    assert found == [(-9, 4, 0), (-9, 11, 8), (0, 11, all_read)]
    [file] = killed.glob("cache/*/likelihoods.jsonl")
    keys = [json.loads(line)["key"] for line in file.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == all_read

    first, second = (
        comparison.read_evaluated(next((folder / "cache").glob("evaluation-*[0-9a-f]")))
        for folder in (whole, killed)
    )
    assert set(first.scores) == {"label", "likelihood", "domain_bits", "domain_bytes"}
    for name, values in first.scores.items():
        assert np.array_equal(values, second.scores[name])
    for one, other in zip(first.answers.values(), second.answers.values(), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    kept = {"prompt", "output", "extracted", "gold", "correct", "reason", "seconds"}
    assert kept <= set(next(iter(first.answers.values())))


def test_with_a_server_nothing_but_the_tokenizer_is_read_here(
    tmp_path, model_folder, server, runs, monkeypatch
):
    problems = [{"id": "q", "task": "legs", "question": "A cow?", "answer": "4"}]
    questions = measure.Questions(
        problems, {"q": "Question: A cow?\nAnswer:"}, [], {}, {"domain": ["One warb is 7."]}
    )
    settings = generation.Settings(5)
    here = measure.evaluate(str(model_folder), "tiny", questions, settings, measure.Scoring())
    monkeypatch.setattr("trait_lib.evaluation.inference.checkpoint.load", None)
    remote = generation.Settings(5, base_url=server.url)
    there = measure.evaluate(
        str(model_folder), "tiny", questions, remote, measure.Scoring(), "tiny"
    )
    one, other = comparison.read_evaluated(here), comparison.read_evaluated(there)
    assert one.answers["q"]["output"] == other.answers["q"]["output"]
    assert one.scores["domain_bits"] == pytest.approx(other.scores["domain_bits"], rel=1e-5)


def test_each_model_has_an_address_of_its_own():
    settings = generation.Settings(5)
    base, adapted = measure.routes(settings, "http://localhost:1/v1", "http://localhost:2/v1")
    assert (base.base_url, adapted.base_url) == ("http://localhost:1/v1", "http://localhost:2/v1")
    assert measure.routes(settings, "", "") == (settings, settings)
    for pair, lacking in (
        (("http://a/v1", ""), "adapted_url"),
        (("", "http://a/v1"), "parameter 'base_url'"),
    ):
        with pytest.raises(ParameterError, match=rf"{lacking}.*is empty: both models .*start one"):
            measure.routes(settings, *pair)


def test_questions_without_some():
    problems = [{"id": "a"}, {"id": "b"}]
    some = measure.Questions(problems, {}, [{"id": "c"}], {}, {}).without({"a", "c"})
    assert some.problems == [{"id": "b"}] and not some.pairs


SHARED = Path(os.environ.get("TRAIT_SHARED_DATA", ROOT / ".." / "shared" / "data"))
NINE = "gsm8k math svamp asdiv mawps tabmwp mathqa mmlu_stem sat".split()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real data is not here")
def test_all_nine_benchmarks_are_asked_and_their_right_answers_are_right(tmp_path, model_folder):
    prompts, problems, forms = {}, [], {}
    for name in NINE:
        rows = list(load_problems([name], "test", domain="math", data_dir=SHARED))
        train = list(load_problems([name], "train", domain="math", data_dir=SHARED))
        train = train or list(load_problems([name], "dev", domain="math", data_dir=SHARED))
        forms[name] = fewshot.form_of(load_task(name, "math").settings)
        made = fewshot.prompts(rows, train[:200], forms, seed=0)
        assert len(made) == len(rows)
        for row in rows[:: len(rows) // 20]:
            assert made[row["id"]].count("Question:") == forms[name].shots + 1
        prompts |= made
        problems += rows
    assert len(problems) == 16649
    graded = [problem for name in NINE for problem in _some(problems, name)]
    assert [row["id"] for row in graded if not _right(row)] == []

    asked = {row["id"]: prompts[row["id"]][-400:] for row in graded[::40]}
    rows = generation.generate(
        {name: text[-80:] for name, text in asked.items()},
        str(model_folder),
        tmp_path / "x.jsonl",
        generation.Settings(4),
    )
    assert len(rows) == len(asked)


# right answers of the files that are not taken for right, of all 16,649: what is odd about them
ODD = {
    "asdiv/asdiv-1313": "the answer is a hyphen",
    "asdiv/asdiv-1618": "the answer is `Vendor 2`, said to be a number",
    "math/math-test-3320": "thousands are parted by a comma, a thin space back and a space",
    "math/math-test-3845": "the same",
    "math/math-test-4134": "a line ends within the unit",
    "mmlu_stem/mmlustem-2193": "the text of option B is the letter c",
}


def _some(problems, name, count=60):
    rows = [row for row in problems if row["task"] == name and row["id"] not in ODD]
    return rows[:: max(1, len(rows) // count)]


def _right(row):
    text = f" So it is. The answer is {row['answer']}."
    return grade(
        row["answer"],
        text,
        row["kind"],
        **({"options": row["options"]} if "options" in row else {}),
    ).correct


def test_no_near_copy_of_a_test_question_is_among_our_examples(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the folder of real data is not here")
    for name in NINE:
        examples = load_task(name, "math").settings.get("examples", [])
        rows = list(load_problems([name], "test", domain="math", data_dir=SHARED))
        fewshot.check_own(name, examples, rows)
        records.write_rows(tmp_path / f"{name}.jsonl", rows[:1])
