import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from trait_lib import contamination, records
from trait_lib.selection import pool
from trait_lib.selection.classifier import EmptyCorpus

TEXTS = ["one two three four five", "six seven", "", "eight nine ten eleven twelve thirteen"]


def rows(texts=TEXTS):
    return [{"id": f"d{i}", "text": text, "source": "s"} for i, text in enumerate(texts)]


@pytest.fixture
def file(tmp_path):
    records.write_rows(tmp_path / "pool.jsonl.zst", rows())
    return tmp_path / "pool.jsonl.zst"


def lengths(texts):
    return np.array([float(len(text)) for text in texts])


def rules(**changes):
    given = {
        "count_tokens": lambda texts: np.array([len(t.split()) for t in texts]),
        "test_questions": contamination.build_index({"q": "six seven"}),
        "min_words": 2,
        "shingle_words": 2,
    }
    return pool.Rules(**(given | changes))


def test_every_document_is_scored_in_file_order(file, monkeypatch):
    monkeypatch.setattr(pool, "BATCH", 3)
    found = pool.scan(file, lengths)
    assert found.ids == ["d0", "d1", "d2", "d3"]
    assert found.sources == ["s"] * 4
    assert found.scores.tolist() == [len(text) for text in TEXTS]
    assert found.sizes.tolist() == [len(text) for text in TEXTS]


def test_only_one_batch_of_text_is_scored_at_a_time(tmp_path):
    records.write_rows(tmp_path / "many.jsonl", rows(["word"] * 2500))
    sizes = []

    def score(texts):
        sizes.append(len(texts))
        return lengths(texts)

    pool.scan(tmp_path / "many.jsonl", score)
    assert sizes == [1000, 1000, 500]


def test_a_bad_pool_is_an_error_that_says_where(tmp_path):
    path = tmp_path / "pool.jsonl"
    records.write_rows(path, [])
    with pytest.raises(EmptyCorpus, match=r"pool\.jsonl: holds no document"):
        pool.scan(path, lengths)
    records.write_rows(path, [{"id": "a", "text": "x"}, {"id": "b", "text": None}])
    with pytest.raises(records.BadRow, match=r"pool\.jsonl: row 2 has no string 'text'"):
        pool.scan(path, lengths)
    records.write_rows(path, [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}])
    with pytest.raises(records.BadRow, match="1 ids occur more than once"):
        pool.scan(path, lengths)


def test_only_wanted_rows_are_examined(file):
    seen = []

    def quality(texts):
        seen.extend(texts)
        return lengths(texts)

    wanted = np.array([True, True, True, False])
    found = pool.examine(pool.rows(file), 4, wanted, rules(quality=quality))
    assert seen == TEXTS[:3]
    assert found.tokens.tolist() == [5, 2, 0, 0]
    assert found.reason.tolist() == ["", "contaminated", "too short", ""]
    assert sorted(found.minhashes) == [0, 1, 2]
    np.testing.assert_array_equal(np.isnan(found.quality), [False, False, False, True])


def test_without_a_quality_filter_nothing_is_scored(file):
    found = pool.examine(pool.rows(file), 4, np.ones(4, dtype=bool), rules())
    assert np.isnan(found.quality).all()


def test_tokens_are_counted_by_the_models_own_tokenizer(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    count = pool.token_counter(str(tmp_path))
    # neither truncation nor padding counts, and lone surrogates do not break it
    assert count(["a b a", "b", "", "a \ud800"]).tolist() == [3, 1, 0, 2]
    assert pool.bytes_per_token(["a b a", "b"], count) == 6 / 4


def test_texts_of_single_rows_are_found(file):
    assert pool.texts_at(pool.rows(file), [3, 1]) == {1: TEXTS[1], 3: TEXTS[3]}


def test_kept_rows_are_written_as_documents(file, tmp_path):
    kept = np.array([True, False, False, True])
    stream = ({**row, "document": 7} for row in pool.rows(file))
    assert pool.write_kept(tmp_path / "out.jsonl", stream, kept) == 2
    assert list(records.read_rows(tmp_path / "out.jsonl")) == [rows()[0], rows()[3]]


def test_scores_are_one_row_per_document_with_nulls_where_there_is_no_number(file, tmp_path):
    scanned = pool.scan(file, lengths)
    columns = {
        "quality": np.array([1.5, np.nan, np.nan, 2.0]),
        "kept": np.array([True, False, False, True]),
        "reason": np.array(["selected", "quality", "too short", "selected"], dtype=object),
    }
    assert pool.write_scores(tmp_path / "scores.parquet", scanned, columns) == 4
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.column_names == ["id", "source", "quality", "kept", "reason"]
    assert table["quality"].to_pylist() == [1.5, None, None, 2.0]
    assert table["kept"].to_pylist() == [True, False, False, True]
    assert table["reason"].to_pylist()[1] == "quality"
