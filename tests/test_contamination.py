"""Contamination: a test question is found wherever it stands, and nothing else is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trait_lib import contamination

LONG = "Ann has 12 red apples and buys 30 more apples at the market how many apples has she now"
SHORT = "How much is 12 plus 30?"
INDEX = contamination.build_index({"long": LONG, "short": SHORT})
word = st.sampled_from(
    "ann has red apples and buys more at the market how many now plus 12 30".split()
)


def test_a_long_question_is_found_by_any_thirteen_of_its_words():
    tokens = contamination.words(LONG)
    assert len(tokens) > contamination.GRAM
    for first in range(len(tokens) - 12):
        text = "x " + " ".join(tokens[first : first + 13]) + " y"
        assert contamination.hits(text, INDEX) == {"long"}
    assert contamination.hits(" ".join(tokens[:12]), INDEX) == set()


def test_a_short_question_is_found_as_a_whole_only():
    assert contamination.hits("He asks: how much is 12, plus 30? Then he left.", INDEX) == {"short"}
    assert contamination.hits("How much is 12 plus 31?", INDEX) == set()
    assert contamination.hits("How much is 12 plus", INDEX) == set()


def test_case_punctuation_and_spaces_do_not_hide_a_question():
    assert contamination.hits(LONG.upper().replace(" ", " ,\n"), INDEX) == {"long"}


def test_another_number_is_another_question_when_too_few_words_agree():
    near = "Tom has 15 pens and gives 4 to each of his 3 friends what is left"
    assert len(contamination.words(near)) == 16
    index = contamination.build_index({"q": near})
    assert contamination.hits(near.replace("15", "18"), index) == {"q"}  # the last 13 agree
    assert contamination.hits(near.replace("each", "both"), index) == set()  # no 13 agree


def test_words_do_not_match_inside_words():
    index = contamination.build_index({"q": "is 2 even"})
    assert contamination.hits("this 2 evening", index) == set()


@settings(max_examples=60, deadline=None)
@given(
    question=st.lists(word, min_size=1, max_size=30),
    before=st.lists(word, max_size=20),
    after=st.lists(word, max_size=20),
)
def test_a_question_is_always_found_in_a_text_that_holds_it(question, before, after):
    index = contamination.build_index({"q": " ".join(question)})
    assert contamination.hits(" ".join(before + question + after), index) == {"q"}


def test_report_names_texts_and_sorts_questions():
    texts = [("clean", "nothing here"), ("bad", f"{SHORT} {LONG}"), ("empty", "")]
    assert contamination.report(texts, INDEX) == {"bad": ["long", "short"]}


def test_an_empty_question_matches_nothing():
    index = contamination.build_index({"q": " ?! "})
    assert contamination.hits("anything ?!", index) == set()
