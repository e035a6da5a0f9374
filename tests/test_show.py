"""Figures: same numbers, same bytes; data and alt text beside the picture and in the notebook."""

import csv

import matplotlib.pyplot as plt
import pytest

from trait_lib import show

ALT = "A line that rises from three to four."


def line():
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([1, 2], [3, 4], label="a")
    ax.legend()
    return fig


def test_same_figure_same_bytes(tmp_path):
    first = show.save(line(), tmp_path / "a.png", [{"x": 1, "y": 3}], ALT).read_bytes()
    second = show.save(line(), tmp_path / "b.png", [{"x": 1, "y": 3}], ALT).read_bytes()
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first


def test_data_and_alt_text_stand_beside_the_picture(tmp_path):
    path = show.save(line(), tmp_path / "sub/a.png", [{"x": 1}, {"x": 2, "y": "a,b"}], ALT)
    with open(tmp_path / "sub/a.csv", newline="") as handle:
        assert list(csv.DictReader(handle)) == [{"x": "1", "y": ""}, {"x": "2", "y": "a,b"}]
    assert (tmp_path / "sub/a.alt.txt").read_text() == ALT + "\n"
    assert path == tmp_path / "sub/a.png"


def test_the_notebook_shows_the_picture_once_with_its_alt_text(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(show, "get_ipython", lambda: object())
    monkeypatch.setattr(show, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    show.save(line(), tmp_path / "a.png", [{"x": 1}], "Two words,\n  then two more.")
    ((data, metadata),) = shown
    assert data["image/png"] == (tmp_path / "a.png").read_bytes()
    assert metadata == {"image/png": {"alt": "Two words, then two more."}}
    assert plt.get_fignums() == []  # closed: the inline backend would show it again


@pytest.mark.parametrize(
    ("name", "data", "alt", "words"),
    [
        ("a.jpg", [{"x": 1}], ALT, "saved as .png"),
        ("a.png", [], ALT, "no data"),
        ("a.png", [{"x": 1}], " ", "alt text"),
        ("a.png", [{"x": 1}], "figure 1", "alt text"),
    ],
)
def test_a_figure_without_data_or_words_is_refused_and_leaves_nothing(
    tmp_path, name, data, alt, words
):
    with pytest.raises(ValueError, match=words):
        show.save(line(), tmp_path / name, data, alt)
    assert list(tmp_path.iterdir()) == []
    plt.close("all")
