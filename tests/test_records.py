"""Rows on disk come back as written, the same rows give the same bytes, bad lines have names."""

import gzip
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import ROOT, records

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
    with pytest.raises(records.BadRow, match=r"damaged: .*, after line 50000"):
        list(rows)


def test_json_keeps_its_letters_and_sorts_its_keys(tmp_path):
    records.write_json(tmp_path / "a.json", {"b": "é", "a": [1, None]})
    assert (tmp_path / "a.json").read_text("utf-8").index('"a"') < 5
    assert "é" in (tmp_path / "a.json").read_text("utf-8")
    assert records.read_json(tmp_path / "a.json") == {"a": [1, None], "b": "é"}
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"a": [1, None], "b": "é"}


# --- the append journal -----------------------------------------------------------------------


def journal_rows(path, state=None):
    with records.Journal(path, state) as journal:
        return journal.rows


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=4), values, max_size=2), max_size=5),
    cut=st.integers(0, 30),
)
@settings(max_examples=30, deadline=None)
def test_a_journal_cut_anywhere_keeps_its_whole_rows(rows, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "log.jsonl"
    with records.Journal(path) as journal:
        for row in rows:
            journal.add(row)
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    whole = path.read_bytes().count(b"\n")
    assert journal_rows(path) == rows[:whole]
    with records.Journal(path) as journal:
        journal.add({"next": 1})
    assert journal_rows(path) == [*rows[:whole], {"next": 1}]


def test_a_journal_keeps_what_utf8_refuses_and_what_json_lacks(tmp_path):
    with records.Journal(tmp_path / "log.jsonl") as journal:
        journal.add({"text": "\ud800", "score": float("nan")})
    (row,) = journal_rows(tmp_path / "log.jsonl")
    assert row["text"] == "\ud800" and row["score"] != row["score"]


def test_rows_of_another_state_are_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    with records.Journal(path, {"model": "a"}) as journal:
        journal.add({"n": 1})
    assert journal_rows(path, {"model": "a"}) == [{"n": 1}]
    assert journal_rows(path, {"model": "b"}) == []
    assert journal_rows(path, {"model": "b"}) == []


def test_a_damaged_line_inside_a_journal_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"n": 1}\n{"n": \n{"n": 3}\n')
    with pytest.raises(records.BadRow, match=r"log\.jsonl:2: not JSON"):
        records.Journal(path)


def test_two_runs_do_not_write_to_one_journal(tmp_path):
    path = tmp_path / "log.jsonl"
    with records.Journal(path) as journal:
        journal.add({"n": 1})
        with pytest.raises(records.JournalInUse, match="another run"):
            records.Journal(path)
    assert journal_rows(path) == [{"n": 1}]


APPENDER = """
import resource, signal, sys
from trait_lib import records
with records.Journal(sys.argv[1]) as journal:
    if len(sys.argv) > 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    for n in range(10**9):
        journal.add({"n": n})
        print(n, flush=True)
"""


def test_what_was_added_survives_kill_9(tmp_path):
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", APPENDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        told = [int(process.stdout.readline()) for _ in range(50)]
        process.kill()
    rows = journal_rows(path)
    assert [row["n"] for row in rows] == list(range(len(rows))) and len(rows) >= len(told)


def test_a_full_disk_is_named_and_loses_no_row(tmp_path):
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", APPENDER, str(path), "60"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and f"{path}: File too large" in done.stderr
    added = [int(line) for line in done.stdout.split()]
    assert [row["n"] for row in journal_rows(path)] == added and added
