import numpy as np
import pytest

from trait_lib import records
from trait_lib.training.data import shards


def write(path, texts):
    records.write_rows(path, [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    return path


def test_a_shard_is_the_documents_each_closed_by_the_end_mark(runs, files, tokenizer):
    shard = shards.tokenise(files["lessons"], tokenizer)
    texts = [row["text"] for row in records.read_rows(files["lessons"])]
    expected = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in texts]
    assert shard.tokens.tolist() == [token for tokens in expected for token in tokens]
    assert np.diff(shard.starts).tolist() == [len(tokens) for tokens in expected[:-1]]
    assert shard.tokens.dtype == np.uint16


def test_rows_and_tail_are_all_of_it(runs, files, tokenizer):
    shard = shards.tokenise(files["lessons"], tokenizer)
    rows = [shard.row(n, 50)[0] for n in range(shard.rows(50))]
    tail = len(shard.tokens) - 50 * len(rows)
    assert 0 <= tail < 50
    assert np.concatenate(rows).tolist() == shard.tokens[: len(shard.tokens) - tail].tolist()


def test_positions_restart_at_each_document(runs, tokenizer, tmp_path):
    shard = shards.tokenise(write(tmp_path / "a.jsonl", ["one fox", "two", "a b c d e"]), tokenizer)
    _, positions = shard.row(0, len(shard.tokens))
    assert [int(p) for p in np.flatnonzero(positions == 0)] == shard.starts.tolist()
    assert set(np.diff(positions)[np.diff(positions) != 1]) <= {-p for p in positions}
    # a row that begins inside a document counts from its own beginning
    _, later = shard.row(1, int(shard.starts[1]) + 1)
    assert later[0] == 0


@pytest.mark.parametrize("whole", [0, 20])
def test_the_tokens_that_a_row_predicts_are_counted_without_reading_it(
    runs, tokenizer, tmp_path, whole
):
    texts = ["one fox", "two", "a b c d e", "the wet fox", "went home"]
    shard = shards.tokenise(write(tmp_path / "a.jsonl", texts), tokenizer, whole)
    for length in (2, 5, 20):
        for number in range(shard.rows(length)):
            _, positions = shard.row(number, length)
            targets = (positions > 0) & shard.learned(number, length)
            assert shard.predicted(number, length) == targets[1:].sum()


def test_the_documents_of_a_row_are_known(runs, tokenizer, tmp_path):
    shard = shards.tokenise(write(tmp_path / "a.jsonl", ["one fox", "two", "a b c d e"]), tokenizer)
    assert shard.documents(0, int(shard.starts[2])) == ["0", "1"]
    assert shard.documents(0, len(shard.tokens)) == ["0", "1", "2"]
    assert shard.documents(1, int(shard.starts[2])) == ["2"]


def test_the_end_mark_in_a_text_is_text(runs, tokenizer, tmp_path):
    shard = shards.tokenise(write(tmp_path / "a.jsonl", ["x <|endoftext|> y"]), tokenizer)
    assert (shard.tokens == tokenizer.eos_token_id).sum() == 1
    assert tokenizer.decode(shard.tokens[:-1]) == "x <|endoftext|> y"


def test_empty_documents_are_counted_and_left_out(runs, tokenizer, tmp_path):
    shard = shards.tokenise(write(tmp_path / "a.jsonl", ["one", "  \n", "", "two"]), tokenizer)
    assert shard.meta["documents"] == 2
    assert shard.meta["empty"] == 2
    assert shard.documents(0, len(shard.tokens)) == ["0", "3"]


@pytest.mark.parametrize("texts", [[], [" ", "\n"]])
def test_a_source_without_text_is_an_error(runs, tokenizer, tmp_path, texts):
    with pytest.raises(shards.EmptySource, match=r"a\.jsonl: no document"):
        shards.tokenise(write(tmp_path / "a.jsonl", texts), tokenizer)


def test_a_missing_file_is_named(runs, tokenizer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl: no such file"):
        shards.tokenise(tmp_path / "gone.jsonl", tokenizer)


def test_a_row_without_text_is_named(runs, tokenizer, tmp_path):
    path = tmp_path / "a.jsonl"
    records.write_rows(path, [{"id": "good", "text": "one"}, {"id": "bad", "body": "two"}])
    with pytest.raises(records.BadRow, match=r"a\.jsonl: row 2 \('bad'\) has no text"):
        shards.tokenise(path, tokenizer)


def test_the_cache_follows_the_content(runs, tokenizer, tmp_path):
    first = shards.tokenise(write(tmp_path / "a.jsonl", ["one"]), tokenizer)
    again = shards.tokenise(write(tmp_path / "b.jsonl", ["one"]), tokenizer)
    other = shards.tokenise(write(tmp_path / "a.jsonl", ["two"]), tokenizer)
    assert first.folder == again.folder != other.folder
