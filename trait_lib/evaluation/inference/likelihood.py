r"""Log-likelihoods: of a continuation given a prompt, and of held-out text in bits per byte.

    bits per byte = -sum_t log2 p(x_t | x_<t) / bytes of the text in UTF-8

Bytes, unlike tokens, do not depend on the tokenizer. Paper: general ability is tested, how is not
stated; ours: bits per byte on held-out text shows what is forgotten even where no task notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trait_lib import head, pretrained
from trait_lib.evaluation.inference import server

Encoded = tuple[list[int], int]
BATCH_TOKENS = 4096  # read in one pass
ROW_TOKENS = 1024  # to which branches fill a row up
SHARED, SHARED_PART = 8, 0.25  # a beginning so long, and such a part of a sequence, is shared


def continuations(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int = 16
) -> np.ndarray:
    """log p(continuation | context) in nats for each (context, continuation): shape (pairs,).

    An empty context becomes the tokenizer's end mark, as at the beginning of a document. A pair
    that occurs more than once is scored once. `model` is a model here, or a `server.Remote`.
    """
    different = list(dict.fromkeys(pairs))
    encoded = [_join(tokenizer, context, text) for context, text in different]
    sums = dict.fromkeys(different, 0.0)
    for place, row in _scored(model, tokenizer, encoded, batch_size):
        sums[different[place]] = float(row.sum())
    return np.array([sums[pair] for pair in pairs])


def _join(tokenizer: Any, context: str, text: str) -> Encoded:
    """(tokens of context and continuation, tokens of the context); tokenised together."""
    start = tokenizer(context)["input_ids"] if context else []
    if not start:
        return [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]], 1
    whole = tokenizer(context + text)["input_ids"]
    if whole[: len(start)] != start:  # the border was merged away: tokenise apart
        whole = start + tokenizer(text, add_special_tokens=False)["input_ids"]
    return whole, len(start)


def solutions(
    model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]], batch_size: int = 16
) -> np.ndarray:
    """What reference solutions cost, shape (rows, 6); `rows` are those of `likely`.

    Bits and bytes of the solution; bits and bytes of its results, the numbers that it computes,
    where they are tokens of their own; bits of the solution behind another problem, as a control;
    whether the next result is likelier than each wrong one, -1 where the row asks for none.
    """
    encoded: list[Encoded] = []
    places: list[dict[str, Any]] = []
    for row in rows:
        place: dict[str, Any] = {"whole": len(encoded)}
        whole, known, spans = _with_spans(tokenizer, row["prompt"], row["solution"])
        results = [(span, _tokens_of(spans, *span)) for span in row["results"]]
        own = [(span, tokens) for span, tokens in results if tokens]
        place["results"] = [(first - known, last - known) for _, (first, last) in own]
        place["bytes"] = sum(b - a for (a, b), _ in own)
        encoded += [(whole, known), _join(tokenizer, row["other"], row["solution"])]
        asked = _tokens_of(spans, *row["asked"]) if row["asked"] else None
        if asked:
            first, last = asked
            number = row["solution"][slice(*row["asked"])]
            lead = tokenizer.decode(whole[first:last]).removesuffix(number)  # a blank, or nothing
            texts = [lead + wrong for wrong in row["wrong"]]
            others = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
            place |= {"right": (first - known, last - known), "wrong": len(encoded)}
            encoded += [(whole[:first] + other, first) for other in others]
        place["end"] = len(encoded)
        places.append(place)
    found = dict(_scored(model, tokenizer, encoded, batch_size))
    return np.array([_cost_of(row, place, found) for row, place in zip(rows, places, strict=True)])


def _with_spans(
    tokenizer: Any, context: str, text: str
) -> tuple[list[int], int, dict[int, tuple[int, int]]]:
    """As `_join`, and the characters of `text` that each token after the context covers."""
    start = tokenizer(context)["input_ids"]
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = {len(start) + n: span for n, span in enumerate(made["offset_mapping"])}
    return start + made["input_ids"], len(start), spans


def _tokens_of(spans: Mapping[int, tuple[int, int]], first: int, last: int) -> Any:
    """(first token, token after the last) of some characters; None where a token holds others.

    A blank before them may be part of their first token.
    """
    inside = [n for n, (a, b) in spans.items() if a < last and b > first]
    if not inside or spans[inside[-1]][1] != last or first - spans[inside[0]][0] > 1:
        return None
    return inside[0], inside[-1] + 1


def _cost_of(
    row: Mapping[str, Any], place: Mapping[str, Any], found: Mapping[int, np.ndarray]
) -> list[float]:
    """The six numbers of one solution."""
    logged = found[place["whole"]]
    digits = sum(logged[a:b].sum() for a, b in place["results"])
    right = -1.0
    if "right" in place:
        first, last = place["right"]
        wrong = [found[n].sum() for n in range(place["wrong"], place["end"])]
        right = float(logged[first:last].sum() > max(wrong))
    control = found[place["whole"] + 1].sum()
    bits = [-value / np.log(2) for value in (logged.sum(), digits, control)]
    size = len(row["solution"].encode())
    return [bits[0], size, bits[1], place["bytes"], bits[2], right]


def next_sentences(
    model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]], batch_size: int = 16
) -> np.ndarray:
    """Whether the first of each row's `choices` is the likeliest a byte: 1 or 0, shape (rows,)."""
    pairs = [(row["context"], choice) for row in rows for choice in row["choices"]]
    logged = iter(continuations(model, tokenizer, pairs, batch_size))
    values = [[next(logged) / len(one.encode()) for one in row["choices"]] for row in rows]
    return np.array([float(one[0] > max(one[1:])) for one in values])


