"""Figures: same numbers, same bytes; data and alt text beside the picture and in the notebook."""

import csv

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from trait_lib import show
from trait_lib.training import arms

ALT = "A line that rises from three to four."


def line():
    fig, ax = plt.subplots(figsize=(2, 1))
    ax.plot([1, 2], [3, 4], label="a")
    ax.legend()
    return fig


def test_same_figure_same_bytes(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        show.save(line(), path, [{"x": 1, "y": 3}], ALT)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first
    drawings = [(tmp_path / name).read_bytes() for name in ("a.svg", "b.svg")]
    assert drawings[0] == drawings[1] and b"<svg" in drawings[0] and b"date" not in drawings[0]


def test_data_and_alt_text_stand_beside_the_picture(tmp_path):
    path = tmp_path / "sub/a.png"
    show.save(line(), path, [{"x": 1}, {"x": 2, "y": "a,b"}], ALT)
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
    about = {"alt": "Two words, then two more.", "file": f"{tmp_path.name}/a.png"}
    assert metadata == {"image/png": about}
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


def test_a_method_has_one_look_and_no_other_has_it():
    families = [
        "classifier unfiltered DSIR regression mined random shuffled".split(),
        [name for name in arms.FILES if name != "random"],  # general text, as `replay` is
        "domain passages general".split(),
        "base adapted".split(),
        [*arms.ARMS, *arms.CONTROLS],
    ]
    for names in families:
        looks = [tuple(show.look(name).values()) for name in names]
        assert len(set(looks)) == len(looks), names
    assert show.look("dsir") == show.look("DSIR") != show.look("mined") == show.look("trait_mined")
    assert {mpl.colors.to_hex(colour).upper() for colour, _ in show.LOOKS.values()} <= set(
        show.COLOURS
    )
    assert show.look("of a user")["color"] == show.GREY


def test_lines_are_named_at_their_ends_and_names_keep_apart():
    fig, ax = plt.subplots()
    for name in ("a", "b", "c"):
        ax.plot([0, 1], [0, 1], label=name)
    ax.plot([0, 1], [0.5, 0.5])  # no label, no name
    show.label_lines(ax, gap=0.1)
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    heights = sorted(text.xyann[1] for text in ax.texts)
    assert heights[1] - heights[0] >= 0.0999 and heights[2] - heights[1] >= 0.0999
    assert all(text.xy == (1, 1) for text in ax.texts)
    plt.close(fig)


ROWS = [{"task": "a <b>", "n": 1200, "p_holm": 0.25}, {"task": "c", "p_holm": None}]


def test_a_table_is_html_in_a_notebook_and_text_beside_it(monkeypatch):
    shown = []
    monkeypatch.setattr(show, "get_ipython", lambda: object())
    monkeypatch.setattr(show, "display", lambda data, raw: shown.append(data))
    show.table(ROWS, ["task", "n", "p_holm"])
    (data,) = shown
    assert data["text/plain"] == show.text_table(ROWS, ["task", "n", "p_holm"])
    assert '<th scope="col">task</th>' in data["text/html"]
    assert '<th scope="row">a &lt;b&gt;</th>' in data["text/html"]
    assert '<td style="text-align: right">1,200</td>' in data["text/html"]
    assert "p_<wbr>holm</th>" in data["text/html"]  # a long name may break, and stays itself


def test_a_table_is_text_in_a_terminal(capsys):
    show.table(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "n", "p_holm"] and lines[2].split()[2] == "1,200"
