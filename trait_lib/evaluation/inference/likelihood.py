r"""Log-likelihoods: of a continuation given a prompt, and of held-out text in bits per byte.

    bits per byte = -sum_t log2 p(x_t | x_<t) / bytes of the text in UTF-8

Bytes, unlike tokens, do not depend on the tokenizer. Paper: general ability is tested, how is not
stated; ours: bits per byte on held-out text shows what is forgotten even where no task notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trait_lib import pretrained
from trait_lib.evaluation.inference import server

Encoded = tuple[list[int], int]


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

    The last token is predicted and never read, so two labels of one token share a single reading.
    `model` is a model, or a `server.Remote`.
    """
    if isinstance(model, server.Remote):
        yield from server.logged(model, encoded)
        return
    readings: dict[tuple[int, ...], list[int]] = {}
    for index, (tokens, _) in enumerate(encoded):
        readings.setdefault(tuple(tokens[:-1]), []).append(index)
    if config := getattr(model, "config", None):
        longest = max(map(len, readings), default=0)
        pretrained.check_length(longest, config, "a prompt, or a window of held-out text,")
    order = sorted(readings, key=len, reverse=True)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        sizes = [max(len(encoded[i][0]) - encoded[i][1] for i in readings[one]) for one in batch]
        logged = _logged(model, tokenizer, batch, max(sizes))  # (B, places, V)
        for row, one in enumerate(batch):
            for index in readings[one]:
                tokens, known = encoded[index]
                places = logged[row, logged.shape[1] - (len(tokens) - known) :]
                wanted = torch.tensor(tokens[known:], device=logged.device)[:, None]
                yield index, places.gather(1, wanted)[:, 0].double().cpu().numpy()


@torch.inference_mode()
def _logged(
    model: Any, tokenizer: Any, batch: Sequence[Sequence[int]], places: int
) -> torch.Tensor:
    """Log-probabilities after the last `places` tokens of each row: shape (B, places, V).

    Rows are padded on the left, so that these places stand at the end of all of them; logits of
    the other places would cost more than the rest of a small model.
    """
    longest = max(len(tokens) for tokens in batch)
    ids = torch.full((len(batch), longest), tokenizer.pad_token_id)  # (B, T)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=places,
    ).logits
    return torch.log_softmax(logits.float(), dim=-1)
