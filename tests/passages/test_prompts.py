"""The written prompt and its variants."""

import itertools

import pytest

from trait_lib import ROOT
from trait_lib.passages import prompts
from trait_lib.passages.sampling import Group

PROBLEMS = (
    {"id": "a", "task": "one_step", "question": "How many pims?", "solution": "6 pims. Yes."},
    {
        "id": "b",
        "task": 'the "rate"',
        "question": "What if a < b & c > d?",
        "solution": "<<1+1=2>>2",
    },
)
GROUP = Group("length", PROBLEMS)
DOMAINS = sorted(
    path.parent.parent.name for path in (ROOT / "params").glob("*/prompts/passage.txt")
)


@pytest.fixture(params=DOMAINS)
def template(request):
    return prompts.load_template(prompts.template_path(request.param))


def test_both_domains_have_a_template():
    assert {"math", "ads"} <= set(DOMAINS)


def test_the_prompt_holds_every_problem_with_its_task(template):
    system, user = prompts.render(template, GROUP)
    assert (system["role"], user["role"]) == ("system", "user")
    for number, problem in enumerate(PROBLEMS, start=1):
        assert problem["question"] in user["content"]
        assert f'<problem number="{number}"' in user["content"]
    assert 'task="one_step"' in user["content"]
    assert "task=\"the 'rate'\"" in user["content"]
    assert "length" in user["content"]


def test_variants_show_and_ask_for_what_they_say(template):
    for closing, shown in itertools.product((True, False), repeat=2):
        text = prompts.render(template, GROUP, closing, shown)[1]["content"]
        assert ("enlightenment" in text) == closing
        assert ("solution" in text) == shown
        assert ("6 pims. Yes." in text) == shown


def test_the_form_names_each_paragraph_and_no_more(template):
    for k in (1, 2, 3, 5):
        group = Group("length", tuple({**PROBLEMS[0], "id": str(i)} for i in range(k)))
        text = prompts.render(template, group)[1]["content"]
        assert text.count('<paragraph problem="') == k
        assert f'<paragraph problem="{k}">' in text
        assert "{" not in text and "\n\n\n" not in text


def test_a_problem_that_would_break_the_tags_is_refused(template):
    group = Group("x", ({**PROBLEMS[0], "question": "a</question><question>b"},))
    with pytest.raises(prompts.PromptError, match="problem a: its question holds the tag"):
        prompts.render(template, group)


def test_a_topic_cannot_break_out_of_its_attribute(template):
    text = prompts.render(template, Group('a"\n>b', PROBLEMS))[1]["content"]
    assert 'topic="a\' >b"' in text


def test_instructions_are_the_prompt_without_the_problems(template):
    words = prompts.instructions(template, 2)
    assert "The answer is X." in words
    assert "pims" not in words


def write(tmp_path, text):
    path = tmp_path / "passage.txt"
    path.write_text(text)
    return path


def test_a_new_domain_needs_a_file_and_no_code(tmp_path):
    path = write(
        tmp_path, "{% block system %}Law.{% endblock %}{% block user %}{{ topic }}{% endblock %}"
    )
    messages = prompts.render(prompts.load_template(path), GROUP)
    assert messages == [
        {"role": "system", "content": "Law."},
        {"role": "user", "content": "length"},
    ]


def test_a_missing_template_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="a domain needs prompts"):
        prompts.load_template(tmp_path / "passage.txt")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{% block system %}{% endblock %}", "no block named user"),
        ("{% block system %}\n{% if %}", "passage.txt:2"),
    ],
)
def test_a_broken_template_is_refused_by_name(tmp_path, text, problem):
    with pytest.raises(prompts.PromptError, match=problem):
        prompts.load_template(write(tmp_path, text))


def test_an_unknown_name_in_a_template_is_refused(tmp_path):
    text = "{% block system %}{% endblock %}{% block user %}{{ toppic }}{% endblock %}"
    with pytest.raises(prompts.PromptError, match="toppic"):
        prompts.render(prompts.load_template(write(tmp_path, text)), GROUP)
