"""What is found of a corpus: each file once, and nothing ignored without a word."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from trait_lib import ROOT, records
from trait_lib.reading import shards, tables

ROWS = [{"id": f"d{i}", "text": f"text {i}"} for i in range(3)]


def write(path, rows=ROWS):
    records.write_rows(path, rows)
    return path


def documents(shard, wanted=None):
    found = list(tables.read(shard, wanted=wanted))
    rows = [int(i) for numbers, _ in found for i in numbers]
    return rows, [row for _, table in found for row in table.to_pylist()]


def names(folder, found):
    return [shard.name.removeprefix(f"{folder}/") for shard in found]


def test_folders_and_patterns_are_searched_in_the_order_of_names(tmp_path):
    for name in ("b.jsonl", "a.parquet", "deep/c.jsonl.gz", ".hidden.jsonl", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name) if "READ" not in name else (tmp_path / name).write_text("x")
    assert names(tmp_path, shards.find([tmp_path])) == ["a.parquet", "b.jsonl", "deep/c.jsonl.gz"]
    assert len(shards.find([f"{tmp_path}/*.jsonl", f"{tmp_path}/**/*.gz"])) == 2


def test_what_is_not_there_is_named_with_where_was_looked(tmp_path):
    with pytest.raises(shards.NoCorpus, match=rf"corpus_files: 'no/such'.*start in {ROOT}"):
        shards.find(["no/such"])
    with pytest.raises(shards.NoCorpus, match="seed_files: names no file"):
        shards.find([], "seed_files")
    (tmp_path / "a.txt").write_text("x")
    for source in (tmp_path / "a.txt", tmp_path, f"{tmp_path}/*"):
        with pytest.raises(records.Damaged, match=r"a\.txt: unknown kind of file; known: \.jsonl"):
            shards.find([source])


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
    numbers, every = documents(parts[1])
    rows, some = documents(parts[1], np.array([numbers[0], numbers[2]]))
    assert (rows, some) == ([numbers[0], numbers[2]], [every[0], every[2]])


def test_a_changed_file_is_another_shard(tmp_path):
    path = write(tmp_path / "a.jsonl")
    before = shards.find([path])[0].identity()
    assert shards.find([path])[0].identity() == before
    write(path, ROWS[1:])
    assert shards.find([path])[0].identity() != before


def test_suffixes_in_any_case_and_all_that_is_compressed_are_read(tmp_path):
    known = ["a.JSONL", "b.ndjson", "c.json.gz", "d.jsonl.bz2", "e.Jsonl.XZ", "f.NDJSON.ZST"]
    for i, name in enumerate(known):
        records.write_rows(tmp_path / "plain.jsonl", [{"id": name, "text": f"text {i}"}])
        pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
                "zst": zstandard.compress}.get(name.lower().rpartition(".")[2], bytes)  # fmt: skip
        (tmp_path / name).write_bytes(pack((tmp_path / "plain.jsonl").read_bytes()))
    (tmp_path / "plain.jsonl").unlink()
    write(tmp_path / "g.parquet").rename(tmp_path / "g.PARQUET")
    found = shards.find([tmp_path])
    assert names(tmp_path, found) == [*known, "g.PARQUET"]
    ids = [row["id"] for shard in found for row in documents(shard)[1]]
    assert ids == [*known, "d0", "d1", "d2"]


@pytest.mark.parametrize("name", ["b.csv", "b.jsonl.lz4", "b.jsonl.gz.part", "b.txt", "b"])
def test_a_file_of_unknown_kind_in_a_folder_is_refused_by_name(tmp_path, name):
    write(tmp_path / "a.jsonl")
    (tmp_path / name).write_text("x")
    with pytest.raises(records.Damaged, match=rf"/{name}: unknown kind of file"):
        shards.find([tmp_path])


def test_hidden_folders_and_companions_are_passed_over_and_counted(tmp_path):
    for name in ("a.jsonl", ".ipynb_checkpoints/a-checkpoint.jsonl", ".cache/x/y.jsonl",
                 ".b.jsonl.swp", "README.md", "LICENSE", "_SUCCESS", "a.jsonl.md5"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "x.jsonl").rename(tmp_path / name)
    assert names(tmp_path, shards.find([tmp_path])) == ["a.jsonl"]
    assert shards.passed_over([tmp_path]) == {
        "in hidden folders": 2,
        "hidden": 1,
        "about the data, such as README.md": 4,
    }


def test_linked_folders_and_files_are_read_once_and_by_the_names_of_the_links(tmp_path):
    corpus, disk = tmp_path / "corpus", tmp_path / "disk"
    write(corpus / "near/a.jsonl")
    write(disk / "b.jsonl")
    write(disk / "blob").rename(disk / "0f3a")  # as the Hub's cache names its files
    (corpus / "far").symlink_to(disk / "linked")
    (disk / "linked").mkdir()
    write(disk / "linked/b.jsonl")
    (corpus / "c.jsonl").symlink_to(disk / "0f3a")
    (corpus / "near/loop").symlink_to(corpus)
    (corpus / "again.jsonl").symlink_to(corpus / "near/a.jsonl")
    found = shards.find([corpus])
    assert names(corpus, found) == ["again.jsonl", "c.jsonl", "far/b.jsonl"]
    assert [len(documents(shard)[1]) for shard in found] == [3, 3, 3]
    assert shards.passed_over([corpus])["the same file again, by a link or another name"] == 1


def test_documents_of_files_of_one_name_do_not_share_ids(tmp_path):
    for folder in "xy":
        write(tmp_path / folder / "d.jsonl", [{"text": "one"}])
    ids = [documents(shard)[1][0]["id"] for shard in shards.find([tmp_path])]
    assert ids == ["0-d.jsonl:1", "1-d.jsonl:1"]


def test_folders_that_a_pattern_matches_are_searched(tmp_path):
    for name in ("a.jsonl", "deep/b.jsonl", "deep/deeper/c.jsonl"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_rows(path, [{"text": name}])
    for pattern in ("corpus/*", "corpus/**", "corp*"):
        found = shards.find([str(tmp_path / pattern)])
        assert [shard.title for shard in found] == ["a.jsonl", "b.jsonl", "c.jsonl"]
        assert not sum(shards.passed_over([str(tmp_path / pattern)]).values())


@pytest.mark.parametrize("target", ["nowhere.jsonl", "lost.jsonl"])
def test_a_link_to_nothing_is_named(tmp_path, target):
    (tmp_path / "lost.jsonl").symlink_to(tmp_path / target)
    for source in (tmp_path, tmp_path / "lost.jsonl"):
        with pytest.raises(shards.NoCorpus, match=r"lost.jsonl is a link to nothing"):
            shards.find([source])


@pytest.mark.parametrize(
    ("pack", "kind"),
    [(gzip.compress, "gzip"), (zstandard.compress, "zstd"), (bz2.compress, "bzip2")],
)
def test_compressed_data_under_a_plain_name_are_never_skipped_rows(tmp_path, pack, kind):
    (tmp_path / "a.jsonl").write_bytes(pack(b'{"text": "one"}\n'))
    [shard] = shards.find([tmp_path])
    with pytest.raises(records.BadRow, match=rf"a.jsonl: holds {kind} data.*rename it"):
        list(tables.read(shard, on_bad="skip"))
