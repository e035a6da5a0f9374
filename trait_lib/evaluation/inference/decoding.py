"""Greedy decoding of many prompts on one model: no row waits for another, no prefix is read twice.

What `generate` of transformers does for a batch at a time, with three differences that change no
output. Rows that end make room at once for waiting prompts. Prompts that begin alike (the worked
examples of a task) are a family, whose common beginning is read once and its keys and values
lent to all. A row's stop strings are looked for in its newest piece of text only.
Paper: vLLM 0.4.2 for inference, which does the first two as well; ours, for machines without it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer

from trait_lib import pretrained

WORTH = 256  # tokens that a reading of a common beginning must spare: it fills no batch
ROOM = 4  # finished rows are dropped when they are 1 / ROOM of a batch: it copies the rest
LOOK = 16  # tokens after which a row's whole text is searched for stop strings
GROW, SHARE = 16, 8  # free places of a cache: so many, and a 1 / SHARE of what it holds
TOGETHER = 1024  # prompts that are tokenised at a time


@dataclass
class Row:
    """One prompt on its way to its output."""

    number: int
    started: float
    tokens: list[int] = field(default_factory=list)
    tail: str = ""
    ended: bool = False


class Roomy(DynamicLayer):
    """Keys and values of one layer, with room for more: a token is written and nothing copied."""

    room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values (B, H, t, D); returns all of them, (B, H, T + t, D)."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        start = self.get_seq_length()
        end = start + keys.shape[2]
        if self.room is None or end > self.room[0].shape[2]:
            held = (self.keys, self.values) if start else (keys[:, :, :0], values[:, :, :0])
            self.room = tuple(widened([one], end + free(end), 0) for one in held)
        for room, new in zip(self.room, (keys, values), strict=True):
            room[:, :, start:end] = new
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values

    def hold(
        self,
        keys: Sequence[torch.Tensor],
        values: Sequence[torch.Tensor],
        size: int,
        rows: torch.Tensor | None,
    ) -> None:
        """Begin with keys and values of several batches, right-aligned at `size` places."""
        self.lazy_initialization(keys[0], values[0])
        after = free(size)
        self.room = tuple(widened(one, size + after, after, rows) for one in (keys, values))
        self.keys, self.values = (room[:, :, :size] for room in self.room)


def free(size: int) -> int:
    """The free places that a cache of `size` places gets."""
    return GROW + size // SHARE


def widened(
    parts: Sequence[torch.Tensor], size: int, after: int, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """Parts (b, H, t, D) below each other: (B, H, size, D), `after` places free on the right.

    `after` 0 aligns them on the left. With `rows` only these rows of a single part are taken.
    """
    counts = [len(part) if rows is None else len(rows) for part in parts]
    _, heads, _, width = parts[0].shape
    made = parts[0].new_empty(sum(counts), heads, size, width)
    first = 0
    for part, count in zip(parts, counts, strict=True):
        end = size - after if after else part.shape[2]
        start, last = end - part.shape[2], first + count
        made[first:last, :, :start] = 0  # masked places are read, and must be numbers
        room = made[first:last, :, start:end]
        if rows is None:
            room.copy_(part)
        else:
            torch.index_select(part, 0, rows, out=room)
        first = last
    return made


def holding(parts: Sequence[Reading], size: int, rows: torch.Tensor | None = None) -> Cache:
    """A cache that begins with what several readings hold, or with some rows of one."""
    cache = Cache(layer_class_to_replicate=Roomy)
    for layers in zip(*parts, strict=True):
        layer = Roomy()
        layer.hold([keys for keys, _ in layers], [values for _, values in layers], size, rows)
        cache.layers.append(layer)
    return cache


def held(cache: Cache) -> Reading:
    """What a cache holds."""
    return [(layer.keys, layer.values) for layer in cache.layers]


Reading = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values (1, H, T, D) of each layer


@dataclass
class Family:
    """Prompts that share their first `shared` tokens, and the reading of those, once it is made.

    The reading goes on from the parent's, whose members share a shorter beginning.
    """

    shared: int
    members: list[int] = field(default_factory=list)
    parent: Family | None = None
    reading: Reading | None = None


@dataclass
class Batch:
    """Rows that are decoded together; what belongs to a row is aligned on the right.

    The cache holds keys and values (B, H, T, D) of each layer, `mask` (B, T) which of the T
    places are tokens; `newest` (B, 1) is the token that is not yet in the cache, and `places`
    (B, 1) is its position.
    """

    rows: list[Row]
    cache: Cache
    mask: torch.Tensor
    newest: torch.Tensor
    places: torch.Tensor


@dataclass
class Ends:
    """What ends an output: end tokens, stop strings, a number of tokens."""

    tokenizer: Any
    stop: Sequence[str]
    most: int
    tokens: frozenset[int]
    pieces: dict[int, str] = field(default_factory=dict)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an output's tokens."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)

    def add(self, row: Row, token: int) -> None:
        """Give a row its next token, and see whether it ends there."""
        if token in self.tokens:
            row.ended = True
            return
        row.tokens.append(token)
        if token not in self.pieces:
            self.pieces[token] = self.text([token])
        piece = self.pieces[token]
        keep = max(map(len, self.stop), default=0) + len(piece)
        row.tail = (row.tail + piece)[-keep:]
        # a token alone may read otherwise than among others: its text only says when to look
        maybe = any(one in row.tail for one in self.stop) or len(row.tokens) % LOOK == 0
        row.ended = len(row.tokens) >= self.most or (
            maybe and any(one in self.text(row.tokens) for one in self.stop)
        )


def greedy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    stop: Sequence[str],
    max_new_tokens: int,
    batch_size: int,
) -> Iterator[tuple[int, str, int, float]]:
    """Yield (number of the prompt, its whole output, new tokens, seconds) as the rows end.

    The output may go on behind a stop string by the rest of its last token. The seconds of a row
    are those from its reading to its end, shared with the rows beside it.

    Raises:
        ValueError: a prompt leaves no room for an answer in the model's context, or the model's
            state is no cache of keys and values.
    """
    encoded = encode(tokenizer, prompts)
    check(model, encoded, max_new_tokens)
    ends = Ends(tokenizer, stop, max_new_tokens, end_tokens(model, tokenizer))
    waiting = families(encoded)
    batch: Batch | None = None
    while waiting or batch:
        ended = sum(row.ended for row in batch.rows) if batch else 0
        if batch and ended * ROOM >= len(batch.rows):
            batch = keep_going(batch)
        rows = len(batch.rows) if batch else 0
        if waiting and (batch_size - rows) * ROOM >= batch_size:
            fresh = begin(model, tokenizer, encoded, waiting, batch_size - rows, ends)
            yield from _finished(fresh, ends, fresh.rows)
            batch = join(batch, fresh) if batch else fresh
        elif batch:
            going = [row for row in batch.rows if not row.ended]
            advance(model, batch, ends)
            yield from _finished(batch, ends, going)


def _finished(
    batch: Batch, ends: Ends, rows: Sequence[Row]
) -> Iterator[tuple[int, str, int, float]]:
    """Those of `rows` that have ended."""
    for row in rows:
        if row.ended:
            seconds = time.perf_counter() - row.started
            yield row.number, ends.text(row.tokens), len(row.tokens), seconds


def encode(tokenizer: Any, prompts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of each prompt."""
    return [
        np.array(tokens, np.int64)
        for start in range(0, len(prompts), TOGETHER)
        for tokens in tokenizer(list(prompts[start : start + TOGETHER]))["input_ids"]
    ]


