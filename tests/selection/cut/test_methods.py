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
from trait_lib.selection.models import classifier, mining, regression
from trait_lib.selection.scan import jobs

SETTINGS = {"dim": 4, "lr": 0.5, "epoch": 5, "wordNgrams": 2, "minCount": 1, "bucket": 200}
ASKED = {
    "rank_by": "classifier",
    "compare": ["regression", "mined"],
    "mining_sample": 100,
    "seed": 0,
    "text_form": "words",
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
        "log_odds_mined": -numbers,
    }
    return [part(tmp_path / "part.parquet", columns)]


@pytest.fixture(scope="module")
def rankings(tmp_path_factory, sums, tales):
    """The rankings of a run over small files."""
    folder = tmp_path_factory.mktemp("stage")
    records.write_rows(folder / "corpus.jsonl", ({"text": text} for text in sums[30:] + tales))
    fields = {"text_field": "text", "id_field": "id"}
    shards = find([folder / "corpus.jsonl"])
    given = Inputs(sums[:30], shards, fields, {}, "", None)
    stage = Stage("01_data_selection", folder, ASKED)
    classifier.save(classifier.train(sums[:20], tales[:20], SETTINGS, 0), folder / "classifier.bin")
    found = methods.search(stage, given, Budget(100, documents=9), sums[:20])
    return methods.gather(stage, found) | methods.baselines(stage, given, jobs.Engine())


def scores(rankings, name, parts):
    rows = rankings[name].stream(parts, True)
    return np.concatenate([batch.score for batch in rows])


def test_the_chosen_ranking_comes_first_and_the_baselines_pass_no_quality_filter(rankings):
    assert list(rankings) == ["classifier", "regression", "mined", "DSIR", "random"]
    assert [name for name, one in rankings.items() if not one.filtered] == ["DSIR", "random"]


def test_each_follows_its_own_column(rankings, parts):
    assert np.argmax(scores(rankings, "classifier", parts)) == 399
    assert np.argmax(scores(rankings, "mined", parts)) == 0


def test_the_regression_learns_the_seed_against_the_corpus(rankings, sums, tales):
    maker = rankings["regression"].scorer
    odds = regression.scorer(**maker["settings"])(pa.array([sums[0], tales[0]]))
    assert odds["log_odds_regression"][0] > odds["log_odds_regression"][1]


def test_too_small_a_seed_stops_only_what_learns_from_it(tmp_path, sums, tales):
    records.write_rows(tmp_path / "corpus.jsonl", ({"text": text} for text in tales))
    fields = {"text_field": "text", "id_field": "id"}
    given = Inputs(sums[:4], find([tmp_path / "corpus.jsonl"]), fields, {}, "", None)
    few = given, Budget(100, documents=9), sums[:4]
    assert methods.search(Stage("x", tmp_path, ASKED | {"compare": []}), *few) is None
    with pytest.raises(mining.TooFew, match="4 seed documents"):
        methods.search(Stage("x", tmp_path, ASKED), *few)


def test_a_front_holds_as_many_budgets_as_asked_for(rankings, parts):
    front = rankings["classifier"].front(parts, Budget(10, bytes_per_token=5.0), 2.0)
    assert front.document.tolist() == list(range(399, 389, -1))  # 2 * 10 * 5 bytes
    front = rankings["classifier"].front(parts, Budget(10, documents=3), 2.0)
    assert front.document.tolist() == [399, 398, 397, 396, 395, 394]


def test_rankings_are_named_once_and_the_chosen_one_first():
    assert methods.named("mined", ["classifier", "mined"]) == ["mined", "classifier"]
    with pytest.raises(methods.UnknownRanking, match="'clasifier'; there are classifier, regr"):
        methods.named("mined", ["clasifier"])


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
    two = {name: rankings[name] for name in ("classifier", "mined", "random")}
    fronts = dict.fromkeys(two, order)
    selections = methods.select_all(
        two, fronts, dict.fromkeys(two, candidates), Budget(1, documents=2), 0.0, 2.5
    )
    assert list(selections) == ["classifier", "unfiltered", "mined", "random"]
    assert all(isinstance(one, Selection) for one in selections.values())
    kept = {name: one.documents.tolist() for name, one in selections.items()}
    assert kept["classifier"] == kept["mined"] == [3, 4]
    assert kept["unfiltered"] == kept["random"] == [0, 1]
    stage = Stage("01_data_selection", tmp_path, {})
    stage.path("regression.jsonl.zst").write_bytes(b"of an earlier run")
    files = methods.write_texts(stage, selections)
    assert list(files) == [
        f"{name}.jsonl.zst" for name in ("selected", "unfiltered", "mined", "random")
    ]
    rows = list(records.read_rows(stage.path("selected.jsonl.zst")))
    assert [(row["id"], row["text"]) for row in rows] == [("d3", "text 3"), ("d4", "text 4")]
    assert {file.name for file in tmp_path.glob("*.zst")} == set(files)
