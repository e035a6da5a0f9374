import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from trait_lib import ROOT, records
from trait_lib.selection.scan import shards

DOCUMENTS = [
    {"id": f"d{i}", "text": f"text {i} é\n{'x' * i}", "source": "web", "more": i} for i in range(30)
]


def write(path, rows=DOCUMENTS):
    records.write_rows(path, rows)
    return path


def documents(shard, wanted=None, **fields):
    found = list(shards.read(shard, wanted=wanted, **fields))
    rows = [int(i) for numbers, _ in found for i in numbers]
    return rows, [row for _, table in found for row in table.to_pylist()]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "hub"])
def test_all_kinds_of_shards_give_the_same_documents(tmp_path, name, monkeypatch):
    monkeypatch.setattr(shards, "TABLE_BYTES", 500)  # several batches
    monkeypatch.setattr(shards, "HUB_ROWS", 7)
    path = write(tmp_path / ("a.jsonl" if name == "hub" else name))
    source = f"hub://json?data_files={path}" if name == "hub" else path
    (shard,) = shards.find([source])
    rows, found = documents(shard)
    assert rows == list(range(30))
    assert found == [{k: d[k] for k in ("id", "source", "text")} for d in DOCUMENTS]
    wanted = np.array([0, 3, 4, 29])
    rows, some = documents(shard, wanted)
    assert rows == wanted.tolist()
    assert some == [found[i] for i in wanted]


@pytest.mark.parametrize("name", ["b.jsonl", "b.parquet"])
def test_other_names_of_fields_numbers_as_ids_and_no_ids(tmp_path, name):
    path = write(tmp_path / name, [{"key": 7, "body": "x"}, {"key": None, "body": ""}])
    (shard,) = shards.find([path])
    _, found = documents(shard, text_field="body", id_field="key")
    # parquet made the ids floats, because one of them is missing
    assert found[0]["id"] in ("7", "7.0")
    assert found[1] == {"id": f"{name}:2", "source": name, "text": ""}


def test_blank_lines_count_for_messages_and_not_for_rows(tmp_path):
    lines = ["", json.dumps(DOCUMENTS[0]), "  ", json.dumps({"text": "b"}), "\r"]
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    rows, found = documents(shards.find([tmp_path / "c.jsonl"])[0])
    assert rows == [0, 1]
    assert found[1]["id"] == "c.jsonl:4"


def test_lone_surrogates_become_question_marks(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"text": "a\\ud800b"}\n')
    assert documents(shards.find([tmp_path / "c.jsonl"])[0])[1][0]["text"] == "a?b"


def test_several_compressed_streams_in_a_row_are_one_file(tmp_path):
    lines = [json.dumps(d).encode() + b"\n" for d in DOCUMENTS]
    one, two = b"".join(lines[:11]), b"".join(lines[11:])
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(one) + gzip.compress(two) + b"\0" * 100)
    squeeze = zstandard.ZstdCompressor().compress
    (tmp_path / "m.jsonl.zst").write_bytes(squeeze(one) + squeeze(two))
    for shard in shards.find([tmp_path]):
        assert [d["id"] for d in documents(shard)[1]] == [d["id"] for d in DOCUMENTS]


# --- damage -----------------------------------------------------------------------------------


def damaged(path):
    (shard,) = shards.find([path])
    with pytest.raises(shards.Damaged) as error:
        documents(shard)
    return str(error.value)


@pytest.mark.parametrize("keep", [0.5, 0.99, 0.0])
@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_file_that_was_cut_off_is_damaged(tmp_path, kind, keep):
    path = write(tmp_path / f"a.jsonl.{kind}", DOCUMENTS * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert "cut off" in damaged(path)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_changed_bytes_are_damage(tmp_path, kind):
    path = write(tmp_path / f"a.jsonl.{kind}", DOCUMENTS * 50)
    whole = bytearray(path.read_bytes())
    whole[4:40] = b"\xff" * 36
    path.write_bytes(whole)
    assert "damaged" in damaged(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a', "line 3: not JSON"),
        ("[1]", "line 3: a JSON list"),
        ('{"body": "a"}', r"line 3: no text in the field 'text' (fields: body)"),
        ('{"text": 3}', "line 3: no text in the field 'text'"),
        ('{"text": null}', "line 3: no text in the field 'text'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    good = json.dumps(DOCUMENTS[0])
    (tmp_path / "a.jsonl").write_text(f"{good}\n{good}\n{line}\n{good}\n")
    assert message in damaged(tmp_path / "a.jsonl")


def test_bytes_that_are_not_utf_8_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\xe9"}\n')
    assert "line 1: not JSON" in damaged(tmp_path / "a.jsonl")


def test_bad_parquet_is_damage(tmp_path):
    path = write(tmp_path / "a.parquet", DOCUMENTS * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged parquet" in damaged(path)
    path.write_bytes(whole[:100] + b"\0" * 500 + whole[600:])
    assert "damaged parquet" in damaged(path)
    write(path, [{"id": "1", "body": "x"}])
    assert "no field 'text' (fields: body, id)" in damaged(path)
    write(path, [{"text": 3}])
    assert "holds int64, not text" in damaged(path)
    write(path, [{"text": "a"}, {"text": None}])
    assert "row 2: no text" in damaged(path)


def test_a_file_that_went_away_is_not_damage(tmp_path):
    (shard,) = shards.find([write(tmp_path / "a.jsonl")])
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        documents(shard)


# --- finding shards ---------------------------------------------------------------------------


def test_folders_and_patterns_are_searched_in_the_order_of_names(tmp_path):
    for name in ("b.jsonl", "a.parquet", "deep/c.jsonl.gz", ".hidden.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name) if "notes" not in name else (tmp_path / name).write_text("x")
    names = [shard.name.removeprefix(f"{tmp_path}/") for shard in shards.find([tmp_path])]
    assert names == ["a.parquet", "b.jsonl", "deep/c.jsonl.gz"]
    assert len(shards.find([f"{tmp_path}/*.jsonl", f"{tmp_path}/**/*.gz"])) == 2


def test_what_is_not_there_is_named_with_where_was_looked(tmp_path):
    with pytest.raises(shards.NoCorpus, match=rf"corpus_files: 'no/such'.*start in {ROOT}"):
        shards.find(["no/such"])
    with pytest.raises(shards.NoCorpus, match="seed_files: names no file"):
        shards.find([], "seed_files")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(shards.NoCorpus, match=r"a\.txt: unknown kind of file"):
        shards.find([tmp_path / "a.txt"])


def test_a_large_parquet_file_is_divided_at_its_row_groups(tmp_path, monkeypatch):
    table = pa.table({"text": [f"t{i}" for i in range(100)]})
    pq.write_table(table, tmp_path / "big.parquet", row_group_size=10)
    (whole,) = shards.find([tmp_path])
    monkeypatch.setattr(shards, "GROUP_BYTES", 150)
    parts = shards.find([tmp_path])
    assert len(parts) > 2
    assert (parts[0].first, parts[-1].last) == (0, 10)
    found = [document for part in parts for document in documents(part)[1]]
    assert found == documents(whole)[1]
    assert len({json.dumps(part.identity()) for part in parts}) == len(parts)
    rows, some = documents(parts[1], np.array([0, 2]))
    assert (rows, some) == ([0, 2], [documents(parts[1])[1][i] for i in (0, 2)])


def test_a_changed_file_is_another_shard(tmp_path):
    path = write(tmp_path / "a.jsonl")
    before = shards.find([path])[0].identity()
    assert shards.find([path])[0].identity() == before
    write(path, DOCUMENTS[1:])
    assert shards.find([path])[0].identity() != before
