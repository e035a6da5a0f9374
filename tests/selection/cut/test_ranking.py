import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trait_lib.selection import table
from trait_lib.selection.cut import ranking
from trait_lib.selection.cut.ranking import Rows
from trait_lib.selection.scan import jobs

FLOATS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-52, -1.0, float("nan")]),
)


def rows(scores, sizes, first=0):
    number = np.arange(first, first + len(scores))
    return Rows(number, np.zeros_like(number), np.array(scores, float), np.array(sizes, int))


def expected(scores, sizes, wanted):
    """By sorting everything: what `front` must find without doing so."""
    scores, sizes = np.array(scores, float), np.array(sizes, int)
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    return order[: int(np.searchsorted(np.cumsum(sizes[order]), wanted)) + 1]


@given(
    documents=st.lists(st.tuples(FLOATS, st.integers(0, 9)), max_size=60),
    share=st.floats(0, 1.2),
    few=st.integers(1, 8),
    cuts=st.lists(st.integers(0, 60), max_size=3),
)
def test_the_front_is_that_of_a_full_sort(documents, share, few, cuts):
    scores, sizes = [d[0] for d in documents], [d[1] for d in documents]
    ends = sorted({0, len(documents), *(c for c in cuts if c < len(documents))})

    def stream():
        for a, b in pairwise(ends):
            yield rows(scores[a:b], sizes[a:b], a)

    wanted = share * sum(sizes)
    assume(wanted > 0)
    found = ranking.front(stream, wanted, few)
    assert found.document.tolist() == expected(scores, sizes, wanted).tolist()


def test_many_equal_scores_keep_their_order_and_few_of_them_stay_in_memory():
    def stream():
        for first in range(0, 5000, 100):
            yield rows([1.0] * 100, [2] * 100, first)

    found = ranking.front(stream, 301, few=10)
    assert found.document.tolist() == list(range(151))


@given(a=FLOATS, b=FLOATS)
def test_integers_sort_as_the_floats_do(a, b):
    if np.isnan(a) or np.isnan(b):
        return
    first, second = ranking.sortable(np.array([a, b]))
    assert (first < second, first == second) == (a < b, a == b)


# --- streams over parts -----------------------------------------------------------------------


def part(path, columns):
    made = jobs.Part(path)
    if columns:
        made.write(pa.table(columns))
    made.close()
    return path


@pytest.fixture
def parts(tmp_path):
    columns = {
        "id": ["a", "b", "c"],
        "source": ["s", "s", "s"],
        "bytes": [10, 20, 30],
        "log_odds": [0.5, 2.0, -1.0],
        "dsir": [3.0, None, 5.0],
        "dsir_chunks": pa.array([[3.0, 1.0], [], [5.0]], pa.large_list(pa.float64())),
        "dsir_words": pa.array([[4, 4], [], [2]], pa.large_list(pa.int32())),
    }
    second = {name: values[:1] for name, values in columns.items()} | {"id": ["d"]}
    first, empty = part(tmp_path / "1.parquet", columns), part(tmp_path / "2.parquet", None)
    return [first, empty, part(tmp_path / "3.parquet", second)]


def test_documents_are_numbered_over_all_parts(parts):
    assert ranking.starts(parts).tolist() == [0, 3, 3, 4]
    found = ranking.front(ranking.by_score(parts, "log_odds"), 25)
    assert (found.document.tolist(), found.size.tolist()) == ([1, 0], [20, 10])
    found = ranking.front(ranking.by_score(parts, "log_odds", one_each=True), 3)
    assert found.document.tolist() == [1, 0, 3]


def test_chunks_are_ranked_one_by_one_and_short_ones_left_out(parts):
    def weights(given, length, draw):
        return given

    found = ranking.front(ranking.by_dsir(parts, weights, 0, min_tokens=3), 99)
    place = list(zip(found.document.tolist(), found.chunk.tolist(), strict=True))
    assert place == [(0, 0), (3, 0), (0, 1), (3, 1)]
    assert found.size.tolist() == [4] * 4


def test_each_document_draws_its_own_random_number_the_same_in_every_pass(parts):
    stream = ranking.at_random(parts, seed=3)
    one = np.concatenate([r.score for r in stream()])
    np.testing.assert_array_equal(one, np.concatenate([r.score for r in stream()]))
    assert len(set(one)) == 4
    other = np.concatenate([r.score for r in ranking.at_random(parts, seed=4)()])
    assert (one != other).all()


# --- the table --------------------------------------------------------------------------------


def test_one_row_per_document_with_what_is_known_of_it(parts, tmp_path):
    import pyarrow.parquet as pq

    reasons = np.array(["selected", "quality"], dtype=object)
    more = {
        "twice": lambda known: 2 * known["log_odds"],
        "tokens": table.Sparse(np.array([1, 3]), np.array([7.0, np.nan]), None),
        "reason": table.Sparse(np.array([1, 3]), reasons, "below the cut"),
        "kept": table.true_for(np.array([3, 1, 1])),
    }
    assert table.write(tmp_path / "scores.parquet", parts, more) == 4
    found = pq.read_table(tmp_path / "scores.parquet")
    assert found["id"].to_pylist() == ["a", "b", "c", "d"]
    assert found["dsir"].to_pylist() == [3.0, None, 5.0, 3.0]
    assert found["twice"].to_pylist() == [1.0, 4.0, -2.0, 1.0]
    assert found["tokens"].to_pylist() == [None, 7.0, None, None]
    assert found["kept"].to_pylist() == [False, True, False, True]
    below = "below the cut"
    assert found["reason"].to_pylist() == [below, "selected", below, "quality"]
    assert not {"dsir_chunks", "dsir_words"} & set(found.column_names)


def test_a_column_of_all_documents(parts):
    assert table.column(parts, "id").tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(table.column(parts, "dsir"), [3.0, np.nan, 5.0, 3.0])


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_repeated_ids_are_counted_in_any_number_of_passes(tmp_path, at_once):
    names = [f"é{i}" for i in range(50)]
    files = [
        part(tmp_path / f"{i}.parquet", {"id": pa.array(ids)})
        for i, ids in enumerate([names, names[:3], ["new", "new"]])
    ]
    assert table.repeated_ids(files, at_once) == 4


def test_the_histogram_counts_every_document_once_per_group(parts):
    found = table.histogram(parts, "dsir", np.array(["i", "i", "o", "o"]), bins=2)
    assert found == [
        {"left": 3.0, "right": 4.0, "group": "i", "documents": 1},
        {"left": 4.0, "right": 5.0, "group": "i", "documents": 0},
        {"left": 3.0, "right": 4.0, "group": "o", "documents": 1},
        {"left": 4.0, "right": 5.0, "group": "o", "documents": 1},
    ]
    assert sum(row["documents"] for row in table.histogram(parts, "log_odds")) == 4


def test_parts_of_other_settings_are_forgotten(tmp_path):
    job = jobs.write_job(tmp_path, "job", "none:none", {}, [{"key": 1}])
    stale = part(tmp_path / ".job-old.parquet", {"x": [1]})
    part(job.part(0), {"x": [1]})
    (tmp_path / ".questions-1.json").write_text(json.dumps({"q": "text"}))
    assert table.forget_others(tmp_path) == 1
    assert not stale.exists() and job.part(0).exists()
