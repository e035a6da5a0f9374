"""The replica's own tokenizer and base model: what Mistral-7B is to the paper, on two CPU cores.

Paper: the base model is Mistral-7B. Ours: a small model of the same architecture, trained on the
general corpus on the spot, so that the whole method can be watched without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trait_lib import pretrained, records
from trait_lib import run as runs
from trait_lib.training import launch

END = "<|endoftext|>"
PAD = "<|pad|>"
# words with their leading space, up to three digits with it, runs of other signs, white space
PIECES = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def train_tokenizer(files: Sequence[str | Path], vocab_size: int, folder: str | Path) -> Any:
    """Train a byte-level BPE tokenizer on the texts of document files and save it to `folder`.

    Digits come in groups of up to three with their leading space, so that " 42" can be one token.
    Returns a `PreTrainedTokenizerFast` with the end-of-text token "<|endoftext|>" and a pad token.

    Raises:
        ValueError: `vocab_size` leaves no room beside the 256 bytes and 2 special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < 258:
        raise ValueError(f"vocab_size must be at least 258 (256 bytes, 2 marks), got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(files), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
    wrapped.save_pretrained(folder)
    return pretrained.tokenizer(folder)


def _texts(files: Sequence[str | Path]) -> Iterator[str]:
    for file in files:
        for row in records.read_rows(file):
            yield row["text"]


def pretrain_base(
    general_file: str | Path,
    tokenizer: Mapping[str, Any],
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    processes: int = 1,
    tokenizer_files: Sequence[str | Path] = (),
) -> Path:
    """Train tokenizer and base model on a file of general documents; cached by all its inputs.

    Args:
        general_file: document rows.
        tokenizer: {"vocab_size"}.
        model: settings for `MistralConfig`; the tokenizer decides vocabulary and special tokens.
        training: {"tokens", "sequence_length", "batch_tokens", "learning_rate", ...}; any key of
            the training configuration but model, tokenizer, stages and seed.
        seed: decides new weights and the order of the rows.
        processes: ranks of the training.
        tokenizer_files: further document files that the tokenizer learns from.

    Returns:
        A folder that `from_pretrained` loads, with its tokenizer, `log.jsonl` and `plan.json`.
    """
    files = [general_file, *tokenizer_files]
    key = {
        "texts": [runs.hash_file(file) for file in files],
        "tokenizer": {**tokenizer, "pieces": PIECES},
        "model": dict(model),
        "training": dict(training),
        "seed": seed,
        "processes": processes,
    }

    def build(folder: Path) -> None:
        work = folder / "training"
        train_tokenizer(files, tokenizer["vocab_size"], work / "tokenizer")
        settings = {key: value for key, value in training.items() if key != "tokens"}
        source = {"name": "general", "file": str(general_file), "weight": 1.0}
        stage = {"name": "base", "tokens": training["tokens"], "sources": [source]}
        config = {
            **settings,
            "model_config": dict(model),
            "tokenizer": str(work / "tokenizer"),
            "stages": [stage],
            "seed": seed,
        }
        trained = launch.run(work, config, processes)
        for file in [*trained.iterdir(), work / "log.jsonl", work / "plan.json"]:
            file.rename(folder / file.name)

    return runs.cached("base", key, build)
