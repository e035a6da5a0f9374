"""The reference-solution teacher: a real server whose passages and grades can be checked."""

import hashlib
import http.client
import json
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from trait_lib import records
from trait_lib.replica.stand_ins import rubric, teacher, writer

ONE = ("How many pims are 4 dorn?", "One dorn is 6 pims. 4 times 6 is 24. The answer is 24.")
TWO = ("Change 12 pims into dorn.", "One dorn is 6 pims. 12 divided by 6 is 2. The answer is 2.")
GSM = (
    "Natalia sold clips to 48 friends and half as many later. How many in all?",
    "She sold 48/2 = <<48/2=24>>24 clips later.\nShe sold 48+24 = <<48+24=72>>72 clips in all.",
)


def block(number, question, solution="", task="one_step", topic="length"):
    shown = f"<solution>\n{solution}\n</solution>\n" if solution else ""
    head = f'<problem number="{number}" task="{task}" topic="{topic}">'
    return f"{head}\n<question>\n{question}\n</question>\n{shown}</problem>\n"


PROMPT = block(1, *ONE) + block(2, *TWO, task="unit_change") + "<enlightenment>...</enlightenment>"


LESSON = (
    "The dorn is a unit of length. One dorn is 6 pims. To change dorn into pims, we multiply. "
    "For example, 2 dorn are 12 pims, because 2 times 6 is 12."
)
GRADING = f"Grade it.\nTask: educational-quality\n<document>\n{LESSON}\n</document>"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    rows = [{"question": q, "solution": s, "answer": "72", "task": "t"} for q, s in (ONE, TWO, GSM)]
    records.write_rows(path, rows)
    return path


@pytest.fixture(scope="module")
def url(library):
    with teacher.serve([library]) as base_url:
        yield base_url


@pytest.fixture
def ask(url):
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:

        def go(prompt, **more):
            messages = [{"role": "user", "content": prompt}]
            model = more.pop("model", "reference-solution")
            return client.chat.completions.create(model=model, messages=messages, **more)

        yield go


def parts(text):
    paragraphs = re.findall(r'<paragraph problem="\d">\n(.*?)\n</paragraph>', text, re.DOTALL)
    return paragraphs, re.findall(r"<enlightenment>\n(.*?)\n</enlightenment>", text, re.DOTALL)


# --- the server ---------------------------------------------------------------------------------


def test_the_openai_client_lists_the_model_and_gets_a_completion(url, ask):
    with openai.OpenAI(base_url=url, api_key="any") as client:
        (model,) = client.models.list().data
    done = ask(PROMPT, model=model.id)
    assert done.model == model.id
    assert done.choices[0].finish_reason == "stop"
    text = done.choices[0].message.content
    assert done.usage.completion_tokens == teacher.count_tokens(text)
    assert done.usage.prompt_tokens == teacher.count_tokens(PROMPT)
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_equal_requests_get_equal_replies_and_the_wording_varies(ask):
    texts = {seed: ask(PROMPT, seed=seed).choices[0].message.content for seed in range(12)}
    assert ask(PROMPT, seed=3).choices[0].message.content == texts[3]
    assert len(set(texts.values())) >= 3


def test_a_reply_stops_at_the_token_limit(ask):
    done = ask(PROMPT, max_tokens=20)
    assert done.choices[0].finish_reason == "length"
    assert done.usage.completion_tokens == 20
    whole = ask(PROMPT, max_tokens=2000)
    assert whole.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("prompt", "more", "error", "words"),
    [
        (PROMPT, {"model": "gpt-4"}, openai.NotFoundError, "does not exist"),
        ("Tell me a joke.", {}, openai.BadRequestError, "no <problem> in the prompt"),
        (block(1, "Unheard of?"), {}, openai.BadRequestError, "no reference solution"),
        (block(1, "Odd?", "No end."), {}, openai.BadRequestError, "lacks 'The answer is"),
        (PROMPT, {"max_tokens": 0}, openai.BadRequestError, "positive integer"),
        (PROMPT, {"n": 2}, openai.BadRequestError, "one choice"),
        ("Task: educational-quality", {}, openai.BadRequestError, "no text between"),
    ],
)
def test_a_bad_request_is_refused_as_openai_does(ask, prompt, more, error, words):
    if more.get("max_tokens") == 0:
        more = {"max_tokens": -1}
    with pytest.raises(error, match=words):
        ask(prompt, **more)


