from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trait_lib.selection.cut import columns, ranking
from trait_lib.selection.cut.ranking import Ranked
from trait_lib.selection.scan import jobs

FLOATS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-52, -1.0, float("nan")]),
)


def rows(scores, sizes, first=0):
    number = np.arange(first, first + len(scores))
    return Ranked(number, np.zeros_like(number), np.array(scores, float), np.array(sizes, int))


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
    found = ranking.front(stream(), wanted, few)
    assert found.document.tolist() == expected(scores, sizes, wanted).tolist()


def test_many_equal_scores_keep_their_order_and_few_of_them_stay_in_memory():
    def stream():
        for first in range(0, 5000, 100):
            yield rows([1.0] * 100, [2] * 100, first)

    found = ranking.front(stream(), 301, few=10)
    assert found.document.tolist() == list(range(151))


# --- streams over parts -----------------------------------------------------------------------


def part(path, table):
    made = jobs.Part(path)
    if table:
        made.write(pa.table(table))
    made.close()
    return path


@pytest.fixture
def parts(tmp_path):
    table = {
        "id": ["a", "b", "c"],
        "source": ["s", "s", "s"],
        "bytes": [10, 20, 30],
        "log_odds": [0.5, 2.0, -1.0],
        "dsir": [3.0, None, 5.0],
        "dsir_chunks": pa.array([[3.0, 1.0], [], [5.0]], pa.large_list(pa.float64())),
        "dsir_words": pa.array([[4, 4], [], [2]], pa.large_list(pa.int32())),
    }
    second = {name: values[:1] for name, values in table.items()} | {"id": ["d"]}
    first, empty = part(tmp_path / "1.parquet", table), part(tmp_path / "2.parquet", None)
    return [first, empty, part(tmp_path / "3.parquet", second)]


def test_documents_are_numbered_over_all_parts(parts):
    assert columns.starts(parts).tolist() == [0, 3, 3, 4]
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


def test_each_document_draws_its_own_random_number_the_same_with_the_same_seed(parts):
    one, again, other = (
        np.concatenate([rows.score for rows in ranking.at_random(parts, seed)])
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, again)
    assert len(set(one)) == 4
    assert (one != other).all()


def test_a_column_of_all_documents(parts):
    assert columns.whole(parts, "id").tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(columns.whole(parts, "dsir"), [3.0, np.nan, 5.0, 3.0])


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_repeated_ids_are_counted_in_any_number_of_passes(tmp_path, at_once):
    names = [f"é{i}" for i in range(50)]
    files = [
        part(tmp_path / f"{i}.parquet", {"id": pa.array(ids)})
        for i, ids in enumerate([names, names[:3], ["new", "new"]])
    ]
    assert columns.repeated_ids(files, at_once) == 4
