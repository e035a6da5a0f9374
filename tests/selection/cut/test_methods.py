"""The rankings of notebook 01: what they learn from, how they order documents, what they write."""

import numpy as np
import pyarrow as pa
import pytest

from trait_lib import records
from trait_lib.reading.shards import find
from trait_lib.run import Stage
from trait_lib.selection.cut import methods, ranking
from trait_lib.selection.cut.budget import Budget, Selection
from trait_lib.selection.cut.candidates import Candidates
from trait_lib.selection.inputs import Inputs
from trait_lib.selection.models import classifier
from trait_lib.selection.scan import jobs

SETTINGS = {"dim": 4, "lr": 0.5, "epoch": 5, "wordNgrams": 2, "minCount": 1, "bucket": 200}
ASKED = {
    "rank_by": "classifier",
    "compare": ["tasks", "second_round", "sampled", "averaged"],
    "mining_sample": 100,
    "mining_share": 0.1,
    "mined_epochs": 1,
    "seed": 0,
    "text_form": "words",
    "threads": 1,
    "dsir_chunk_words": 0,
    "dsir_per_length": False,
    "dsir_min_tokens": 0,
}


def part(path, columns):
    made = jobs.Part(path)
    made.write(pa.table(columns))
    made.close()
    return path


@pytest.fixture
def parts(tmp_path):
    """A part of a pass over 400 documents with known scores."""
    numbers = np.arange(400.0)
    columns = {
        "bytes": np.full(400, 10),
        "log_odds": numbers / 100,
        "log_odds_tasks": -numbers,
        "dsir_per_word": 1000 * np.sin(numbers),
    }
    return [part(tmp_path / "part.parquet", columns)]


@pytest.fixture(scope="module")
def rankings(tmp_path_factory, sums, tales):
    """The rankings of a run over small files."""
    folder = tmp_path_factory.mktemp("stage")
    records.write_rows(folder / "corpus.jsonl", ({"text": text} for text in sums[30:] + tales))
    fields = {"text_field": "text", "id_field": "id"}
    shards = find([folder / "corpus.jsonl"])
    given = Inputs(sums[:30], shards, fields, sums[:5], {}, "", None)
    stage = Stage("01_data_selection", folder, ASKED)
    model = classifier.train(sums[:20], tales[:20], SETTINGS, 0)
    classifier.save(model, stage.path("classifier.bin"))
    budget = Budget(100, documents=9)
    made = methods.gather(stage, given, budget, model, sums[:20], SETTINGS)
    return made | methods.baselines(stage, given, jobs.Engine())


def scores(rankings, name, parts):
    rows = rankings[name].stream(parts, True)
    return np.concatenate([batch.score for batch in rows])


def test_the_chosen_ranking_comes_first_and_the_baselines_pass_no_quality_filter(rankings):
    assert list(rankings) == [
        "classifier", "tasks", "second_round", "sampled", "averaged", "DSIR", "random",
    ]  # fmt: skip
    assert [name for name, one in rankings.items() if not one.filtered] == ["DSIR", "random"]


def test_each_learns_from_its_own_examples(rankings, sums, tales):
    assert rankings["classifier"].examples is None
    assert list(rankings["tasks"].examples.positives) == sums[:5]
    assert len(rankings["tasks"].examples.negatives) == 5
    learned = rankings["second_round"].examples
    # the sample is the whole corpus of 90, and a tenth of it joins the 20 positives
    assert list(learned.positives[:20]) == sums[:20]
    assert set(learned.positives[20:]) <= set(sums[30:]) and len(learned.positives) == 29
    assert set(learned.negatives) <= set(sums + tales) - set(learned.positives[20:])


def test_trained_rankings_follow_their_own_column(rankings, parts):
    assert np.argmax(scores(rankings, "classifier", parts)) == 399
    assert np.argmax(scores(rankings, "tasks", parts)) == 0


