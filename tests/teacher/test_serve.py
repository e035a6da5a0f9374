"""make teacher: a model in a file becomes a teacher on this machine, and says how fast it is."""

import re
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("gguf", reason="make laptop installs it")
pytest.importorskip("xllamacpp", reason="make teacher installs it")

import gguf_file

from trait_lib import ROOT
from trait_lib.teacher import client, prices

CHAT = "{% for one in messages %}{{ one.content }}{% endfor %}"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("teacher")
    gguf_file.tiny(place / "hf", chat=True)
    return gguf_file.write(place / "hf", place / "tiny.gguf", chat=CHAT)


def test_it_answers_as_a_teacher_and_says_how_fast(file, ask):
    with gguf_file.serving(file, "--parallel", "2", "--threads", "1") as (address, told):
        server = type("Server", (), {"url": address})
        replies = ask(server, ["What is a hen?", "What is a cow?"])
        assert all(reply.text and not reply.error for reply in replies)
    assert re.search(r"[\d.]+ tokens a second for one request, [\d.]+ for 2 at a time", told)
    assert re.search(r"sha256 [0-9a-f]{64}\n", told)
    parameters = dict(re.findall(r"^  (\w+): (.*)$", told, flags=re.M))
    assert parameters["model"] == "local/tiny" and parameters["concurrency"] == "2"
    assert prices.load_price("local/tiny").input == 0
    assert client.Server(parameters["base_url"]).is_loopback


def test_ctrl_c_ends_it_while_it_measures(file):
    words = [str(file), "--port", "0", "--parallel", "64", "--threads", "1"]  # measured for seconds
    command = [sys.executable, "-m", "trait_lib.teacher.serve", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert any("measuring its speed" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert "tokens a second" not in process.stdout.read()
        assert process.wait(10) == 0


def start(*words):
    return subprocess.run(
        [sys.executable, "-m", "trait_lib.teacher.serve", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_cannot_be_served_is_one_clear_line(file, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:20_000])
    (tmp_path / "text.gguf").write_text("no weights")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, message in (
            ([str(file), "--port", port], f"port {port} cannot be used"),
            ([str(cut), "--port", "0"], "llama.cpp cannot serve"),
            ([str(tmp_path / "text.gguf")], "is no GGUF file"),
            (["nowhere.gguf"], "nowhere.gguf: no such file"),
        ):
            done = start(*words)
            assert done.returncode == 1 and message in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr
