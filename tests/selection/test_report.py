import numpy as np
import pyarrow as pa
import pytest

from trait_lib import records
from trait_lib.selection import charts, report
from trait_lib.selection.cut.budget import Selection
from trait_lib.selection.cut.candidates import Candidates
from trait_lib.selection.scan import jobs


def labels(group, good=None):
    names = {"i": report.IN_DOMAIN, "o": report.OTHER, "b": report.BORDERLINE}
    return report.Labels(
        group=np.array([names[letter] for letter in group]),
        good=None if good is None else np.array(good),
    )


def test_borderline_documents_are_neither_right_nor_in_the_domain():
    found = report.against_labels(np.array([0, 1, 2, 3]), labels("iboiioo"))
    assert found == {"precision": 0.5, "borderline": 0.25, "recall": pytest.approx(2 / 3)}


def test_good_counts_documents_that_are_in_the_domain_and_of_good_quality():
    found = report.against_labels(np.array([0, 1, 2]), labels("iioi", [True, False, True, True]))
    assert found["good"] == pytest.approx(1 / 3)


def test_chunks_of_one_document_are_found_once():
    found = report.against_labels(np.array([0, 0, 0, 2]), labels("iio"))
    assert (found["precision"], found["recall"]) == (0.75, 0.5)


def test_nothing_selected_has_no_precision():
    assert report.against_labels(np.array([], dtype=int), labels("io")) == {}


def test_auc_leaves_out_borderline_and_unscored_documents():
    group = labels("iiboo").group
    assert report.auc(np.array([3.0, 1.0, 99.0, 2.0, 0.0]), group) == 0.75
    assert report.auc(np.array([3.0, np.nan, 99.0, 2.0, 0.0]), group) == 1.0


def selection(order, kept, tokens=None, quality=None, parts=()):
    """Documents in this order, of which these are kept; nothing speaks against any."""
    number = len(order)
    candidates = Candidates(
        document=np.arange(number),
        chunk=np.zeros(number, dtype=int),
        tokens=np.array(tokens or [1] * number),
        quality=np.array(quality or [np.nan] * number),
        reason=np.full(number, "", dtype=object),
        digests=np.zeros(number, dtype=np.uint64),
        minhashes=None,
        parts=parts,
    )
    mask = np.isin(np.arange(number), kept)
    reason = np.where(mask, "selected", "below the cut").astype(object)
    order = np.array(order)
    return Selection(candidates, order, -np.arange(number, dtype=float), order, mask, reason)


def test_the_curve_gives_precision_at_each_budget():
    one = selection([2, 0, 1, 3], [2], tokens=[20, 30, 10, 40])
    rows = report.precision_curve(one, labels("ioio"), points=4)
    assert rows[-1] == {"tokens": 100, "precision": 0.5}
    assert [row["tokens"] for row in rows] == sorted(row["tokens"] for row in rows)
    assert report.precision_curve(one, labels("ioio"), points=9)[0] == {
        "tokens": 10,
        "precision": 1.0,
    }


def test_the_rows_on_both_sides_of_the_cut(tmp_path):
    made = jobs.Part(tmp_path / "texts.parquet")
    made.write(pa.table({"text": list("abcde")}))
    made.close()
    one = selection([4, 3, 1, 0, 2], [4, 3, 1], parts=[made.path])
    rows = report.around_cut(one, 2)
    assert [(row["document"], row["text"], row["taken"], row["score"]) for row in rows] == [
        (3, "d", True, -1.0),
        (1, "b", True, -2.0),
        (0, "a", False, -3.0),
        (2, "c", False, -4.0),
    ]


def test_documents_that_are_no_candidates_rank_too_low():
    one = selection([0, 1, 2], [1])
    assert report.count_reasons(one, 10) == {"below the cut": 9, "selected": 1}


def test_the_filter_against_known_quality():
    one = selection([3, 0, 1, 2], [0], quality=[4.0, 3.0, 2.6, 1.0])
    known = labels("iiii", [True, True, False, False])
    assert report.filter_truth(one, known, 2.5) == {
        "auc": 1.0,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
    }
    alike = report.filter_truth(one, labels("iiii", [True] * 4), 2.5)
    assert np.isnan(alike["auc"])
    assert report.filter_truth(one, labels("iiii"), 2.5) == {}
    assert report.filter_truth(one, known, None) == report.filter_truth(one, None, 2.5) == {}