def check(model: Any, encoded: Sequence[np.ndarray], new: int) -> None:
    """Refuse what cannot be decoded, before anything is.

    Raises:
        ValueError: see `greedy`.
    """
    if getattr(model, "_is_stateful", False):
        raise ValueError(
            f"{type(model).__name__} keeps a state that is no cache of keys and values, and cannot "
            "be decoded here; serve it (vLLM can) and give its address as base_url"
        )
    limit = pretrained.positions(model.config)
    longest = max(map(len, encoded), default=0)
    if limit and longest + new > limit:
        raise ValueError(
            f"a prompt of {longest} tokens and {new} new ones exceed the "
            f"model's {limit} positions; lower shots or max_new_tokens"
        )
    if any(len(tokens) == 0 for tokens in encoded):
        raise ValueError("an empty prompt cannot be continued; give it a text")


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an output: the tokenizer's and those of the model's own settings."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, list | tuple) else [own]
    return frozenset(one for one in [*listed, tokenizer.eos_token_id] if one is not None)


def families(encoded: Sequence[np.ndarray], worth: int = WORTH) -> list[Family]:
    """Group prompts that begin alike, in families within families; longest prompts last.

    In the order of their tokens, prompts that share a beginning stand together, and a stretch of
    them shares the least that two neighbours share. A stretch becomes a family when its reading
    spares `worth` tokens beside that of the family around it.
    """
    order = sorted(range(len(encoded)), key=lambda n: encoded[n].astype(">i8").tobytes())
    common = [alike(encoded[a], encoded[b]) for a, b in itertools.pairwise(order)]
    root = Family(0)
    made, stretches = [root], [(0, len(order), root)]
    while stretches:
        first, last, family = stretches.pop()
        if last - first < 2:
            family.members += order[first:last]
            continue
        least = shared = min(common[first : last - 1])
        if any(len(encoded[n]) == least for n in order[first:last]):
            shared -= 1  # every row reads a token at least
        if (shared - family.shared) * (last - first - 1) >= worth:
            family = Family(shared, parent=family)
            made.append(family)
        ends = [n + 1 for n in range(first, last - 1) if common[n] == least]
        parts = itertools.pairwise([first, *ends, last])
        stretches += [(start, end, family) for start, end in parts]
    for family in made[:0:-1]:  # those within others first
        parts = len(family.members) + sum(one.parent is family for one in made)
        if (family.shared - family.parent.shared) * (parts - 1) < worth:
            family.parent.members += family.members
            made.remove(family)
            for one in made:
                one.parent = family.parent if one.parent is family else one.parent
    for family in made:
        family.members.sort(key=lambda n: (len(encoded[n]), n))  # taken from the end
    made = [family for family in made if family.members]
    return sorted(made, key=lambda family: len(encoded[family.members[-1]]))


