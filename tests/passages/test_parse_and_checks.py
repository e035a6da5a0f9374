"""Replies taken apart, and what is rejected for which reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trait_lib import contamination
from trait_lib.passages import checks, parse, prompts
from trait_lib.passages.sampling import Group


def problem(name, answer="24", **more):
    row = {"id": name, "task": f"task-{name}", "topic": "length", "question": f"Q {name}?"}
    return row | {"answer": answer, "kind": "number", "solution": "", **more}


GROUP = Group("length", (problem("a", "24"), problem("b", "12")))
FIRST = "One dorn is 6 pims. 4 times 6 is 24. The answer is 24."
SECOND = "One dorn is 6 pims. 2 times 6 is 12. The answer is 12."
CLOSING = "Both use the same fact: One dorn is 6 pims."


def reply(*paragraphs, closing=CLOSING):
    parts = [
        f'<paragraph problem="{i}">\n{text}\n</paragraph>'
        for i, text in enumerate(paragraphs, start=1)
    ]
    return "\n".join(
        [*parts, *([f"<enlightenment>\n{closing}\n</enlightenment>"] if closing else [])]
    )


GOOD = reply(FIRST, SECOND)


def rejection(text, reason="stop", **settings):
    rules = checks.Rules(k=2, **settings)
    with pytest.raises(checks.Rejected) as caught:
        rules.accept(text, reason, GROUP)
    assert caught.value.reason in checks.REASONS
    return caught.value.reason


# --- structure ----------------------------------------------------------------------------------


def test_a_reply_is_taken_apart_in_the_order_of_the_problems():
    shuffled = GOOD.replace('"1"', '"x"').replace('"2"', '"1"').replace('"x"', '"2"')
    assert parse.parse(GOOD, 2) == parse.Passage((FIRST, SECOND), CLOSING)
    assert parse.parse(shuffled, 2).paragraphs == (SECOND, FIRST)


def test_courtesies_around_the_tags_are_ignored():
    assert parse.parse(f"Sure! Here it is:\n{GOOD}\nI hope it helps.", 2) == parse.parse(GOOD, 2)


OPEN_END = GOOD.removesuffix("</enlightenment>")
AS_MODELS_WRITE = {
    "no last closing tag": OPEN_END,
    "half of the last closing tag": OPEN_END + "</enlight",
    "no closing tag between": GOOD.replace("</paragraph>\n", "\n", 1),
    "another case": GOOD.replace("paragraph", "Paragraph").replace("enlight", "ENLIGHT"),
    "single quotes": GOOD.replace('"', "'"),
    "no quotes": GOOD.replace('"', ""),
    "quotes of JSON": GOOD.replace('"', '\\"'),
    "white space": GOOD.replace("<", "< ").replace(">", " >"),
    "escaped": GOOD.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;"),
    "escaped as in Markdown": GOOD.replace("<", "\\<").replace(">", "\\>"),
    "a fence": f"Sure:\n```xml\n{GOOD}\n```\nHope this helps!",
    "a fence and no last closing tag": f"```xml\n{OPEN_END}\n```\nHope this helps!",
    "headings": GOOD.replace("<en", "\n\n## Enlightenment\n\n<en"),
    "a heading and no closing tag": GOOD.replace("</paragraph>\n<en", "\n\n**In common**\n<en"),
    "other line ends": GOOD.replace("\n", "\r\n"),
    "thoughts": f"<think>\nDraft: {GOOD}\nNo, </paragraph>.\n</think>\n\n{GOOD}",
    "thoughts begun in the prompt": f'The plan: <paragraph problem="1">\n</think>\n{GOOD}',
    "thoughts between": GOOD.replace("<en", "<thinking>What is shared?</thinking>\n<en"),
    "thoughts in brackets": f"[THINK]so <enlightenment>[/THINK]{GOOD}",
}


@pytest.mark.parametrize("text", AS_MODELS_WRITE.values(), ids=AS_MODELS_WRITE)
def test_a_reply_as_real_models_write_it_is_understood(text):
    rules = checks.Rules(k=2)
    assert rules.accept(text, "stop", GROUP) == parse.Passage((FIRST, SECOND), CLOSING)
    assert rules.replies_with_thoughts == ("think" in text.lower())


def test_an_open_end_is_closed_only_where_the_model_ended():
    assert rejection(OPEN_END, "") == "no_enlightenment"
    assert rejection(OPEN_END, "length") == "truncated"


def test_thoughts_are_kept_where_that_is_asked_for():
    draft = f"<think>{GOOD}</think>{GOOD}"
    assert rejection(draft, keep_thoughts=True) == "extra_paragraph"


def test_a_reply_without_text_says_so():
    assert rejection("") == rejection("<think>So much to do") == "empty"
    assert rejection("", "length") == "truncated"


def test_blank_lines_inside_a_paragraph_are_closed_up():
    assert parse.parse(reply("One.\n\n \nTwo.", SECOND), 2).paragraphs[0] == "One.\nTwo."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (reply(FIRST), "missing_paragraph"),
        (reply(FIRST, " "), "missing_paragraph"),
        (reply(FIRST, SECOND, SECOND), "extra_paragraph"),
        (reply(FIRST, SECOND).replace('"2"', '"1"'), "missing_paragraph"),
        (GOOD + reply(FIRST, closing=""), "extra_paragraph"),
        (reply(FIRST, SECOND, closing=""), "no_enlightenment"),
        (reply(FIRST, SECOND, closing=" "), "no_enlightenment"),
        (GOOD + f"<enlightenment>{CLOSING}</enlightenment>", "no_enlightenment"),
        (GOOD.partition("</enlightenment>")[0].replace(CLOSING, ""), "no_enlightenment"),
    ],
)
def test_a_reply_of_another_structure_is_rejected(text, reason):
    assert rejection(text) == reason


def test_without_enlightenment_none_is_needed_and_none_is_kept():
    for text in (GOOD, reply(FIRST, SECOND, closing="")):
        assert parse.parse(text, 2, enlightenment=False).enlightenment == ""


plain = st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=1).filter(
    lambda text: text.strip()
)


@given(st.lists(plain, min_size=1, max_size=5), plain)
def test_what_is_written_is_read(paragraphs, closing):
    passage = parse.parse(reply(*paragraphs, closing=closing), len(paragraphs))
    found = [*passage.paragraphs, passage.enlightenment]
    for text, read in zip([*paragraphs, closing], found, strict=True):
        assert read.split() == text.split()
        assert "\n\n" not in read


# --- training text ------------------------------------------------------------------------------


def test_the_text_has_the_few_shot_form_and_ends_with_the_enlightenment():
    row = parse.to_row("p", GROUP, parse.parse(GOOD, 2))
    assert row["text"] == (
        f"Question: Q a?\nAnswer: {FIRST}\n\nQuestion: Q b?\nAnswer: {SECOND}\n\n{CLOSING}"
    )
    assert (row["tasks"], row["problem_ids"]) == (["task-a", "task-b"], ["a", "b"])
    assert parse.to_row("p", GROUP, parse.parse(GOOD, 2), include_questions=False)["text"] == (
        f"{FIRST}\n\n{SECOND}\n\n{CLOSING}"
    )


def test_the_ablation_is_the_same_text_without_the_last_paragraph():
    row = parse.to_row("p", GROUP, parse.parse(GOOD, 2))
    bare = parse.without_enlightenment(row)
    assert bare["text"] + f"\n\n{CLOSING}" == row["text"]
    assert bare["enlightenment"] == "" and row["enlightenment"] == CLOSING
    assert parse.without_enlightenment(bare) == bare


# --- checks -------------------------------------------------------------------------------------


def test_a_good_reply_is_accepted():
    assert checks.Rules(k=2).accept(GOOD, "stop", GROUP).paragraphs == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        (GOOD, "length", "truncated"),
        (GOOD, "content_filter", "filtered"),
        ("I'm sorry, but I can't help with that.", "stop", "refusal"),
        ("As an AI language model, I am unable to do so.", "stop", "refusal"),
        (reply("I cannot answer this. The answer is 24.", SECOND), "stop", "refusal"),
        (reply("It is then 24 in all.", SECOND), "stop", "no_answer"),
        (reply(FIRST.replace("24.", "25."), SECOND), "stop", "wrong_answer"),
        (reply(SECOND, FIRST), "stop", "wrong_answer"),
        (reply("The answer is 24.", SECOND), "stop", "length"),
        (reply(f"<question> {FIRST}", SECOND), "stop", "copied_prompt"),
    ],
)
def test_each_fault_has_its_reason(text, finish, reason):
    assert rejection(text, finish, min_words=5) == reason


def test_long_paragraphs_are_rejected():
    assert rejection(reply("word " * 500 + FIRST, SECOND)) == "length"


def test_instructions_repeated_in_the_passage_are_rejected():
    template = prompts.load_template(prompts.template_path("math"))
    instructions = prompts.instructions(template, 2)
    sentence = "say what the problems share: the common knowledge, rule or technique"
    assert sentence in instructions.lower().replace("first ", "")
    copied = reply(FIRST, SECOND, closing=f"Now I {sentence}. {CLOSING}")
    assert rejection(copied, instructions=instructions) == "copied_prompt"
    checks.Rules(k=2, instructions=instructions).accept(GOOD, "stop", GROUP)


def test_a_test_question_in_the_passage_is_found():
    index = contamination.build_index({"t": "Four times six is what?"})
    inside = reply(f"Four times six is what? {FIRST}", SECOND)
    assert rejection(inside, test_index=index) == "contaminated"
    asked = {**problem("b", "12"), "question": "How many pims are two dorns?"}
    rules = checks.Rules(k=2, test_index=contamination.build_index({"t": asked["question"]}))
    with pytest.raises(checks.Rejected, match="test problem t"):  # in the question itself
        rules.accept(GOOD, "stop", Group("length", (problem("a", "24"), asked)))


def test_a_copy_of_an_accepted_passage_is_rejected_and_a_relative_is_not():
    rules = checks.Rules(k=2)
    rules.accept(GOOD, "stop", GROUP)
    with pytest.raises(checks.Rejected, match="duplicate"):
        rules.accept(GOOD.replace("Both use", "both  use"), "stop", GROUP)
    near = reply(*(f"{text}" for text in (FIRST, SECOND)), closing=f"{CLOSING} So.")
    with pytest.raises(checks.Rejected, match="duplicate"):
        rules.accept(near, "stop", GROUP)
    relative = Group("length", (problem("a", "24"), problem("c", "18")))
    third = SECOND.replace("2 times 6 is 12", "3 times 6 is 18").replace("is 12", "is 18")
    rules.accept(reply(FIRST, third), "stop", relative)


def test_a_rejected_reply_is_not_remembered():
    rules = checks.Rules(k=2)
    with pytest.raises(checks.Rejected):
        rules.accept(GOOD, "length", GROUP)
    rules.accept(GOOD, "stop", GROUP)


def test_wrong_answers_are_counted_whether_kept_or_not():
    wrong = reply(FIRST.replace("24.", "25."), SECOND.replace("12.", "13."))
    keep = checks.Rules(k=2, keep_wrong_answers=True)
    keep.accept(wrong, "stop", GROUP)
    assert keep.wrong_answers == 2
    drop = checks.Rules(k=2)
    with pytest.raises(checks.Rejected):
        drop.accept(wrong, "stop", GROUP)
    assert drop.wrong_answers == 1


def test_only_the_kinds_asked_for_are_compared():
    free = Group("x", (problem("a", "a title", kind="text"), problem("b", "12")))
    checks.Rules(k=2).accept(GOOD, "stop", free)
    with pytest.raises(checks.Rejected, match="wrong_answer"):
        checks.Rules(k=2, answer_kinds=["text"]).accept(GOOD, "stop", free)


@pytest.mark.parametrize(
    ("stated", "gold", "same"),
    [
        ("24", "24", True),
        ("1,200", "1200", True),
        ("$5.00", "5", True),
        ("5.50", "5.5", True),
        ("Blue Coats", "blue coats", True),
        ("**7**", "7", True),
        ("-3", "3", False),
        ("240", "24", False),
        ("0.5", "5", False),
        ("10", "1", False),
    ],
)
def test_plain_answers(stated, gold, same):
    paragraph = f"So it is. The answer is {stated}."
    kind = "number" if gold[-1].isdigit() else "text"
    assert checks.same_answer(paragraph, problem("a", gold, kind=kind)) == same


def test_alternatives_are_right_too():
    row = problem("a", "big", alternatives=["large"], kind="text")
    assert checks.same_answer("The answer is large.", row)


def test_the_last_stated_answer_counts():
    assert checks.stated_answer("The answer is 3. No.\nThe answer is 4.") == "4"
    assert checks.stated_answer("The final answer is: 7/2 cups.") == "7/2 cups"
    assert checks.stated_answer("Nothing here") == ""


def test_reasons_are_counted_most_frequent_first():
    rows = [{"reason": r} for r in ("length", "refusal", "length", "duplicate")]
    assert list(checks.count_reasons(rows).items()) == [
        ("length", 2),
        ("duplicate", 1),
        ("refusal", 1),
    ]
