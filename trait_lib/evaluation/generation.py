"""Greedy generation for many prompts: batched, resumable, by a model here or by a server.

A batch holds prompts of similar length, padded on the left; each finished batch is appended to a
file of rows, and a run that was killed goes on after the last whole row. Paper: vLLM 0.4.2 for
inference, settings not stated; ours: greedy, as its sister papers' harness decodes. A vLLM server
is used by giving its address as `base_url`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

STOPS = ("\n\n", "Question:")


@dataclass(frozen=True)
class Settings:
    """How outputs are generated.

    `stop`: strings that end an output, and are not part of it. `workers`: processes on a CPU, or
    requests at a time to a server. `base_url`: an OpenAI-compatible server, whose key is taken
    from the environment variable OPENAI_API_KEY; empty for a model on this machine.
    """

    max_new_tokens: int = 48
    stop: tuple[str, ...] = STOPS
    batch_size: int = 64
    workers: int = 1
    precision: str = "fp32"
    base_url: str = ""


def generate(
    prompts: Mapping[str, str], model: str, file: str | Path, settings: Settings, identity: str = ""
) -> dict[str, dict[str, Any]]:
    """Answer every prompt greedily; returns {id: {"id", "output", "tokens", "seconds", "key"}}.

    Args:
        prompts: prompt by id.
        model: a folder, a Hub id, or the name under which a server knows the model.
        file: JSON lines; rows found in it whose key agrees are not generated again.
        settings: see `Settings`.
        identity: the model's hash; part of the key, so that another model's rows are not reused.
    """
    keys = {name: key_of(text, identity or model, settings) for name, text in prompts.items()}
    done = {
        row["id"]: row for row in finished(file) if row["key"] == keys.get(row["id"], "no such row")
    }
    waiting = {name: text for name, text in prompts.items() if name not in done}
    if waiting:
        made = _served if settings.base_url else _local
        with (
            open(file, "a", encoding="utf-8") as out,
            tqdm(total=len(prompts), initial=len(done), unit="row", disable=None) as bar,
        ):
            for rows in made(waiting, model, settings):
                for row in rows:
                    row["key"] = keys[row["id"]]
                    done[row["id"]] = row
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                out.flush()
                os.fsync(out.fileno())
                bar.update(len(rows))
    return {name: done[name] for name in prompts}


def key_of(prompt: str, identity: str, settings: Settings) -> str:
    """A short hash of all that decides an output; batch size and workers do not."""
    deciding = {k: v for k, v in asdict(settings).items() if k not in ("batch_size", "workers")}
    text = json.dumps([prompt, identity, deciding], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finished(file: str | Path) -> list[dict[str, Any]]:
    """The whole rows of an answer file; a last line that was cut off is removed from it."""
    file = Path(file)
    if not file.exists():
        return []
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with open(file, "r+b") as handle:
            handle.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines() if line.strip()]


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    places = [place for place in (text.find(one) for one in stop) if place >= 0]
    return text[: min(places)] if places else text


def batches(lengths: Mapping[str, int], size: int) -> list[list[str]]:
    """Ids in batches of similar length, longest first: what needs the most memory fails first."""
    ordered = sorted(lengths, key=lambda name: (-lengths[name], name))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


# --- a model on this machine ------------------------------------------------------------------


def _local(
    prompts: Mapping[str, str], model: str, settings: Settings
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each batch; several processes where that was asked for."""
    plan = [
        {name: prompts[name] for name in batch}
        for batch in batches({k: len(v) for k, v in prompts.items()}, settings.batch_size)
    ]
    workers = min(settings.workers, len(plan))
    if workers <= 1:
        _load(str(model), settings.precision)
        yield from (_batch(part, settings) for part in plan)
        return
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    arguments = (str(model), settings.precision)
    with ProcessPoolExecutor(workers, spawn, _begin, arguments) as pool:
        for future in as_completed([pool.submit(_batch, part, settings) for part in plan]):
            yield future.result()


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
        from trait_lib.evaluation import models

        _loaded["model"], _loaded["tokenizer"] = models.load(model, precision)
        _loaded["pieces"] = {}
        _loaded["name"] = (model, precision)


