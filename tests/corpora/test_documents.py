import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib import corpora, records
from trait_lib.corpora.documents import base, load_documents, split_text
from trait_lib.reading.tables import EmptyCorpus, Report
from trait_lib.reading.where import Condition, matches, parse

ROWS = [
    {"id": "a", "text": "first text", "split": "seed", "label": "math", "n": 1},
    {"id": "b", "text": "second text", "split": "pool", "label": "math", "n": 2},
    {"id": "c", "text": "third text", "split": "pool", "label": "other", "n": 2},
]


def write(path, *lines):
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def line(**row):
    return json.dumps(row).encode()


GOOD = line(id="good", text="a good line")


def ids(rows):
    return [row["id"] for row in rows]


# --- what is read -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "d.jsonl.zst", "d.parquet"])
def test_every_format_gives_the_same_documents(tmp_path, name):
    records.write_rows(tmp_path / name, ROWS)
    report = Report()
    rows = list(load_documents([tmp_path / name], report=report))
    assert ids(rows) == ["a", "b", "c"]
    assert rows[0] == {"id": "a", "text": "first text", "source": name}
    assert (report.rows, report.documents, report.characters) == (3, 3, 31)
    assert not report.skipped


def test_another_text_field_and_kept_fields(tmp_path):
    records.write_rows(tmp_path / "d.jsonl", [{"id": 7, "body": "words", "source": "web", "n": 3}])
    rows = list(load_documents([tmp_path / "d.jsonl"], "body", keep=["n", "absent"]))
    assert rows == [{"id": "7", "text": "words", "source": "web", "n": "3", "absent": None}]


def test_ids_are_made_and_unique_over_files_of_one_name(tmp_path):
    for folder in ("x", "y"):
        records.write_rows(tmp_path / folder / "d.jsonl", [{"text": "one"}, {"text": "two"}])
    rows = list(load_documents(["x/d.jsonl", "y/d.jsonl"], data_dir=tmp_path))
    assert ids(rows) == ["0-d.jsonl:1", "0-d.jsonl:2", "1-d.jsonl:1", "1-d.jsonl:2"]


def test_documents_are_streamed(tmp_path):
    path = write(tmp_path / "d.jsonl", GOOD, b"not JSON")
    assert next(load_documents([path]))["id"] == "good"


def test_limit_stops_reading(tmp_path):
    path = write(tmp_path / "d.jsonl", GOOD, line(id="z", text="more"), b"not JSON")
    report = Report()
    assert ids(load_documents([path], limit=1, report=report)) == ["good"]
    assert report.rows == 2  # of the block, up to the bad line


def test_relative_paths_start_at_the_data_folder_or_the_repository():
    from trait_lib import ROOT

    assert base("data") == ROOT / "data"
    assert base("/somewhere") == Path("/somewhere")


# --- conditions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], ["a", "b", "c"]),
        (["split=pool"], ["b", "c"]),
        (["split=pool", "label!=math"], ["c"]),
        (["n=2", "label=math"], ["b"]),
        ([" split = seed "], ["a"]),
    ],
)
def test_where_keeps_the_rows_that_meet_every_condition(tmp_path, where, expected):
    records.write_rows(tmp_path / "d.jsonl", ROWS)
    report = Report()
    rows = load_documents([tmp_path / "d.jsonl"], where=where, report=report)
    assert ids(rows) == expected
    assert report.left_out == 3 - len(expected)


def test_values_of_conditions_may_hold_signs_and_null_counts_as_empty():
    assert parse(["url=a=b!=c"]) == [Condition("url", "a=b!=c", False)]
    assert matches({"x": None}, parse(["x="]))
    assert not matches({"x": None}, parse(["x!="]))
    assert matches({"x": True, "y": 1}, parse(["x=true", "y=1"]))


@pytest.mark.parametrize("text", ["split", "=seed", "!=x", "", 3])
def test_a_condition_of_another_form_is_named(text):
    with pytest.raises(ValueError, match="is not `field=value`"):
        parse([text])