def test_the_average_gives_both_scores_the_same_weight(rankings, parts):
    numbers = np.arange(400.0)
    both = [numbers / 100, 1000 * np.sin(numbers)]
    expected = np.mean([(s - s.mean()) / s.std() for s in both], axis=0)
    assert np.allclose(scores(rankings, "averaged", parts), expected)


def test_a_draw_prefers_high_odds_and_its_score_is_told_without_the_noise(rankings, parts):
    drawn = scores(rankings, "sampled", parts)
    np.testing.assert_array_equal(drawn, scores(rankings, "sampled", parts))
    odds = np.arange(400) / 100
    # odds rise by exp(4) over the corpus: documents of the upper half are drawn far more often
    assert np.mean(np.argsort(-drawn)[:40] >= 200) > 0.8
    assert not np.array_equal(np.argsort(-drawn), np.argsort(-odds))
    told = rankings["sampled"].score(parts)({"log_odds": odds})
    np.testing.assert_array_equal(told, odds)


def test_a_front_holds_as_many_budgets_as_asked_for(rankings, parts):
    front = rankings["classifier"].front(parts, Budget(10, bytes_per_token=5.0), 2.0)
    assert front.document.tolist() == list(range(399, 389, -1))  # 2 * 10 * 5 bytes
    front = rankings["classifier"].front(parts, Budget(10, documents=3), 2.0)
    assert front.document.tolist() == [399, 398, 397, 396, 395, 394]


def test_rankings_are_named_once_and_tasks_need_problems():
    assert methods.named("mined", ["classifier", "mined", "tasks"], True) == [
        "mined",
        "classifier",
        "tasks",
    ]
    assert methods.named("mined", ["tasks"], False) == ["mined", "classifier"]
    with pytest.raises(methods.UnknownRanking, match="task_files"):
        methods.named("tasks", [], False)
    with pytest.raises(methods.UnknownRanking, match="'clasifier'; there are classifier, mined"):
        methods.named("mined", ["clasifier"], True)


# --- selecting --------------------------------------------------------------------------------


def seen(folder, texts):
    number = len(texts)
    columns = {"id": [f"d{i}" for i in range(number)], "text": texts, "source": ["s"] * number}
    return Candidates(
        document=np.arange(number),
        chunk=np.zeros(number, dtype=int),
        tokens=np.full(number, 10),
        quality=np.linspace(0, 5, number),
        reason=np.full(number, "", dtype=object),
        digests=np.arange(number, dtype=np.uint64),
        minhashes=None,
        parts=[part(folder / "texts.parquet", columns)],
    )


def test_every_way_of_selecting_is_written_for_its_arm_and_no_other_file_stays(rankings, tmp_path):
    candidates = seen(tmp_path, [f"text {i}" for i in range(6)])
    order = ranking.Ranked(np.arange(6), np.zeros(6, int), -np.arange(6.0), np.ones(6, int))
    two = {name: rankings[name] for name in ("classifier", "second_round", "random")}
    fronts = dict.fromkeys(two, order)
    selections = methods.select_all(
        two, fronts, dict.fromkeys(two, candidates), Budget(1, documents=2), 0.0, 2.5
    )
    assert list(selections) == ["classifier", "unfiltered", "second_round", "random"]
    assert all(isinstance(one, Selection) for one in selections.values())
    kept = {name: one.documents.tolist() for name, one in selections.items()}
    assert kept["classifier"] == kept["second_round"] == [3, 4]
    assert kept["unfiltered"] == kept["random"] == [0, 1]
    stage = Stage("01_data_selection", tmp_path, {})
    stage.path("mined.jsonl.zst").write_bytes(b"of an earlier run")
    files = methods.write_texts(stage, selections)
    assert list(files) == ["selected.jsonl.zst", "second_round.jsonl.zst", "random.jsonl.zst"]
    rows = list(records.read_rows(stage.path("selected.jsonl.zst")))
    assert [(row["id"], row["text"]) for row in rows] == [("d3", "text 3"), ("d4", "text 4")]
    assert {file.name for file in tmp_path.glob("*.zst")} == set(files)
