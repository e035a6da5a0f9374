import numpy as np
import pytest

from trait_lib import records
from trait_lib.selection import charts, report
from trait_lib.selection.cut.candidates import Candidates


def labels(group, good=None):
    names = {"i": report.IN_DOMAIN, "o": report.OTHER, "b": report.BORDERLINE}
    return report.Labels(
        group=np.array([names[letter] for letter in group]),
        genre=np.array([""] * len(group)),
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


def test_the_curve_gives_precision_at_each_budget():
    rows = report.precision_curve(
        np.array([2, 0, 1, 3]), np.array([10, 20, 30, 40]), labels("ioio"), points=4
    )
    assert rows[-1] == {"tokens": 100, "precision": 0.5}
    assert [row["tokens"] for row in rows] == sorted(row["tokens"] for row in rows)
    full = report.precision_curve(np.array([2, 0]), np.array([10, 20]), labels("ioio"), points=9)
    assert full == [{"tokens": 10, "precision": 1.0}, {"tokens": 30, "precision": 1.0}]


def test_the_rows_on_both_sides_of_the_cut():
    usable, kept = np.array([5, 3, 1, 0, 2]), np.zeros(6, dtype=bool)
    kept[[5, 3, 1]] = True
    assert report.around_cut(usable, kept, 2) == [(3, True), (1, True), (0, False), (2, False)]


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


def test_the_table_shows_a_dash_where_a_number_is_missing(capsys):
    found = Candidates(
        document=np.arange(2),
        chunk=np.zeros(2, dtype=int),
        tokens=np.array([5, 1200]),
        quality=np.array([np.nan, np.nan]),
        reason=np.array(["", ""], dtype=object),
        digests=np.zeros(2, dtype=np.uint64),
        minhashes=None,
    )
    kept = np.array([False, True])
    with_labels = report.describe("a", kept, found, labels("oi"))
    assert with_labels == {
        "selection": "a",
        "documents": 1,
        "tokens": 1200,
        "precision": 1.0,
        "borderline": 0.0,
        "recall": 1.0,
    }
    report.print_table([with_labels, report.describe("b", kept, found, None)])
    lines = capsys.readouterr().out.splitlines()
    assert "1,200" in lines[1]
    assert lines[2].split() == ["b", "1", "1,200", "-", "-", "-"]


def test_figures_return_what_they_plot():
    rows = [{"left": 0.0, "right": 1.0, "group": "pool", "documents": 3}]
    fig, plotted = charts.score_histogram(rows, 1.5)
    assert plotted[:-1] == rows
    assert plotted[-1] == {"group": "cut", "left": 1.5}
    charts.plt.close(fig)
    fig, plotted = charts.precision_budget({"a": [{"tokens": 3, "precision": 1.0}]}, 9)
    assert {"selection": "a", "tokens": 3, "precision": 1.0} in plotted
    charts.plt.close(fig)
    rows = [{"predicted": 0.2, "observed": 0.5, "documents": 2}]
    fig, plotted = charts.calibration(rows)
    assert plotted == rows
    charts.plt.close(fig)
    fig, plotted = charts.quality_agreement(np.array([2.5]), np.array([3.0]), 2.5)
    assert plotted == [{"given": 3.0, "predicted": 2.5}]
    charts.plt.close(fig)
