"""Both routes: a model read here and the same model behind a real HTTP server."""

import numpy as np
import pytest

from trait_lib.evaluation.inference import generation, likelihood
from trait_lib.evaluation.inference import server as route
from trait_lib.evaluation.inference.generation import Settings

PROMPTS = {
    f"p{n}": f"Question: How many legs have {n * 7} cows?\nAnswer:"[: 20 + n] for n in range(17)
}
PAIRS = [("The answer", " is 21."), ("", " warb is 7"), ("A hen has", " 2 legs.")]


def outputs(rows):
    return {name: row["output"] for name, row in rows.items()}


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr("trait_lib.teacher.replies.LONGEST_DELAY", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # which no request to this machine may use


def test_a_server_gives_the_same_answers(tmp_path, model_folder, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    local = Settings(max_new_tokens=12, batch_size=8)
    here = generation.generate(PROMPTS, str(model_folder), tmp_path / "here.jsonl", local)
    settings = Settings(max_new_tokens=12, workers=4, base_url=server.url)
    there = generation.generate(PROMPTS, "tiny", tmp_path / "there.jsonl", settings)
    assert outputs(here) == outputs(there)
    assert all(asked["temperature"] == 0 for asked in server.bodies)
    assert set(server.keys) == {"Bearer from the environment"}
    assert "from the environment" not in (tmp_path / "there.jsonl").read_text()


def test_a_server_gives_the_same_log_likelihoods(loaded, server):
    model, tokenizer = loaded
    remote = _remote(server, workers=3)
    here = likelihood.continuations(model, tokenizer, PAIRS)
    assert likelihood.continuations(remote, tokenizer, PAIRS) == pytest.approx(here, rel=1e-5)
    texts = ["One warb is 7 saln. " * 6, "A hen has 2 legs."]
    costs = [likelihood.text_cost(one, tokenizer, texts, window=16) for one in (model, remote)]
    assert costs[1].bits == pytest.approx(costs[0].bits, rel=1e-5)
    assert np.array_equal(costs[0].sizes, costs[1].sizes)


def _remote(httpd, name="tiny", workers=1):
    return route.Remote(httpd.url, name, workers)


def test_a_busy_server_is_asked_again(tmp_path, server):
    server.behaviour.failures = [503, 429, 500]
    settings = Settings(max_new_tokens=4, base_url=server.url)
    rows = generation.generate(PROMPTS, "tiny", tmp_path / "x.jsonl", settings)
    assert len(rows) == 17 and len(server.bodies) == 20


def test_rows_before_an_error_are_kept(tmp_path, server):
    settings = Settings(max_new_tokens=4, base_url=server.url)
    some = dict(list(PROMPTS.items())[:5])
    generation.generate(some, "tiny", tmp_path / "x.jsonl", settings)
    server.behaviour.failures = [400]
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1.*cannot be used: HTTP 400 .*not now"):
        generation.generate(PROMPTS, "tiny", tmp_path / "x.jsonl", settings)
    server.bodies.clear()
    rows = generation.generate(PROMPTS, "tiny", tmp_path / "x.jsonl", settings)
    assert len(rows) == 17 and 0 < len(server.bodies) <= 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"failures": [401]}, "refuses the key; set the environment variable OPENAI_API_KEY"),
        ({"name": "gpt"}, "does not know the model 'gpt'.*its models: tiny.*served_base"),
        ({"silent": True}, r"no log-probabilities of a prompt.*vLLM and llama.*leave base_url and"),
    ],
)
def test_errors_say_what_to_do(server, change, message):
    server.behaviour.failures = change.get("failures", [])
    server.behaviour.silent = change.get("silent", False)
    remote = _remote(server, change.get("name", "tiny"))
    with pytest.raises(RuntimeError, match=message):
        list(logged(remote))


def logged(remote):
    return route.logged(remote, [([5, 6, 7], 1)])


def test_a_server_that_counts_the_bias_in_is_refused(serve):
    def certain(number, body):  # of whatever token it is made to write
        token = int(next(iter(body.get("logit_bias", {"0": 0}))))
        told = {"content": [{"id": token, "logprob": -1e-9, "top_logprobs": []}]}
        return {"choices": [{"text": "x", "logprobs": told}]}

    with pytest.raises(route.ServerError, match="gives no log-probabilities of a prompt"):
        list(logged(route.Remote(serve(certain).url, "tiny")))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "Unexpected endpoint"}, "an error: Unexpected endpoint"),
        ({"choices": None, "error": {"message": "busy", "code": 500}}, "HTTP 500 busy"),
        ({"choices": [{"text": None}]}, "no completion"),
        ({"body": "<html>Please sign in</html>"}, "a page: Please sign in"),
    ],
)
def test_an_answer_that_is_no_completion_names_the_server(serve, monkeypatch, answer, words):
    monkeypatch.setattr(route, "TRIES", 2)
    server = serve(lambda number, body: answer)
    with pytest.raises(route.ServerError, match=rf"{server.url} .*{words}"):
        list(logged(route.Remote(server.url, "tiny")))


def test_half_a_character_and_no_usage_are_no_matter(serve, tmp_path):
    server = serve(lambda number, body: {"choices": [{"text": " \ud83d 5"}]})
    settings = Settings(base_url=server.url)
    rows = generation.generate({"p": "2+3?"}, "m", tmp_path / "x.jsonl", settings)
    assert outputs(rows) == {"p": " \ufffd 5"}


def test_no_server_at_the_address(monkeypatch):
    monkeypatch.setattr(route, "TRIES", 1)
    with pytest.raises(route.ServerError, match=r"cannot be reached.*start it, or correct base"):
        list(logged(route.Remote("http://127.0.0.1:9/v1", "tiny")))