def test_calibration_by_hand():
    rows = report.calibration(np.array([0.1, 0.3, 0.9, 1.0]), np.array([0, 1, 1, 1]) > 0, bins=2)
    assert rows == [
        {"predicted": 0.2, "observed": 0.5, "documents": 2},
        {"predicted": 0.95, "observed": 1.0, "documents": 2},
    ]
    assert report.calibration_error(rows) == pytest.approx((0.3 + 0.05) / 2)


def test_labels_are_matched_by_id_and_borderline_ones_of_the_domain_kept_apart(tmp_path):
    path = tmp_path / "labels.jsonl"
    known = ("math", "borderline_math", "borderline_ads", "other")
    rows = [{"id": str(i), "label": name, "genre": "g"} for i, name in enumerate(known)]
    records.write_rows(path, rows)
    found = report.load_labels(path, ["3", "0", "1", "2"], "math")
    assert found.group.tolist() == ["other", "in domain", "borderline", "other"]
    assert found.good is None
    with pytest.raises(records.BadRow, match="no label for 1 documents, first '9'"):
        report.load_labels(path, ["0", "9"], "math")


def test_known_quality_is_read_and_no_labels_at_all_are_none(tmp_path):
    path = tmp_path / "labels.jsonl"
    records.write_rows(path, [])
    assert report.load_labels(path, ["0"], "math") is None
    rows = [{"id": "a", "label": "math", "quality": "good"}]
    rows += [{"id": "b", "label": "math", "quality": "broken"}]
    records.write_rows(path, rows)
    assert report.load_labels(path, ["a", "b"], "math").good.tolist() == [True, False]


def test_a_row_of_the_comparison_has_precision_where_there_are_labels():
    one = selection([0, 1], [1], tokens=[5, 1200])
    assert report.describe("a", one, labels("oi")) == {
        "selection": "a",
        "documents": 1,
        "tokens": 1200,
        "precision": 1.0,
        "borderline": 0.0,
        "recall": 1.0,
    }
    graded = selection([0, 1], [1], tokens=[5, 1200], quality=[1.0, 4.0])
    assert report.describe("b", graded, None) == {
        "selection": "b",
        "documents": 1,
        "tokens": 1200,
        "quality": 4.0,
    }


def test_figures_return_what_they_plot_and_say_it_in_words():
    rows = [{"left": 0.0, "right": 1.0, "group": "pool", "documents": 3}]
    _, plotted, alt = charts.score_histogram(rows, 1.5)
    assert plotted == [*rows, {"group": "cut", "left": 1.5}]
    assert "pool: 3 documents" in alt and "1.50" in alt
    lines = {"a": [{"tokens": 3, "precision": 0.75}], "random": [{"tokens": 3, "precision": 0.03}]}
    _, plotted, alt = charts.precision_budget(lines, 9)
    assert {"selection": "a", "tokens": 3, "precision": 0.75} in plotted
    assert "At the budget of 9: a 0.75, random 0.03." in alt
    _, plotted, alt = charts.quality_agreement(np.array([2.5]), np.array([3.0]), 2.5)
    assert plotted == [{"given": 3.0, "predicted": 2.5}]
    assert "3: 2.50" in alt
    charts.plt.close("all")


def test_calibration_joins_no_bins_and_shows_how_sure_each_one_is():
    rows = [
        {"predicted": 0.5, "observed": 0.0, "documents": 1},
        {"predicted": 0.9, "observed": 1.0, "documents": 77},
    ]
    fig, plotted, alt = charts.calibration(rows)
    assert [{k: row[k] for k in rows[0]} for row in plotted] == rows
    assert plotted[0]["high"] == pytest.approx(0.793, abs=1e-3)  # Wilson, one document
    assert plotted[1]["low"] == pytest.approx(0.952, abs=1e-3)
    points = [line for line in fig.axes[0].get_lines() if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in points] == [1, 1]  # no line from bin to bin
    assert [line.get_markerfacecolor() for line in points] == ["white", charts.show.BLUE]
    assert "predicted 0.500, observed 0.00 (0.00 to 0.79), 1 documents" in alt
    charts.plt.close("all")
