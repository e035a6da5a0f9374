"""Rows on disk come back as written, the same rows give the same bytes, bad lines have names."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import records

FORMATS = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]
texts = st.text(st.characters(codec="utf-8"), max_size=30)
rows_of_text = st.lists(st.fixed_dictionaries({"id": texts, "text": texts}), min_size=1, max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(rows=rows_of_text)
def test_rows_come_back_as_written(name, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / name
    assert records.write_rows(path, rows) == len(rows)
    assert list(records.read_rows(path)) == rows


@settings(max_examples=50, deadline=None)
@given(row=st.dictionaries(texts, values, max_size=4))
def test_any_json_object_comes_back_from_one_line(row, tmp_path_factory):
    path = tmp_path_factory.mktemp("row") / "a.jsonl"
    records.write_rows(path, [row])
    assert path.read_bytes().count(b"\n") == 1
    assert list(records.read_rows(path)) == [row]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_rows_give_the_same_bytes(name, tmp_path):
    rows = [{"id": str(i), "text": "naïve 數"} for i in range(50)]
    paths = [tmp_path / folder / name for folder in ("first", "other")]
    for path in paths:
        records.write_rows(path, iter(rows))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows_is_a_file_of_no_rows(name, tmp_path):
    assert records.write_rows(tmp_path / name, []) == 0
    assert list(records.read_rows(tmp_path / name)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(name, tmp_path):
    path = tmp_path / name
    records.write_rows(path, [{"id": "old"}])

    def rows():
        yield {"id": "new"}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        records.write_rows(path, rows())
    assert list(records.read_rows(path)) == [{"id": "old"}]
    assert list(tmp_path.iterdir()) == [path]


def test_writer_appends_rows_and_is_atomic(tmp_path):
    path = tmp_path / "a.jsonl"
    with records.writer(path) as write:
        write({"id": "1"})
        assert not path.exists()
        write({"id": "2"})
    assert [row["id"] for row in records.read_rows(path)] == ["1", "2"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{'id': 1}\n", r"a\.jsonl:3: not JSON"),
        (b'{"id": "\xff"}\n', r"a\.jsonl:3: not UTF-8 \(byte 8\)"),
        (b"[1, 2]\n", r"a\.jsonl:3: a JSON list, where an object is needed"),
        (b"\xef\xbb\xbf\n", r"a\.jsonl:3: not JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(line, words, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "1"}\n   \n' + line)  # the blank line counts in the numbering
    with pytest.raises(records.BadRow, match=words):
        list(records.read_rows(path))


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
        list(records.read_rows(tmp_path / name))


@pytest.mark.parametrize("name", FORMATS[1:])
def test_a_damaged_file_is_named(name, tmp_path):
    path = tmp_path / name
    records.write_rows(path, [{"text": str(i) * 40} for i in range(4000)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(records.BadRow, match=name):
        list(records.read_rows(path))
    path.write_bytes(b"not compressed at all")
    with pytest.raises(records.BadRow, match=name):
        list(records.read_rows(path))


def test_rows_are_streamed(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    good = b"".join(b'{"id": "%d"}\n' % i for i in range(50_000))
    path.write_bytes(gzip.compress(good) + b"garbage")
    rows = records.read_rows(path)
    assert next(rows) == {"id": "0"}  # the damage at the end is not yet met
    with pytest.raises(records.BadRow, match="damaged after line 49"):
        list(rows)


def test_json_keeps_its_letters_and_sorts_its_keys(tmp_path):
    records.write_json(tmp_path / "a.json", {"b": "é", "a": [1, None]})
    assert (tmp_path / "a.json").read_text("utf-8").index('"a"') < 5
    assert "é" in (tmp_path / "a.json").read_text("utf-8")
    assert records.read_json(tmp_path / "a.json") == {"a": [1, None], "b": "é"}
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"a": [1, None], "b": "é"}