@dataclass(frozen=True)
class TextCost:
    """What each document of a text costs: bits and bytes, each of shape (documents,)."""

    bits: np.ndarray
    sizes: np.ndarray

    @property
    def bits_per_byte(self) -> float:
        """All bits over all bytes."""
        return float(self.bits.sum() / self.sizes.sum())


def text_cost(
    model: Any, tokenizer: Any, texts: Sequence[str], window: int, batch_size: int = 8
) -> TextCost:
    """The bits of each document, read from its beginning in windows of `window` tokens.

    Context never crosses a document. The first token of a document has no context and was never
    trained, so it and its bytes are left out; of a longer document each window begins with the
    last token of the one before, so that every other token is predicted once.

    Raises:
        ValueError: no text, or a window under 2 tokens.
    """
    if not texts:
        raise ValueError("no held-out text; notebook 00 writes it")
    if window < 2:
        raise ValueError(f"window must be at least 2 tokens, got {window}")
    encoded, owners = [], []
    sizes = np.zeros(len(texts))
    for number, text in enumerate(texts):
        tokens = tokenizer(text)["input_ids"]
        bare = tokenizer(text, add_special_tokens=False)["input_ids"]
        unpredicted = tokenizer.decode(bare[:1]) if len(tokens) == len(bare) else ""
        sizes[number] = len(text.encode()) - len(unpredicted.encode())
        for start in range(0, max(len(tokens) - 1, 0), window - 1):
            encoded.append((tokens[start : start + window], 1))
            owners.append(number)
    bits = np.zeros(len(texts))
    for place, row in _scored(model, tokenizer, encoded, batch_size):
        bits[owners[place]] -= row.sum() / np.log(2)
    return TextCost(bits, sizes)


