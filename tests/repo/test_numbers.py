"""Numbers in texts: bound by marks, refreshed, and none that comes from nowhere."""

import json

import nbformat
import pytest

from trait_lib.repo.numbers import marks, refresh, stray

KEY = "<!-- key:r.json:{} as {} -->{}<!-- / -->"


@pytest.fixture
def root(tmp_path):
    found = {"a": {"b": 0.1234}, "rows": [{"kind": "share 3.0%", "x": 5}, {"kind": "y", "x": 6}]}
    (tmp_path / "r.json").write_text(json.dumps({**found, "none": None}))
    (tmp_path / "t.csv").write_text("name,seed,value\na,0,0.5\na,1,0.75\n")
    (tmp_path / "c.py").write_text("A, B = 3, 'x'\nWORDS: int = 13\n")
    said = nbformat.v4.new_output("stream", text="step 5: loss 1,250.5 nats")
    cell = nbformat.v4.new_code_cell("1", outputs=[said])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    return tmp_path


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("r.json:a/b as .2f", "0.12"),
        ("r.json:a/b as .1%", "12.3 %"),
        ("r.json:a/b as 100*.1f", "12.3"),
        ("r.json:rows/kind=share 3.0%/x as d", "5"),
        ("r.json:rows/1/x as d", "6"),
        ("r.json:none as d", "not measured yet"),
        ("t.csv:name=a/seed=1/value as .2f", "0.75"),
        ("c.py:WORDS as d", "13"),
        ("n.ipynb:~loss ([\\d,.]+) as ,.1f", "1,250.5"),
    ],
)
def test_a_mark_takes_its_value_from_its_file(root, key, text):
    old = f"so <!-- key:{key} -->9<!-- / --> it is"
    assert marks.refreshed(old, root=root) == f"so <!-- key:{key} -->{text}<!-- / --> it is"


def test_marks_that_lead_nowhere_are_all_named(root):
    text = KEY.format("a/c", "d", 1) + KEY.format("rows/kind=z/x", "d", 1)
    with pytest.raises(marks.BadKey) as error:
        marks.refreshed(text + "\n<!-- made:what -->\n<!-- made: end -->", root=root)
    assert all(name in str(error.value) for name in ("a/c", "kind=z", "made:what"))


def test_a_piece_is_made_again_between_its_marks(root):
    text = "<!-- made:growth -->\nold 5\n<!-- made: end -->\nafter"
    new = marks.refreshed(text, {"growth": lambda: "new 6"}, root)
    assert new == "<!-- made:growth -->\nnew 6\n<!-- made: end -->\nafter"
    assert stray.stray(new) == []


@pytest.mark.parametrize(
    "text",
    [
        "It rose to 0.71 in 3 of 5 seeds.",
        "- a list item with 12 points",
        "| task | 0.5 |\n|---|---|\n| a | 0.25 |",
        "The paper says 7.5 % (P). We found 6.5 %.",
        "about 135M parameters",
    ],
)
def test_a_number_from_nowhere_is_found(text):
    assert stray.stray(text)


@pytest.mark.parametrize(
    "text",
    [
        "The paper says 7.5 % (P).",
        "| claim | mark |\n|---|---|\n| **8.0 %** in ads | P |",
        "<!-- numbers: definition --> A run of 13 words.",
        "`make x 5`, $x = 3$, [a](b/7.csv), ![8 bars](a.png), in 2024, on 2026-11-26, 0.4.13",
        "Stage 1 and notebook 03, claims 1 and 2, seed 7, SHA-256, Mistral-7B, Python 3.12",
        "1. Its 95 % interval lies above 0.",
        "```\n5 6 7\n```",
        "## Exercises\n\n1. Set it to 0.01.\n\n<details>about 360</details>",
        KEY.format("a/b", ".2f", "0.12"),
    ],
)
def test_bound_quoted_explained_and_named_numbers_are_none_of_those(text):
    assert stray.stray(text) == []


def test_a_reason_is_one_of_those_that_are_explained():
    with pytest.raises(ValueError, match="the reasons are definition"):
        stray.stray("<!-- numbers: because --> 5 words")


def test_what_is_committed_is_up_to_date():
    """README, the notebooks and the claims card say what their files say: make refresh."""
    assert refresh.all_texts(write=False) == []


@pytest.mark.parametrize("path", marks.texts(), ids=lambda f: f.name)
def test_every_number_is_bound_or_quoted(path):
    assert stray.of_file(path) == []