def test_a_condition_on_a_field_that_no_row_has_is_an_error(tmp_path):
    records.write_rows(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(ValueError, match="no row has a field 'lable'"):
        list(load_documents([tmp_path / "d.jsonl"], where=["lable!=math"]))


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"])), st.sampled_from("abc"))
def test_a_condition_and_its_negation_split_the_rows(row, name):
    assert matches(row, parse([f"{name}=1"])) != matches(row, parse([f"{name}!=1"]))


# --- bad input --------------------------------------------------------------------------------

BAD = {
    "not JSON": b"{not json",
    "not UTF-8": b'{"id": "u", "text": "caf\xe9"}',
    "a JSON list, where an object is needed": b"[1, 2]",
    "no text field 'text'": line(id="x", body="y"),
    "field 'text' is empty or only whitespace": line(id="x", text=" \n\t\u00a0"),
    "field 'text' is not text": line(id="x", text=5),
    "id occurs twice": line(id="good", text="another"),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_line_is_an_error_that_names_file_and_line(tmp_path, reason):
    path = write(tmp_path / "d.jsonl", GOOD, BAD[reason])
    with pytest.raises(records.BadRow) as error:
        list(load_documents([path]))
    assert str(error.value).startswith(f"{path}:2: {reason}")


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_line_is_counted_and_reported_when_it_may_be_skipped(tmp_path, reason):
    last = line(id="last", text="the last one")
    path = write(tmp_path / "d.jsonl", GOOD, BAD[reason], BAD[reason], last)
    report = Report()
    rows = load_documents([path], on_bad="skip", report=report)
    assert ids(rows) == ["good", "last"]
    assert report.skipped == {reason: 2}
    assert report.rows == 4
    assert f"2 skipped: {reason} (first: {path}:2)" in str(report)


def test_an_empty_text_is_bad_too(tmp_path):
    path = write(tmp_path / "d.jsonl", line(text=""))
    with pytest.raises(records.BadRow, match="empty or only whitespace"):
        list(load_documents([path]))


def test_a_missing_file_is_named_before_anything_is_read(tmp_path):
    good = write(tmp_path / "d.jsonl", GOOD)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl.*check the path"):
        load_documents([good, tmp_path / "nowhere.jsonl"])


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_corpus_is_an_error(tmp_path, content):
    path = write(tmp_path / "empty.jsonl", content)
    with pytest.raises(EmptyCorpus, match=r"empty\.jsonl: no document left; 0 rows read"):
        list(load_documents([path]))


def test_a_corpus_that_is_empty_after_the_conditions_says_so(tmp_path):
    records.write_rows(tmp_path / "d.jsonl", ROWS)
    with pytest.raises(EmptyCorpus, match=r"where \['split=dev'\].*3 left out by the conditions"):
        list(load_documents([tmp_path / "d.jsonl"], where=["split=dev"]))


def test_a_corpus_of_bad_lines_only_names_the_reasons(tmp_path):
    path = write(tmp_path / "d.jsonl", b"x", line(text=" "))
    with pytest.raises(EmptyCorpus, match=r"1 skipped: field 'text' is empty.*1 skipped: not JSON"):
        list(load_documents([path], on_bad="skip"))


def test_a_damaged_file_is_never_skipped(tmp_path):
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(GOOD * 500)[:-30])
    fake = write(tmp_path / "fake.parquet", b"PAR1 but no parquet")
    plain = write(tmp_path / "plain.jsonl.zst", GOOD)
    for path in (cut, fake, plain):
        with pytest.raises(records.BadRow, match=rf"{path.name}: damaged"):
            list(load_documents([path], on_bad="skip"))


def test_wrong_arguments_are_named(tmp_path):
    text = write(tmp_path / "d.txt", b"text")
    with pytest.raises(records.BadRow, match=r"d\.txt: unknown kind of file"):
        list(load_documents([text]))
    with pytest.raises(ValueError, match="on_bad must be"):
        load_documents([text], on_bad="ignore")
    with pytest.raises(ValueError, match="long must be one of keep, cut, split"):
        load_documents([text], long="drop")
    with pytest.raises(EmptyCorpus, match="at least one file"):
        load_documents([])
    with pytest.raises(EmptyCorpus, match="must be a list"):
        load_documents("corpus.jsonl")


# --- long documents ---------------------------------------------------------------------------

LONG = "one two three\n\nfour five six\n\nseven eight nine"


def test_long_documents_are_split_at_paragraphs_cut_or_kept(tmp_path):
    records.write_rows(tmp_path / "d.jsonl", [{"id": "d", "text": LONG}, {"id": "s", "text": "x"}])
    files = [tmp_path / "d.jsonl"]
    report = Report()
    rows = list(load_documents(files, max_characters=20, report=report))
    assert ids(rows) == ["d~0", "d~1", "d~2", "s"]
    assert rows[1] == {"id": "d~1", "text": "four five six", "source": "d.jsonl", "whole": "d"}
    assert report.shortened == 1
    cut = list(load_documents(files, max_characters=20, long="cut"))
    assert [row["text"] for row in cut] == ["one two three", "x"]
    assert ids(load_documents(files, max_characters=20, long="keep")) == ["d", "s"]


@given(st.text(alphabet="ab \n", max_size=200), st.integers(1, 40))
def test_splitting_loses_no_word_and_keeps_the_limit(text, limit):
    pieces = split_text(text, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_the_room_is_exported():
    assert corpora.load_documents is load_documents
