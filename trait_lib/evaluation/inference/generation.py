"""Greedy generation for many prompts: resumable row by row, by a model here or by a server.

Each finished row is appended to a file, and a run that was killed goes on after the last whole
row. Paper: vLLM 0.4.2 for inference, settings not stated; ours: greedy, as its sister papers'
harness decodes. A vLLM server is used by giving its address as `base_url`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trait_lib import form
from trait_lib.pretrained import ModelError
from trait_lib.records import Journal

PART = 4  # batches that a worker process takes at a time


@dataclass(frozen=True)
class Settings:
    """How outputs are generated.

    `stop`: strings that end an output, and are not part of it. `task_stops` and `task_tokens`:
    stop strings and lengths of single tasks. `workers`: processes on a CPU, or requests at a time
    to a server. `base_url`: an OpenAI-compatible server, whose key is taken from the environment
    variable OPENAI_API_KEY; empty for a model on this machine.
    """

    max_new_tokens: int = 48
    stop: tuple[str, ...] = form.STOPS
    batch_size: int = 64
    workers: int = 1
    precision: str = "fp32"
    base_url: str = ""
    task_stops: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task_tokens: Mapping[str, int] = field(default_factory=dict)


def generate(
    prompts: Mapping[str, str],
    model: str,
    file: str | Path,
    settings: Settings,
    identity: str = "",
    tasks: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Answer every prompt greedily; returns {id: {"id", "output", "tokens", "seconds", "key"}}.

    Args:
        prompts: prompt by id.
        model: a folder, a Hub id, or the name under which a server knows the model.
        file: JSON lines; rows found in it whose key agrees are not generated again.
        settings: see `Settings`.
        identity: the model's hash; part of the key, so that another model's rows are not reused.
        tasks: the task of each id, for stop strings and lengths of single tasks.

    Raises:
        pretrained.ModelError: a prompt leaves no room for an answer in the model's positions.
        server.ServerError: the server cannot be used; the message says what to do.
    """
    ways = {name: way_of((tasks or {}).get(name, ""), settings) for name in prompts}
    keys = {
        name: key_of(text, identity or model, settings, ways[name])
        for name, text in prompts.items()
    }
    made = _served if settings.base_url else _local
    with Journal(file) as journal:
        done = {row["id"]: row for row in journal.rows if row["key"] == keys.get(row["id"])}
        waiting = {name: text for name, text in prompts.items() if name not in done}
        if waiting and not settings.base_url:
            check_lengths(waiting, model, ways)
        counted = {"total": len(prompts), "initial": len(done), "unit": "row", "desc": "answers"}
        with tqdm(**counted, disable=None) as bar:
            for way in dict.fromkeys(ways[name] for name in waiting):
                asked = {name: text for name, text in waiting.items() if ways[name] == way}
                for row in made(asked, model, settings, way):
                    done[row["id"]] = row | {"key": keys[row["id"]]}
                    journal.add(done[row["id"]])
                    bar.update()
    return {name: done[name] for name in prompts}


Way = tuple[tuple[str, ...], int]  # stop strings, and new tokens at most


def way_of(task: str, settings: Settings) -> Way:
    """How the answers of a task end."""
    stop = settings.task_stops.get(task, settings.stop)
    return tuple(stop), settings.task_tokens.get(task, settings.max_new_tokens)


