import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trait_lib.selection.models import lines

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates included


@pytest.mark.parametrize("form", ["words", "raw"])
@given(text=ANY_TEXT)
@example(text="a\nb\r\nc\x00d\x85e\u2028f\ud800g")
@example(text="__label__in is not a label, </s> is not the end")
def test_any_text_becomes_one_line_that_fasttext_reads_as_words(form, text):
    line = lines.to_line(text, form)
    line.encode("utf-8")
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in line)
    assert len(line.splitlines()) <= 1
    words = line.split(" ")
    assert "</s>" not in words
    assert not any(word.startswith("__label__") for word in words)


def test_words_are_in_lower_case_with_marks_apart():
    assert lines.to_line("It's 3.5 km,\tÉté!") == "it ' s 3 . 5 km , été !"


def test_raw_text_keeps_case_and_marks():
    assert lines.to_line("It's  3.5 km,\nÉté!", "raw") == "It's 3.5 km, Été!"


def test_plain_text_loses_its_line_breaks_and_nothing_else():
    assert lines.to_line("It's\t3 \x00</s>\n__label__x É", "plain") == (
        "It's\t3 \x00</s> __label__x É"
    )


def test_an_unknown_form_is_named():
    with pytest.raises(ValueError, match=r"words, raw, plain.*'stem'"):
        lines.to_line("text", "stem")


def test_training_lines_carry_the_label_in_front():
    assert list(lines.labelled(lines.IN_DOMAIN, ["One\ntwo."], "words")) == [
        "__label__in one two .\n"
    ]
