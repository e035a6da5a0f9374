"""The rankings beside the paper's: what they learn from, and how they order documents."""

import numpy as np
import pyarrow as pa
import pytest

from trait_lib import records
from trait_lib.selection.cut import methods
from trait_lib.selection.scan import jobs, passes
from trait_lib.selection.scan.shards import find


@pytest.fixture
def parts(tmp_path):
    """The parts of a pass over 400 documents with two known scores."""
    rows = [{"id": f"d{i}", "text": f"text {i}"} for i in range(400)]
    file = tmp_path / "corpus.jsonl"
    records.write_rows(file, rows)
    settings = {"methods": [{"make": f"{__name__}:known_scores", "settings": {}}], "fields": {}}
    items = passes.items(find([str(file)]))
    job = jobs.write_job(
        tmp_path / "parts", "score", f"{passes.__name__}:score_task", settings, items
    )
    return jobs.run(job, jobs.Engine("local", 1, "", 0.0), "scores").parts


def known_scores():
    """Scores that rise and fall with the number in the text."""

    def columns(texts):
        numbers = np.array([int(text.as_py().split()[1]) for text in texts], dtype=float)
        return {
            "log_odds": numbers / 100,
            "log_odds_mined": -numbers,
            "dsir_per_word": pa.array(1000 * np.sin(numbers)),
        }

    return columns


def order(name, parts, seed=0):
    rows = list(methods.stream(name, parts, seed, one_each=True)())
    scores = np.concatenate([r.score for r in rows])
    return np.argsort(-scores, kind="stable"), scores


def test_trained_rankings_follow_their_own_column(parts):
    assert order("classifier", parts)[0][0] == 399
    assert order("mined", parts)[0][0] == 0


def test_the_average_gives_both_scores_the_same_weight(parts):
    numbers = np.arange(400.0)
    both = [numbers / 100, 1000 * np.sin(numbers)]
    expected = np.mean([(s - s.mean()) / s.std() for s in both], axis=0)
    assert np.allclose(order("averaged", parts)[1], expected)


def test_a_draw_prefers_high_odds_repeats_with_its_seed_and_differs_without(parts):
    first, again, other = (order("sampled", parts, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    drawn = np.concatenate([order("sampled", parts, seed)[0][:40] for seed in range(50)])
    # odds rise by exp(4) over the corpus: documents of the upper half are drawn far more often
    assert np.mean(drawn >= 200) > 0.8
    assert np.any(drawn < 200)


def test_the_second_round_adds_the_best_of_the_sample():
    sample = [f"s{i}" for i in range(10)]
    scores = np.array([0, 9, 1, 8, 2, 3, 4, 5, 6, 7.0])
    positives, negatives = methods.second_round(scores, sample, ["seed"], 2)
    assert positives == ["seed", "s1", "s3"]
    assert negatives == ["s0", "s2", "s4"]


def test_rankings_are_named_once_and_tasks_need_problems():
    assert methods.named("mined", ["classifier", "mined", "tasks"], True) == [
        "mined",
        "classifier",
        "tasks",
    ]
    assert methods.named("mined", ["tasks"], False) == ["mined"]
    with pytest.raises(methods.UnknownRanking, match="task_files"):
        methods.named("tasks", [], False)
    with pytest.raises(methods.UnknownRanking, match="'clasifier'; there are classifier, mined"):
        methods.named("mined", ["clasifier"], True)


def test_problems_become_texts_of_question_and_solution(tmp_path):
    file = tmp_path / "problems.jsonl"
    records.write_rows(file, [{"question": "1+1?", "solution": "It is 2."}, {"question": "Why?"}])
    assert methods.task_texts(file) == ["1+1?\nIt is 2.", "Why?"]
    records.write_rows(file, [{"prompt": "x"}])
    with pytest.raises(records.BadRow, match="row 1 has no question"):
        methods.task_texts(file)
