"""Texts and samples of a corpus: exact shares, whatever the shards hold."""

import numpy as np
import pytest

from trait_lib import records
from trait_lib.reading.shards import find
from trait_lib.reading.tables import EmptyCorpus, Report
from trait_lib.selection.scan import corpus, estimate

FIELDS = {"on_bad": "skip"}


def write(path, texts):
    records.write_rows(path, [{"id": f"{path.stem}{i}", "text": t} for i, t in enumerate(texts)])
    return find([path])


def test_negatives_come_from_several_files_in_the_stated_shares(tmp_path):
    one = write(tmp_path / "one.jsonl", [f"a{i}" for i in range(100)])
    two = write(tmp_path / "two.jsonl.zst", [f"b{i}" for i in range(100)])
    drawn = corpus.draw([(one, 0.7), (two, 0.3)], 31, 2, FIELDS)
    assert len(drawn) == len(set(drawn)) == 31
    assert sum(text.startswith("a") for text in drawn) == 22
    assert corpus.draw([(one, 0.7), (two, 0.3)], 31, 2, FIELDS) == drawn


def test_a_file_with_too_few_documents_is_named(tmp_path):
    few = write(tmp_path / "few.jsonl", ["one", " \n", "two"])
    with pytest.raises(EmptyCorpus, match=r"few\.jsonl: 2 documents, 3 are needed"):
        corpus.draw([(few, 1.0)], 3, 0, FIELDS)


def test_general_files_are_one_source_whatever_each_holds(tmp_path):
    for name, texts in (("a", ["x"] * 39), ("b", []), ("c", ["y"])):
        write(tmp_path / f"{name}.jsonl", texts) if texts else (tmp_path / "b.jsonl").touch()
    report = Report()
    drawn = corpus.draw(corpus.shares([], [], find([tmp_path])), 40, 0, FIELDS, report)
    assert sorted(drawn) == ["x"] * 39 + ["y"]
    assert (report.rows, report.documents) == (40, 40)


def test_a_reservoir_takes_each_item_with_the_same_chance():
    counts = np.zeros(10)
    for seed in range(2000):
        for item in corpus.reservoir(map(str, range(10)), 3, np.random.default_rng(seed)):
            counts[int(item)] += 1
    # 2000 draws of 3 in 10: 600 each, standard deviation 20.5
    assert np.abs(counts - 600).max() < 5 * 20.5


def test_what_negative_shares_leave_goes_to_the_general_text():
    assert corpus.shares([], [], ["g", "h"]) == [(["g", "h"], 1)]
    shares = corpus.shares(["a", "b"], [0.25, 0.25], ["g"])
    assert shares == [(["a"], 0.25), (["b"], 0.25), (["g"], 0.5)]
    assert corpus.shares(["a"], [1.0], ["g"]) == [(["a"], 1.0)]


@pytest.mark.parametrize("shares", [[0.5], [0.8, 0.4], [0.5, 0.0]])
def test_impossible_negative_shares_are_refused(shares):
    with pytest.raises(ValueError, match="negative_shares"):
        corpus.shares(["a", "b"], shares, ["g"])


def test_a_corpus_without_text_is_an_error_that_names_the_file_and_what_was_skipped(tmp_path):
    with pytest.raises(EmptyCorpus, match=r"blank\.jsonl.*2 skipped: field 'text' is empty"):
        corpus.texts(write(tmp_path / "blank.jsonl", [" ", "\n"]), FIELDS)


@pytest.mark.parametrize("sizes", [[1] * 300, [0] * 100 + [150, 0, 150], [1] * 100 + [200]])
def test_a_sample_is_as_large_as_asked_whatever_the_shards_hold(tmp_path, sizes):
    for i, size in enumerate(sizes):
        write(tmp_path / f"{i:03}.jsonl", [f"text {i} {j}" for j in range(size)]) if size else (
            tmp_path / f"{i:03}.jsonl"
        ).touch()
    pool = find([tmp_path])
    found = corpus.sample(pool, 200, 1, FIELDS)
    assert len(set(found)) == len(found) == 200
    assert found == corpus.sample(pool, 200, 1, FIELDS)
    assert len(corpus.sample(pool, 1000, 1, FIELDS)) == sum(sizes)
    assert estimate.make(pool, [], FIELDS).documents == pytest.approx(sum(sizes), rel=0.5)
