"""Documents of a shard: the same by every way of reading, bad rows named or counted."""

import bz2
import gzip
import json
import lzma
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import records
from trait_lib.reading import shards, tables
from trait_lib.reading.tables import Report
from trait_lib.reading.where import parse

DOCUMENTS = [
    {"id": f"d{i}", "text": f"text {i} é\n{'x' * i}", "source": "web", "more": i} for i in range(30)
]


def write(path, rows=DOCUMENTS):
    records.write_rows(path, rows)
    return path


def documents(shard, wanted=None, **fields):
    found = list(tables.read(shard, wanted=wanted, **fields))
    rows = [int(i) for numbers, _ in found for i in numbers]
    return rows, [row for _, table in found for row in table.to_pylist()]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "hub"])
def test_all_kinds_of_shards_give_the_same_documents(tmp_path, name, monkeypatch):
    monkeypatch.setattr(tables, "TABLE_BYTES", 500)  # several batches
    monkeypatch.setattr(tables, "HUB_ROWS", 7)
    path = write(tmp_path / ("a.jsonl" if name == "hub" else name))
    source = f"hub://json?data_files={path}" if name == "hub" else path
    (shard,) = shards.find([source])
    rows, found = documents(shard)
    assert rows == list(range(1, 31))
    assert found == [{k: d[k] for k in ("id", "source", "text")} for d in DOCUMENTS]
    wanted = np.array([1, 4, 5, 30])
    rows, some = documents(shard, wanted)
    assert rows == wanted.tolist()
    assert some == [found[i - 1] for i in wanted]


@pytest.mark.parametrize("name", ["b.jsonl", "b.parquet"])
def test_other_names_of_fields_numbers_as_ids_and_no_ids(tmp_path, name):
    path = write(tmp_path / name, [{"key": 7, "body": "x"}, {"key": None, "body": "y"}])
    (shard,) = shards.find([path])
    _, found = documents(shard, text_field="body", id_field="key")
    # parquet made the ids floats, because one of them is missing
    assert found[0]["id"] in ("7", "7.0")
    assert found[1] == {"id": f"{name}:2", "source": name, "text": "y"}


def test_blank_lines_are_no_rows(tmp_path):
    lines = ["", json.dumps(DOCUMENTS[0]), "  ", json.dumps({"text": "b"}), "\r"]
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    rows, found = documents(shards.find([tmp_path / "c.jsonl"])[0])
    assert rows == [2, 4]
    assert found[1]["id"] == "c.jsonl:4"


def test_lone_surrogates_become_question_marks(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"text": "a\\ud800b"}\n')
    report = Report()
    assert documents(shards.find([tmp_path / "c.jsonl"])[0], report=report)[1][0]["text"] == "a?b"
    assert report.repaired == 1 and "1 with half of a surrogate pair" in str(report)


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
    with pytest.raises(records.BadRow) as error:
        documents(shard)
    return str(error.value)