def raw(url, method, path, body=b""):
    connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/v1"))
    connection.request(method, path, body)
    response = connection.getresponse()
    value = response.status, json.loads(response.read())
    connection.close()
    return value


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"model": "reference-solution"}', 400),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400),
        ("POST", "/v1/chat/completions", b'{"model": "reference-solution", "messages": [1]}', 400),
        ("POST", "/v1/embeddings", b"{}", 404),
        ("GET", "/", b"", 404),
    ],
)
def test_errors_are_json_with_a_message(url, method, path, body, status):
    got, value = raw(url, method, path, body)
    assert got == status
    assert value["error"]["message"] and value["error"]["code"]


def test_one_connection_carries_many_requests(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/v1"))
    connection.connect()
    sock = connection.sock
    for path in ("/v1/models", "/nowhere", "/v1/models"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is sock
    connection.close()


def test_many_connections_at_a_time_get_their_own_replies(ask):
    with ThreadPoolExecutor(16) as pool:
        prompts = [block(1, ONE[0], f"Fact {i}. The answer is {i}.") for i in range(64)]
        replies = list(pool.map(lambda p: ask(p).choices[0].message.content, prompts))
    assert all(f"Fact {i}. The answer is {i}." in text for i, text in enumerate(replies))


def test_it_is_gone_after_the_block(library):
    with teacher.serve([library]) as base_url:
        pass
    with pytest.raises(ConnectionRefusedError):
        raw(base_url, "GET", "/v1/models")


def test_it_runs_from_the_shell(library):
    command = [sys.executable, "-m", "trait_lib.replica.stand_ins.teacher", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--problems", str(library)],
        stdout=subprocess.PIPE,
        # a shell starts background jobs, and so perhaps this test, with Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        base_url = process.stdout.readline().decode().strip()
        assert raw(base_url, "GET", "/v1/models")[0] == 200
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_the_shell_names_a_file_that_is_missing_or_bad(tmp_path):
    bad = tmp_path / "bad.jsonl"
    records.write_rows(bad, [{"question": "q", "solution": "s"}, {"question": "q"}])
    for file, words in ((bad, "row 2 has no solution"), (tmp_path / "no.jsonl", "no such file")):
        command = [
            sys.executable,
            "-m",
            "trait_lib.replica.stand_ins.teacher",
            "--problems",
            str(file),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert words in done.stderr


def test_the_models_name_changes_with_what_decides_its_replies(library, tmp_path):
    other = tmp_path / "other.jsonl"
    records.write_rows(other, [{"question": "q", "solution": "s"}])
    names = {teacher.model_name(), teacher.model_name([library]), teacher.model_name([other])}
    names.add(teacher.model_name([library], opener_share=0.5))
    assert len(names) == 4
    assert teacher.model_name([library]) == teacher.model_name([library])


GOLDEN = {
    (0, "passage"): "3cb26e14d1c2d587",
    (1, "passage"): "7f4dcc00c154b231",
    (0, "grade"): "13be5a801807910a",
}


@pytest.mark.parametrize(("seed", "kind"), GOLDEN)
def test_replies_do_not_change_unless_the_version_does(ask, seed, kind):
    """A ledger is keyed by the model's name, and the name is made from `VERSION`."""
    assert teacher.model_name() == "reference-solution-4ceb2dda"
    text = ask(PROMPT if kind == "passage" else GRADING, seed=seed).choices[0].message.content
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[seed, kind]


# --- passages -----------------------------------------------------------------------------------


def test_a_paragraph_ends_with_the_solution_word_for_word(ask):
    for seed in range(8):
        paragraphs, _ = parts(ask(PROMPT, seed=seed).choices[0].message.content)
        for paragraph, (_, solution) in zip(paragraphs, (ONE, TWO), strict=True):
            assert paragraph.endswith(solution)
            assert len(paragraph.split()) <= len(solution.split()) + 3


def test_the_enlightenment_states_the_shared_fact_and_each_ones_own_step(ask):
    _, (closing,) = parts(ask(PROMPT).choices[0].message.content)
    assert "One dorn is 6 pims." in closing
    assert closing.count("One dorn is 6 pims.") == 1
    assert "one step problem multiplies: 4 times 6 is 24." in closing
    assert "unit change problem divides: 12 divided by 6 is 2." in closing
    assert len(closing.split()) < 40


def test_no_enlightenment_unless_it_is_asked_for(ask):
    paragraphs, closing = parts(ask(block(1, *ONE)).choices[0].message.content)
    assert (len(paragraphs), closing) == (1, [])


def test_a_solution_that_is_not_shown_is_looked_up(ask):
    hidden = block(1, ONE[0]) + block(2, TWO[0])
    paragraphs, _ = parts(ask(hidden).choices[0].message.content)
    assert [p.endswith(s) for p, (_, s) in zip(paragraphs, (ONE, TWO), strict=True)] == [True] * 2


def test_gsm8k_solutions_lose_their_notes_and_get_the_answer_sentence(ask):
    (paragraph,), _ = parts(ask(block(1, GSM[0])).choices[0].message.content)
    assert paragraph.endswith(
        "She sold 48/2 = 24 clips later.\nShe sold 48+24 = 72 clips in all.\nThe answer is 72."
    )


def passage(*solutions, topic="", tasks=None):
    tasks = tasks or [""] * len(solutions)
    problems = [
        writer.Problem(f"How is {i}?", s, "1", task, topic)
        for i, (s, task) in enumerate(zip(solutions, tasks, strict=True))
    ]
    return writer.write_enlightenment(problems, writer.Library(), random.Random(0))


def test_without_a_shared_sentence_the_subject_and_the_operations_are_named():
    closing = passage("2 times 3 is 6.", "4 times 5 is 20. 20 plus 1 is 21.", topic="weight")
    assert re.match(r"Both problems (are about|deal with) weight and ", closing)
    assert "multiplying" in closing.split(".")[0]
    assert "The second problem adds: 20 plus 1 is 21." in closing


def test_operations_are_those_that_are_calculated():
    assert writer.operations("48/2 = 24 and 24+1") == ["dividing", "adding"]
    assert writer.operations("8 games x 4 hours, less -3") == ["multiplying"]
    assert writer.operations("$5-$3, 3 minus 1, 2*$7") == ["subtracting", "multiplying"]
    assert writer.operations("a well-known 10-year-old on page 3") == []


def test_a_shared_sentence_that_points_back_is_no_fact():
    closing = passage("A cat is grey. That is bad.", "A dog is red. That is bad.")
    assert "fact" not in closing and closing.count("That is bad.") == 0


def test_three_problems_and_one():
    three = passage("One a is 2. 1 plus 1 is 2.", "One a is 2. b.", "One a is 2. c.")
    assert "One a is 2." in three and three.count("third problem") == 1
    assert passage("One a is 2.").startswith("Problems like this one")


# --- grades -------------------------------------------------------------------------------------


def grade(text):
    return int(rubric.reply(text).removeprefix("Educational score: "))


def test_a_lesson_gets_all_points_and_a_bare_story_fewer():
    assert grade(LESSON) == 5
    story = "Ana went to Fern with Ben. They saw a blue hat there. Ben took the hat home at night."
    assert 2 <= grade(story) < 5


@pytest.mark.parametrize(
    "poor",
    [
        "",
        "   \n",
        "Home | About | Contact | Log in. Accept all cookies. Click here to subscribe.",
        "cheap shoes shoes buy shoes cheap shoes online cheap shoes sale shoes shoes cheap shoes",
        "word is The of \ufffd\ufffd 12 pims dorn dorn is",
        "length dorn pims a the multiply unit of one is 6 change we into",
    ],
)
def test_poor_text_gets_one_point_at_most(poor):
    assert grade(poor) <= 1


def test_boilerplate_around_a_lesson_costs_points():
    assert grade(f"Click here to subscribe. {LESSON}") < grade(LESSON)


def test_repetition_costs_points():
    assert grade("One dorn is 6 pims. " * 12) < grade(LESSON)


def test_the_quality_prompt_is_answered_with_one_line(ask):
    assert ask(GRADING).choices[0].message.content == "Educational score: 5"


def test_the_selections_own_prompt_is_understood(ask):
    from trait_lib.selection.cut import quality

    reply = ask(quality.rubric_prompt(LESSON)).choices[0].message.content
    assert quality.parse_grade(reply) == 5.0