def _scored(
    model: Any, tokenizer: Any, encoded: Sequence[Encoded], batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, log-probabilities of the tokens after the context), in batches of like length.

    Sequences that begin alike are read as one row, see `Row`: candidates of one beginning cost
    their own tokens only. `model` is a model, or a `server.Remote`.
    """
    if isinstance(model, server.Remote):
        yield from server.logged(model, encoded)
        return
    config = getattr(model, "config", None)
    longest = max((len(tokens) - 1 for tokens, _ in encoded), default=0)
    if config:
        pretrained.check_length(longest, config, "a prompt, or a window of held-out text,")
    rows = sorted(
        _rows(encoded, _sees_all(config, longest)), key=lambda row: row.size, reverse=True
    )
    while rows:
        count = min(batch_size, max(1, BATCH_TOKENS // max(1, rows[0].size)))
        batch, rows = rows[:count], rows[count:]
        logged = _logged(model, tokenizer.pad_token_id, batch)  # (B, T)
        for values, row in zip(logged, batch, strict=True):
            for index, places in row.members:
                yield index, values[places]


def _sees_all(config: Any, length: int) -> bool:
    """Whether each of `length` tokens attends to all before it, so that a mask may part them.

    True of rotary positions and full attention, or a window that holds them all.
    """
    text = config.get_text_config() if config else None
    if not getattr(text, "rope_parameters", None):
        return False
    kinds = {*(getattr(text, "layer_types", None) or [])}
    window = getattr(text, "sliding_window", None)
    return kinds <= {"full_attention", "sliding_attention"} and (not window or window > length)


@dataclass
class Row:
    """Sequences that are read together: a trunk, and branches that leave it.

    A branch begins with the trunk's token before it, once more, attends to the trunk before that
    and to itself, and its positions go on from there. `tokens`, `targets` (what each place
    predicts, -100 for nothing), `places` (positions) and `origin` (how much of the trunk a place
    sees; of the trunk's own -1) are of length `size`; `members` are (index, places of its scores).
    """

    tokens: list[int]
    targets: list[int]
    places: list[int]
    origin: list[int]
    starts: list[int]
    members: list[tuple[int, list[int]]]

    @property
    def size(self) -> int:
        """Tokens read."""
        return len(self.tokens)

    def add(self, index: int, tokens: list[int], known: int, shared: int) -> None:
        """Let a sequence branch off that has its first `shared` tokens in common with the trunk."""
        start, rest = self.size, tokens[shared:]
        for n in range(shared - known):  # these stand in the trunk
            self.targets[known - 1 + n] = tokens[known + n]
        self.tokens += tokens[shared - 1 : -1]
        self.targets += [token if shared + n >= known else -100 for n, token in enumerate(rest)]
        self.places += range(shared - 1, len(tokens) - 1)
        self.origin += [shared - 1] * len(rest)
        self.starts += [start] * len(rest)
        first = max(known, shared)
        inside = list(range(known - 1, first - 1 if shared > known else known - 1))
        self.members.append(
            (index, inside + [start + n - shared for n in range(first, len(tokens))])
        )


def _rows(encoded: Sequence[Encoded], share: bool) -> Iterator[Row]:
    """The sequences as rows; those with a long common beginning, and room, in one."""
    order = sorted(range(len(encoded)), key=lambda i: (encoded[i][0], encoded[i][1]))
    row: Row | None = None
    trunk: list[int] = []
    for index in order:
        tokens, known = encoded[index]
        same = zip(trunk, tokens, strict=False)
        shared = next((n for n, (a, b) in enumerate(same) if a != b), min(len(trunk), len(tokens)))
        shared = min(shared, len(trunk) - 1)  # the trunk's last token is not read
        spared = shared >= max(SHARED, SHARED_PART * len(tokens)) or len(tokens) - shared == 1
        fits = row is not None and row.size + len(tokens) - shared <= max(ROW_TOKENS, len(trunk))
        if row is not None and share and shared and spared and (fits or len(tokens) - shared == 1):
            row.add(index, tokens, known, shared)
            continue
        if row is not None:
            yield row
        trunk, read = tokens, len(tokens) - 1
        targets = [-100] * (known - 1) + tokens[known:]
        own = [(index, list(range(known - 1, read)))]
        row = Row(tokens[:-1], targets, list(range(read)), [-1] * read, [0] * read, own)
    if row is not None:
        yield row


def _mask(batch: Sequence[Row], longest: int) -> torch.Tensor:
    """What each place sees: shape (B, 1, T, T); what fills a row up sees itself."""
    seen = torch.zeros(len(batch), 1, longest, longest, dtype=torch.bool)
    for number, row in enumerate(batch):
        place = torch.arange(row.size)
        origin, starts = torch.tensor(row.origin)[:, None], torch.tensor(row.starts)[:, None]
        own = (place[None] <= place[:, None]) & (place[None] >= starts)
        seen[number, 0, : row.size, : row.size] = own | (place[None] < origin)
    return seen | torch.eye(longest, dtype=torch.bool)


@torch.inference_mode()
def _logged(model: Any, filling: int, batch: Sequence[Row]) -> np.ndarray:
    """Log-probabilities (B, T) of the rows' targets, 0 where there is none; filled on the right."""
    longest = max(row.size for row in batch)
    ids, targets, places = (
        torch.tensor([getattr(row, name) + [empty] * (longest - row.size) for row in batch])
        for name, empty in (("tokens", filling), ("targets", -100), ("places", 0))
    )
    inputs = {"input_ids": ids, "position_ids": torch.arange(longest)[None].expand_as(ids)}
    if any(row.starts[-1] for row in batch if row.size):
        dtype = getattr(model, "dtype", torch.float32)
        seen = _mask(batch, longest)
        masked = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        inputs |= {"position_ids": places, "attention_mask": masked}
    inputs = {name: one.to(model.device) for name, one in inputs.items()}
    _, losses = head.token_losses(
        model, model, {**inputs, "use_cache": False}, targets.to(model.device)
    )
    return -losses.double().cpu().numpy()