def packed(kind, rows):
    pack = {"gz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress}
    return pack.get(kind, lzma.compress)(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


@pytest.mark.parametrize("keep", [0.5, 0.99, 0.0])
@pytest.mark.parametrize("kind", ["gz", "zst", "bz2", "xz"])
def test_a_compressed_file_that_was_cut_off_is_damaged(tmp_path, kind, keep):
    whole = packed(kind, DOCUMENTS * 50)
    path = tmp_path / f"a.jsonl.{kind}"
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert "cut off" in damaged(path)
    path.write_bytes(whole + whole[: int(len(whole) * 0.9)])  # the last of two streams
    assert "cut off" in damaged(path)
    with pytest.raises(records.Damaged, match=r"damaged: .*cut off.*after line"):
        list(records.read_rows(path))


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
        ('{"text": "a', "a.jsonl:3: not JSON"),
        ("[1]", "a.jsonl:3: a JSON list"),
        ('{"body": "a"}', "a.jsonl:3: no text field 'text'"),
        ('{"text": 3}', "a.jsonl:3: field 'text' is not text (it is of type int)"),
        ('{"text": null}', "a.jsonl:3: no text field 'text'"),
        ('{"text": " \\u00a0"}', "a.jsonl:3: field 'text' is empty or only whitespace"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    good = json.dumps(DOCUMENTS[0])
    (tmp_path / "a.jsonl").write_text(f"{good}\n{good}\n{line}\n{good}\n")
    assert message in damaged(tmp_path / "a.jsonl")


def test_bytes_that_are_not_utf_8_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\xe9"}\n')
    assert "a.jsonl:1: not UTF-8 (byte 10)" in damaged(tmp_path / "a.jsonl")


def test_bad_parquet_is_damage(tmp_path):
    path = write(tmp_path / "a.parquet", DOCUMENTS * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged, not a whole parquet file" in damaged(path)
    path.write_bytes(whole[:100] + b"\0" * 500 + whole[600:])
    assert "damaged, not a whole parquet file" in damaged(path)
    write(path, [{"id": "1", "body": "x"}])
    assert "no field 'text' (fields: body, id)" in damaged(path)
    write(path, [{"text": 3}])
    assert "holds int64, not text" in damaged(path)
    write(path, [{"text": "a"}, {"text": None}])
    assert "a.parquet:2: no text field" in damaged(path)


def test_a_file_that_went_away_is_not_damage(tmp_path):
    (shard,) = shards.find([write(tmp_path / "a.jsonl")])
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        documents(shard)


# --- two readings of one file -----------------------------------------------------------------

GOOD = '{"id": "%s", "text": "text of %s", "label": "x"}'


def good(name):
    return GOOD % (name, name)


ODD = {
    "two objects on a line": good("x") + good("y"),
    "blank": "",
    "carriage return": "\r",
    "an object over two lines": '{"id": "x",\n"text": "t"}',
    "a line that Arrow takes alone": '{"id": "x", "text": "t", "deep": '
    + "[" * 3000
    + "]" * 3000
    + "}",
    "NaN": '{"id": "x", "text": "t", "n": NaN}',
    "a field twice": '{"id": "x", "text": "t", "text": "u"}',
    "a number as id": '{"id": 123456789012345678901234567890, "text": "t"}',
    "line separators in a text": '{"id": "x", "text": "a\u2028b\u0085c"}',
    "null": '{"id": "x", "text": null}',
    "a mark of byte order": "\ufeff" + good("x"),
    "NUL": good("x") + "\0" + good("y"),
    "half of a surrogate pair": '{"id": "x", "text": "\\ud800"}',
    "windows": good("x") + "\r",
    "blanks around": "  " + good("x") + "  ",
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["good", *ODD]), min_size=1, max_size=8), st.data())
def test_rows_read_again_are_those_read_first_whatever_stands_between(kinds, data):
    lines = [good(i) if kind == "good" else ODD[kind] for i, kind in enumerate(kinds)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("\n".join(lines) + data.draw(st.sampled_from(["", "\n"])), newline="")
        (shard,) = shards.find([path])
        report = Report()
        numbers, found = documents(shard, on_bad="skip", report=report)
        places = (
            data.draw(st.lists(st.sampled_from(range(len(numbers))), unique=True))
            if numbers
            else []
        )
        wanted = np.array(sorted(numbers[i] for i in places), dtype=np.int64)
        again = documents(shard, wanted, on_bad="skip")
    assert again == (wanted.tolist(), [found[numbers.index(i)] for i in wanted])
    assert report.rows == len(found) + report.skipped.total()
    ids = [row["id"] for row in found]
    assert [i for i in ids if i.isdigit() and len(i) < 3] == [
        str(i) for i, kind in enumerate(kinds) if kind == "good"
    ]


def test_lines_glued_together_and_blank_ones_do_not_cancel(tmp_path):
    text = f"{good(1)}{good(2)}\n\n{good(3)}\n{good(4)}\n"
    (tmp_path / "a.jsonl").write_text(text)
    (shard,) = shards.find([tmp_path])
    report = Report()
    rows, found = documents(shard, on_bad="skip", report=report)
    assert (rows, [row["id"] for row in found]) == ([3, 4], ["3", "4"])
    assert report.skipped == {"not JSON": 1} and report.first["not JSON"].endswith("a.jsonl:1")


def test_a_mark_of_byte_order_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "a.jsonl").write_text("\ufeff" + good(1) + "\n" + good(2))
    assert [row["id"] for row in documents(shards.find([tmp_path])[0])[1]] == ["1", "2"]
    assert [row["id"] for row in records.read_rows(tmp_path / "a.jsonl")] == ["1", "2"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_bad_rows_are_counted_with_their_first_place_and_only_they_are_missing(tmp_path, name):
    rows = [{"id": str(i), "text": f"text {i}" if i % 7 else (None, " ")[i % 2]} for i in range(30)]
    path = write(tmp_path / name, rows)
    report = Report()
    numbers, found = documents(shards.find([path])[0], on_bad="skip", report=report)
    assert [row["id"] for row in found] == [str(i) for i in range(30) if i % 7]
    assert numbers == [i + 1 for i in range(30) if i % 7]
    assert report.rows == 30 and report.skipped.total() == 5
    assert report.first["no text field 'text'"] == f"{path}:1"


def test_conditions_leave_out_rows_without_a_text_before_they_are_refused(tmp_path):
    rows = [{"id": "1", "text": "a", "n": 1}, {"id": "2", "n": 2}, {"id": "3", "text": 5, "n": 2}]
    path = write(tmp_path / "a.jsonl", rows)
    report = Report()
    how = {"where": parse(["n=1"]), "keep": ["n"], "report": report}
    _, found = documents(shards.find([path])[0], **how)
    assert found == [{"id": "1", "source": "a.jsonl", "text": "a", "n": "1"}]
    assert (report.rows, report.left_out, report.known) == (3, 2, {"n"})
