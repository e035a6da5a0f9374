"""A teacher of one's own: a model in a GGUF file behind an address on this machine.

    python -m trait_lib.teacher.serve MODEL.gguf        (make teacher GGUF=MODEL.gguf)

llama.cpp's OpenAI-compatible server, from the package xllamacpp, on loopback only. It says how fast
it is and what notebook 02 is to be told, and runs until it is stopped. Paper: GPT-4; ours, because
a small model of one's own costs nothing by the token and needs no key.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import socket
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from trait_lib import run, weights

LOOPBACK = "127.0.0.1"
STOPPING = {signal.SIGINT, signal.SIGTERM}
PROMPT = (
    "Solve the problem step by step, and say which knowledge it needs. Ann reads 20 pages of a "
    "book a day, and the book has 120 pages. How many days does she need? Then tell a beginner "
    "how this problem is like one about a tank of 120 litres that is filled at 20 litres an hour."
)
REPLY = 300  # tokens of a passage, as in `reply_tokens` of notebook 02


class ServeError(RuntimeError):
    """The server cannot be started; the message says what to do."""


@dataclass(frozen=True)
class Speed:
    """New tokens a second: of one request alone, and of all that are served at a time together."""

    alone: float
    together: float


def start(
    file: str, name: str, port: int, parallel: int, context: int, threads: int, bits: int = 16
) -> Any:
    """Serve a model; returns the server, which lives as long as it is referred to.

    Args:
        file: the GGUF file.
        name: under which the server knows the model.
        port: 0 for any that is free.
        parallel: requests at a time.
        context: tokens of prompt and reply of each.
        threads: of the processor.
        bits: 16 or 32, of the keys and values that are kept.

    Raises:
        ServeError: no package xllamacpp, the port is taken, or llama.cpp cannot read the file.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ServeError("the package xllamacpp is not installed; `make teacher` installs it")
    import xllamacpp

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ServeError(
                f"port {port} cannot be used ({error.strerror}); name another"
            ) from None
        port = probe.getsockname()[1]
    given = xllamacpp.CommonParams()
    given.model.path, given.model_alias = file, {name}
    given.hostnames, given.port = [LOOPBACK], port
    given.n_parallel, given.n_ctx = parallel, parallel * context
    given.cpuparams.n_threads = threads
    given.verbosity = 0
    kind = {16: xllamacpp.ggml_type.GGML_TYPE_F16, 32: xllamacpp.ggml_type.GGML_TYPE_F32}[bits]
    given.cache_type_k = given.cache_type_v = kind
    try:
        return xllamacpp.Server(given)
    except Exception as error:  # of C++, by what it has to say
        raise ServeError(f"llama.cpp cannot serve {file}: {error}") from None


def measure(address: str, name: str, parallel: int, tokens: int = 32) -> Speed:
    """How fast a server writes, by replies of `tokens` tokens to a prompt of a few sentences."""
    _write(address, name, 1)  # what the first request alone has to do
    alone, together = (_seconds(address, name, many, tokens) for many in (1, parallel))
    return Speed(tokens / alone, parallel * tokens / together)


def _seconds(address: str, name: str, many: int, tokens: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(many) as pool:
        list(pool.map(lambda _: _write(address, name, tokens), range(many)))
    return time.perf_counter() - started


def _write(address: str, name: str, tokens: int) -> None:
    asked = {"model": name, "prompt": PROMPT, "max_tokens": tokens, "ignore_eos": True}
    sent = urllib.request.Request(
        f"{address}/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy
    direct.open(sent).read()


def told(address: str, name: str, parallel: int, speed: Speed) -> str:
    """What a user is told: the speed, and the parameters of notebook 02."""
    return "\n".join(
        [
            f"{speed.alone:.1f} tokens a second for one request, {speed.together:.1f} for "
            f"{parallel} at a time: a passage of {REPLY} tokens every "
            f"{REPLY / speed.together:.1f} s",
            "parameters of notebook 02:",
            "  teacher: server",
            f"  base_url: {address}",
            f"  model: {name}",
            f"  concurrency: {parallel}",
            f"  seconds_per_reply: {REPLY * parallel / speed.together:.1f}",
            "  timeout_seconds: 1200.0",
            "serving until it is stopped (Ctrl-C)",
        ]
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("gguf", help="file, OWNER/NAME/FILE.gguf of the Hub, package://NAME/FILE")
    parser.add_argument("--name", help="the model's name; default: that of the file")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    parser.add_argument("--parallel", type=int, default=8, help="requests at a time")
    parser.add_argument("--context", type=int, default=2048, help="tokens of prompt and reply")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the processor")
    parser.add_argument("--bits", type=int, default=16, choices=(16, 32), help="of the cache")
    given = parser.parse_args()
    for stopping in STOPPING:
        signal.signal(stopping, lambda *_: os._exit(0))  # the server's threads wait for nothing
    try:
        file = weights.file(given.gguf)
        # `local/` costs nothing in params/prices.yaml
        name = f"local/{given.name or file.stem}"
        print(f"{file}: sha256 {run.hash_file(file)}", flush=True)
        size = given.parallel, given.context, given.threads, given.bits
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # the server's threads leave them to us
        server = start(str(file), name, given.port, *size)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    except (ServeError, FileNotFoundError, weights.ModelError) as error:
        sys.exit(f"error: {error}")
    address = f"{server.listening_address}/v1"
    print(f"{name} at {address}; measuring its speed", flush=True)
    print(told(address, name, given.parallel, measure(address, name, given.parallel)), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