def alike(first: np.ndarray, second: np.ndarray) -> int:
    """How many tokens two prompts share from their beginning."""
    size = min(len(first), len(second))
    differing = np.flatnonzero(first[:size] != second[:size])
    return int(differing[0]) if len(differing) else size


@torch.inference_mode()
def begin(
    model: Any,
    tokenizer: Any,
    encoded: Sequence[np.ndarray],
    waiting: list[Family],
    room: int,
    ends: Ends,
) -> Batch:
    """Read up to `room` prompts of the last family that waits; each gets its first new token."""
    family, started = waiting[-1], time.perf_counter()
    reading = read_shared(model, family, encoded[family.members[-1]])
    numbers = [family.members.pop() for _ in range(min(room, len(family.members)))]
    if not family.members:
        waiting.pop()
    rest = [encoded[number][family.shared :] for number in numbers]
    longest = max(map(len, rest))
    ids = np.full((len(rest), longest), tokenizer.pad_token_id)  # (B, S), left-padded
    mask = np.zeros((len(rest), family.shared + longest), np.int64)  # (B, shared + S)
    mask[:, : family.shared] = 1
    for place, tokens in enumerate(rest):
        ids[place, longest - len(tokens) :] = tokens
        mask[place, mask.shape[1] - len(tokens) :] = 1
    on_device = torch.from_numpy(mask).to(model.device)
    places = (on_device.cumsum(1) - 1).clamp(min=0)[:, family.shared :]  # (B, S)
    lent = [tuple(one.expand(len(rest), -1, -1, -1) for one in layer) for layer in reading]
    cache = holding([lent] if lent else [], family.shared)
    logits = model(
        input_ids=torch.from_numpy(ids).to(model.device),
        attention_mask=on_device,
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits  # (B, 1, V)
    batch = Batch(
        [Row(number, started) for number in numbers],
        cache,
        on_device,
        logits[:, -1].argmax(-1, keepdim=True),
        places[:, -1:] + 1,
    )
    _add_newest(batch, ends)
    return batch


def read_shared(model: Any, family: Family, tokens: np.ndarray) -> Reading:
    """Keys and values of a family's common beginning, going on from what its parent has read."""
    if not family.shared:
        return []
    if family.reading is None:
        parent = family.parent
        before = read_shared(model, parent, tokens) if parent else []
        cache = holding([before] if before else [], parent.shared if parent else 0)
        ids = torch.from_numpy(tokens[cache.get_seq_length() : family.shared])[None]
        model(
            input_ids=ids.to(model.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        family.reading = held(cache)
    return family.reading


@torch.inference_mode()
def advance(model: Any, batch: Batch, ends: Ends) -> None:
    """One more token for every row."""
    batch.mask = pad(batch.mask, (0, 1), value=1)  # (B, T + 1)
    mask = batch.mask
    if plain_attention(model):  # spares the making of the very same mask
        mask = mask[:, None, None].bool()  # (B, 1, 1, T + 1)
    logits = model(
        input_ids=batch.newest,
        attention_mask=mask,
        position_ids=batch.places,
        past_key_values=batch.cache,
        use_cache=True,
    ).logits  # (B, 1, V)
    batch.newest = logits[:, -1].argmax(-1, keepdim=True)
    batch.places = batch.places + 1
    _add_newest(batch, ends)


def plain_attention(model: Any) -> bool:
    """Does every layer see all tokens, by torch's attention, which takes a mask of its own form?"""
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        getattr(config, "_attn_implementation", "") == "sdpa"
        and getattr(config, "sliding_window", None) is None
        and kinds == {"full_attention"}
    )


def _add_newest(batch: Batch, ends: Ends) -> None:
    for row, token in zip(batch.rows, batch.newest[:, 0].tolist(), strict=True):
        if not row.ended:
            ends.add(row, token)


@torch.inference_mode()
def keep_going(batch: Batch) -> Batch | None:
    """The batch without the rows that have ended, and without places that no row uses."""
    going = [place for place, row in enumerate(batch.rows) if not row.ended]
    if not going:
        return None
    at = torch.tensor(going, device=batch.mask.device)
    mask = batch.mask[at]
    first = int(mask.any(0).int().argmax())
    kept = [tuple(one[:, :, first:] for one in layer) for layer in held(batch.cache)]
    rows = [batch.rows[place] for place in going]
    mask = mask[:, first:]
    cache = holding([kept], mask.shape[1], at)
    return Batch(rows, cache, mask, batch.newest[at], batch.places[at])


@torch.inference_mode()
def join(first: Batch, second: Batch) -> Batch:
    """Two batches as one: the one with fewer places is padded on the left."""
    size = max(first.mask.shape[1], second.mask.shape[1])
    masks = [pad(one.mask, (size - one.mask.shape[1], 0)) for one in (first, second)]
    return Batch(
        [*first.rows, *second.rows],
        holding([held(first.cache), held(second.cache)], size),
        torch.cat(masks),
        torch.cat([first.newest, second.newest]),
        torch.cat([first.places, second.places]),
    )
