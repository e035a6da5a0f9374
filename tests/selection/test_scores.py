"""The table of scores, one row per document."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trait_lib.selection import scores
from trait_lib.selection.scan import jobs


@pytest.fixture
def parts(tmp_path):
    """Three parts; the second holds no document."""
    tables = [
        {
            "id": ["a", "b", "c"],
            "log_odds": [0.5, 2.0, -1.0],
            "dsir": [3.0, None, 5.0],
            "dsir_chunks": pa.array([[3.0, 1.0], [], [5.0]], pa.large_list(pa.float64())),
        },
        None,
        {
            "id": ["d"],
            "log_odds": [0.5],
            "dsir": [3.0],
            "dsir_chunks": pa.array([[3.0]], pa.large_list(pa.float64())),
        },
    ]
    files = []
    for number, table in enumerate(tables):
        files.append(tmp_path / f"{number}.parquet")
        made = jobs.Part(files[-1])
        if table:
            made.write(pa.table(table))
        made.close()
    return files


def test_one_row_per_document_with_what_is_known_of_it(parts, tmp_path):
    reasons = np.array(["selected", "quality"], dtype=object)
    more = {
        "twice": lambda known: 2 * known["log_odds"],
        "tokens": scores.Sparse(np.array([1, 3]), np.array([7.0, np.nan]), None),
        "reason": scores.Sparse(np.array([1, 3]), reasons, "below the cut"),
        "kept": scores.true_for(np.array([3, 1, 1])),
    }
    for given in (parts, parts[1:] + parts[:1]):  # a part without rows may be the first
        assert scores.write(tmp_path / "scores.parquet", given, more) == 4
    assert scores.write(tmp_path / "scores.parquet", parts, more) == 4
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table["id"].to_pylist() == ["a", "b", "c", "d"]
    assert table["dsir"].to_pylist() == [3.0, None, 5.0, 3.0]
    assert table["twice"].to_pylist() == [1.0, 4.0, -2.0, 1.0]
    assert table["tokens"].to_pylist() == [None, 7.0, None, None]
    assert table["kept"].to_pylist() == [False, True, False, True]
    below = "below the cut"
    assert table["reason"].to_pylist() == [below, "selected", below, "quality"]
    assert "dsir_chunks" not in table.column_names


def test_the_histogram_counts_every_document_once_per_group(parts):
    rows = scores.histogram(parts, "dsir", np.array(["i", "i", "o", "o"]), bins=2)
    assert rows == [
        {"left": 3.0, "right": 4.0, "group": "i", "documents": 1},
        {"left": 4.0, "right": 5.0, "group": "i", "documents": 0},
        {"left": 3.0, "right": 4.0, "group": "o", "documents": 1},
        {"left": 4.0, "right": 5.0, "group": "o", "documents": 1},
    ]
    assert sum(row["documents"] for row in scores.histogram(parts, "log_odds")) == 4