def unload() -> None:
    """Forget the model that this process keeps between calls."""
    _loaded.clear()


def _batch(prompts: Mapping[str, str], settings: Settings) -> list[dict[str, Any]]:
    """Generate one batch with the model of this process."""
    started = time.perf_counter()
    outputs = greedy(_loaded["model"], _loaded["tokenizer"], list(prompts.values()), settings)
    seconds = round((time.perf_counter() - started) / len(prompts), 4)
    return [
        {"id": name, "output": text, "tokens": count, "seconds": seconds}
        for name, (text, count) in zip(prompts, outputs, strict=True)
    ]


def greedy(
    model: Any, tokenizer: Any, prompts: Sequence[str], settings: Settings
) -> list[tuple[str, int]]:
    """(output, number of new tokens) of each prompt of one batch, with `generate` of transformers.

    Raises:
        ValueError: a prompt leaves no room for an answer in the model's context.
    """
    import torch

    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True)  # (B, T), left-padded
    ids, mask = encoded["input_ids"].to(model.device), encoded["attention_mask"].to(model.device)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and ids.shape[1] + settings.max_new_tokens > limit:
        raise ValueError(
            f"a prompt of {ids.shape[1]} tokens and {settings.max_new_tokens} new ones exceed the "
            f"model's {limit} positions; lower shots or max_new_tokens"
        )
    with torch.inference_mode():
        produced = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=settings.max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            stopping_criteria=[_stopper(tokenizer, settings.stop, ids.shape[1])],
        )  # (B, T + new)
    return [_text(tokenizer, row, settings.stop) for row in produced[:, ids.shape[1] :].tolist()]


def _text(tokenizer: Any, tokens: list[int], stop: Sequence[str]) -> tuple[str, int]:
    """The output up to its end token or stop string, and the number of tokens generated."""
    ends = (tokenizer.eos_token_id, tokenizer.pad_token_id)  # a stopped row is filled with the pad
    end = next((n for n, token in enumerate(tokens) if token in ends), len(tokens))
    return cut(tokenizer.decode(tokens[:end]), stop), end


def _stopper(tokenizer: Any, stop: Sequence[str], prompt_length: int) -> Any:
    """A stopping criterion: a row is done when a stop string ends its output.

    The tail of each row is kept as text, so that only the newest token is decoded; stop strings
    are looked for across token borders.
    """
    import torch

    tails: dict[int, str] = {}
    pieces = _loaded.setdefault("pieces", {})
    longest = max((len(one) for one in stop), default=0)

    def stopped(input_ids: Any, scores: Any, **_: Any) -> Any:
        newest = input_ids[:, -1].tolist()
        done = []
        for row, token in enumerate(newest):
            if token not in pieces:
                pieces[token] = tokenizer.decode([token])
            tails[row] = (tails.get(row, "") + pieces[token])[-(longest + len(pieces[token])) :]
            done.append(any(one in tails[row] for one in stop))
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    return stopped


# --- a server ---------------------------------------------------------------------------------


def _served(
    prompts: Mapping[str, str], model: str, settings: Settings
) -> Iterator[list[dict[str, Any]]]:
    """Yield one row a request from `/v1/completions` of an OpenAI-compatible server."""
    from openai import OpenAI

    client = OpenAI(base_url=settings.base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))

    def ask(name: str) -> list[dict[str, Any]]:
        started = time.perf_counter()
        reply = client.completions.create(
            model=model,
            prompt=prompts[name],
            max_tokens=settings.max_new_tokens,
            temperature=0,
            stop=list(settings.stop) or None,
        )
        count = reply.usage.completion_tokens if reply.usage else 0
        text = cut(reply.choices[0].text, settings.stop)
        seconds = round(time.perf_counter() - started, 4)
        return [{"id": name, "output": text, "tokens": count, "seconds": seconds}]

    with client, ThreadPoolExecutor(max(1, settings.workers)) as pool:
        for future in as_completed([pool.submit(ask, name) for name in prompts]):
            yield future.result()