def key_of(prompt: str, identity: str, settings: Settings, way: Way | None = None) -> str:
    """A short hash of all that decides an output; batch size and workers do not."""
    way = way or way_of("", settings)
    deciding = {"way": way, "precision": settings.precision, "base_url": settings.base_url}
    text = json.dumps([prompt, identity, deciding], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def deciding(settings: Settings) -> dict[str, Any]:
    """The settings without those that change no output."""
    return {k: v for k, v in asdict(settings).items() if k not in ("batch_size", "workers")}


def check_lengths(prompts: Mapping[str, str], model: str, ways: Mapping[str, Way]) -> None:
    """Refuse prompts that leave no room for an answer, before any is answered.

    Raises:
        pretrained.ModelError: names the prompt, its tokens and the model's positions.
    """
    from trait_lib.evaluation.inference import checkpoint

    limit, tokenizer = checkpoint.positions(model), checkpoint.tokenizer(model)
    if not limit:
        return
    # a token is a byte at least; a few begin the text
    long = [name for name in prompts if len(prompts[name].encode()) + ways[name][1] + 8 > limit]
    encoded = tokenizer([prompts[name] for name in long])["input_ids"] if long else []
    for name, tokens in zip(long, encoded, strict=True):
        if len(tokens) + ways[name][1] > limit:
            raise ModelError(
                f"prompt {name!r}: {len(tokens)} tokens and {ways[name][1]} new ones exceed the "
                f"model's {limit} positions; lower shots or max_new_tokens"
            )


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    places = [place for place in (text.find(one) for one in stop) if place >= 0]
    return text[: min(places)] if places else text


def parts(prompts: Mapping[str, str], size: int) -> list[list[str]]:
    """Ids in parts of at most `size`, prompts that begin alike together."""
    ordered = sorted(prompts, key=lambda name: (prompts[name], name))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _row(name: str, output: str, tokens: int, seconds: float) -> dict[str, Any]:
    return {"id": name, "output": output, "tokens": tokens, "seconds": round(seconds, 4)}


# --- a model on this machine ------------------------------------------------------------------


def _local(
    prompts: Mapping[str, str], model: str, settings: Settings, way: Way
) -> Iterator[dict[str, Any]]:
    """Yield rows as they end; several processes where that was asked for."""
    plan = parts(prompts, PART * settings.batch_size)
    workers = min(settings.workers, len(plan))
    if workers <= 1:
        _load(str(model), settings.precision)
        yield from _decoded(prompts, way, settings.batch_size)
        return
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    arguments = (str(model), settings.precision)
    with ProcessPoolExecutor(workers, spawn, _begin, arguments) as pool:
        futures = [
            pool.submit(_part, {name: prompts[name] for name in part}, way, settings.batch_size)
            for part in plan
        ]
        try:
            for future in as_completed(futures):
                yield from future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_loaded: dict[str, Any] = {}


def _begin(model: str, precision: str) -> None:
    """What a worker does first: load the model, and make sure to end when its parent is killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _load(model, precision)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(model: str, precision: str) -> None:
    """Load the model of this process, unless it is there."""
    if _loaded.get("name") != (model, precision):
        from trait_lib.evaluation.inference import checkpoint

        _loaded["model"], _loaded["tokenizer"] = checkpoint.load(model, precision)
        _loaded["name"] = (model, precision)


def unload() -> None:
    """Forget the model that this process keeps between calls."""
    _loaded.clear()


def _part(prompts: Mapping[str, str], way: Way, batch_size: int) -> list[dict[str, Any]]:
    """The rows of one worker's part."""
    return list(_decoded(prompts, way, batch_size))


def _decoded(prompts: Mapping[str, str], way: Way, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of prompts, decoded by the model of this process, as they end."""
    from trait_lib.evaluation.inference import decoding

    names, (stop, most) = list(prompts), way
    for number, text, tokens, seconds in decoding.greedy(
        _loaded["model"], _loaded["tokenizer"], list(prompts.values()), stop, most, batch_size
    ):
        yield _row(names[number], cut(text, stop), tokens, seconds)


# --- a server ---------------------------------------------------------------------------------


def _served(
    prompts: Mapping[str, str], model: str, settings: Settings, way: Way
) -> Iterator[dict[str, Any]]:
    """Yield one row a request from `/v1/completions` of an OpenAI-compatible server."""
    from trait_lib.evaluation.inference import server

    stop, most = way
    remote = server.Remote(settings.base_url, model, settings.workers)
    texts = list(prompts.items())
    asked = [{"prompt": text, "max_tokens": most, "stop": list(stop) or None} for _, text in texts]
    for one in server.completions(remote, asked):
        yield _row(texts[one.number][0], cut(one.text, stop), one.tokens, one.seconds)
