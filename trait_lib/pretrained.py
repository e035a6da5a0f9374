"""Pretrained models: the one door by which a name becomes a folder, and a folder a tokenizer.

Tools save more into `tokenizer.json` than a vocabulary: how far a batch was cut and filled up when
it was last used, random merges, an end token after every text. What decides the ids is reset here,
for training, held-out measuring, fine-tuning and evaluation alike.
Paper: Mistral-7B is adapted; how it is loaded is not stated.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from trait_lib import ROOT, params, run, weights
from trait_lib.weights import ModelError

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
NOT_NEEDED = ["*/*", "consolidated*"]  # other formats of the same weights
DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "</s>", "<eos>")
TURN_MARK = re.compile(r"im_end|eot|end_of_turn|<\|end\|>|turn")
CHECKED_CHARACTERS = 20_000  # of each text whose tokens are read back


class NothingComesBack(ModelError):
    """The tokens of a text do not say what stands in it; the message says what is lost."""


# --- a name ---------------------------------------------------------------------------------------


def folder(name: str | Path, revision: str = "main") -> Path:
    """The folder of a model: absolute, so that it means the same in every process.

    Args:
        name: a folder (`params.locate` finds a relative one), a name on the Hub, or a GGUF file,
            see `weights`, of which a folder is made once.
        revision: of a Hub model: branch, tag or commit. Its files are downloaded once; the folder
            is named by the commit, so that whoever loads it loads this commit.

    Raises:
        FileNotFoundError: no such folder, and no such model on the Hub or none that is cached.
        ModelError: the folder holds no model, or a GGUF file cannot be read.
    """
    if weights.is_gguf(name):
        return weights.folder(weights.file(name, revision))
    given = Path(name).expanduser()
    place = params.locate(given).resolve()
    if not place.exists() and HUB_NAME.fullmatch(str(name)):
        place = _download(str(name), revision)
    if not place.exists():
        raise FileNotFoundError(f"model {name}: no such folder ({place}); check base_model")
    if not (place / "config.json").is_file():
        raise ModelError(f"model {name}: {place} holds no config.json, so it is no model's folder")
    return place


def _download(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    options: dict[str, Any] = {"revision": revision, "ignore_patterns": NOT_NEEDED}
    try:
        place = Path(snapshot_download(name, allow_patterns=NEEDED, **options))
        if not any(place.glob("*.safetensors")):
            snapshot_download(name, allow_patterns=[*NEEDED, "*.bin"], **options)
    except (OSError, ValueError) as error:  # no network, no such model or revision, no permission
        raise FileNotFoundError(
            f"model {name!r} (revision {revision!r}): no such folder in {ROOT}, and the Hub gives "
            f"none: {str(error).strip().splitlines()[0]}"
        ) from error
    return place


# --- a tokenizer ----------------------------------------------------------------------------------


def backend(place: str | Path) -> Tokenizer:
    """The bare tokenizer of a folder or of a Hub model, which cuts, fills up and draws nothing."""
    file = Path(place) / "tokenizer.json"
    made = Tokenizer.from_file(str(file)) if file.exists() else Tokenizer.from_pretrained(place)
    return _reset(made)


def _reset(made: Tokenizer) -> Tokenizer:
    made.no_truncation()
    made.no_padding()
    if getattr(made.model, "dropout", None):
        made.model.dropout = None  # the same text gives the same ids
    made.encode_special_tokens = True  # "<|endoftext|>" written in a text stays text
    return made


def tokenizer(place: str | Path, end_mark: str = "") -> Any:
    """The tokenizer of a model; its `eos_token` is what documents end with, see `end_of_document`.

    Texts become their tokens and, where the model wants it, a token before them; nothing after
    them, which would end a prompt before its answer.

    Raises:
        ModelError: no fast tokenizer, no end mark, or none of that name.
    """
    made = _as_saved(place)
    made.eos_token = end_of_document(made, end_mark)[0]
    if made.pad_token is None:
        made.pad_token = made.eos_token
    _reset(made.backend_tokenizer)
    made.split_special_tokens = True  # each call sets the backend's from this
    _drop_suffix(made)
    return made


def _as_saved(place: str | Path) -> Any:
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(place)
    if not made.is_fast:
        raise ModelError(f"tokenizer {place}: only fast tokenizers (tokenizer.json) can be used")
    return made


def _drop_suffix(made: Any) -> None:
    """Take away special tokens that the tokenizer puts after a text; those before it stay."""
    probe = made.backend_tokenizer.encode("a")
    if not probe.special_tokens_mask[-1]:
        return
    before = probe.tokens[: probe.special_tokens_mask.index(0)]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*(f"{token}:0" for token in before), "$A:0"],
        special_tokens=[(token, made.convert_tokens_to_ids(token)) for token in before],
    )


def end_of_document(made: Any, wanted: str = "") -> tuple[str, str]:
    """The token that closes a document, and why it is that one.

    The tokenizer's own end token, unless that ends a *turn* of a chat and the vocabulary has a
    token that ends documents, as with the instruction-tuned models of most families. `wanted`
    replaces the choice. Not stated in the paper, whose base model is not one of a chat.

    Raises:
        ModelError: there is none, or `wanted` is not in the vocabulary.
    """
    vocabulary = made.get_vocab()
    if wanted and wanted not in vocabulary:
        raise ModelError(f"end_mark: the tokenizer has no token {wanted!r}")
    if wanted:
        return wanted, "as end_mark says"
    own = made.eos_token
    if own is not None and not TURN_MARK.search(own):
        return own, "the tokenizer's own end token"
    other = next((token for token in DOCUMENT_ENDS if token in vocabulary), None)
    if other and own:
        return other, f"since the tokenizer's end token {own!r} ends a turn of a chat"
    if own is None:
        raise ModelError(
            f"tokenizer {made.name_or_path}: no end-of-text token (eos_token), which separates "
            "documents; name one of its tokens as end_mark"
        )
    return own, "the tokenizer's own end token, though it looks like one of a chat"


# --- do they go together? -------------------------------------------------------------------------


def _without_accents(text: str) -> str:
    parts = unicodedata.normalize("NFD", text)
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


LOSSES: dict[str, Callable[[str], str]] = {
    "compatibility forms": lambda text: unicodedata.normalize("NFKC", text),
    "white space": lambda text: "".join(text.split()),
    "letter case": str.casefold,
    "accents": _without_accents,
}
REFUSED = ("white space", "characters")


def losses(made: Any, text: str) -> list[str]:
    """What of a text does not come back from its tokens, in words; [] when all of it does.

    Composed and decomposed accents count as the same, and so does one blank at the beginning.
    """
    back = made.decode(made(text, add_special_tokens=False)["input_ids"])
    one, two = (unicodedata.normalize("NFC", part).removeprefix(" ") for part in (text, back))
    if one == two:
        return []

    def same(names: Iterable[str]) -> bool:
        """Equal when these differences are ignored?"""
        parts = [one, two]
        for name in names:
            parts = [LOSSES[name](part) for part in parts]
        return parts[0] == parts[1]

    if single := next((name for name in LOSSES if same([name])), None):
        return [single]
    needed = [name for name in LOSSES if not same(other for other in LOSSES if other != name)]
    return needed if same(LOSSES) else ["characters"]


def check_round_trip(made: Any, texts: Iterable[str], where: str) -> None:
    """Read the tokens of texts back; refuse a tokenizer whose tokens do not say what stood there.

    Letter case, accents and the like may be lost by design; that is a warning.

    Raises:
        NothingComesBack: white space or characters are lost; the message shows a text.
    """
    lost: dict[str, str] = {}
    for text in texts:
        part = text[:CHECKED_CHARACTERS]
        lost = {**dict.fromkeys(losses(made, part), part), **lost}
    if not lost:
        return
    name = next((name for name in REFUSED if name in lost), next(iter(lost)))
    back = made.decode(made(lost[name], add_special_tokens=False)["input_ids"])
    told = (
        f"{where}: the tokenizer {made.name_or_path} loses {', '.join(lost)}: "
        f"{_around(lost[name], back)!r} comes back as {_around(back, lost[name])!r}"
    )
    if name in REFUSED:
        raise NothingComesBack(told + ". Use the tokenizer as its model was published with it")
    warnings.warn(told + "; the model neither sees nor writes it", stacklevel=2)


def _around(text: str, other: str) -> str:
    """Some characters about the first place where two texts differ."""
    pairs = enumerate(zip(text, other, strict=False))
    place = next((n for n, (a, b) in pairs if a != b), min(len(text), len(other)))
    return text[max(0, place - 10) : place + 20]


def check_belongs(made: Any, config: Any) -> None:
    """Refuse a tokenizer with ids that the model has no embedding for; doubt one of another model.

    What ends a text for the model must be a special token of the tokenizer; else it is a warning.

    Raises:
        ModelError: names both numbers.
    """
    size = config.get_text_config().vocab_size
    if max(made.get_vocab().values()) >= size:
        raise ModelError(
            f"the tokenizer has {len(made)} tokens, the model {size}; they do not belong together"
        )
    ends = config.get_text_config().eos_token_id
    for end in ends if isinstance(ends, list) else [ends]:
        token = None if end is None else made.convert_ids_to_tokens(end)
        if token is not None and token not in made.get_added_vocab():
            warnings.warn(
                f"for the model, token {end} ends a text (eos_token_id); for the tokenizer "
                f"{made.name_or_path} it is {token!r}: is it the tokenizer of this model?",
                stacklevel=2,
            )


def positions(config: Any) -> int | None:
    """How many positions a model knows (`max_position_embeddings`); None when it has no limit.

    Where scaled rotary positions reach further than that number, their reach.
    """
    text = config.get_text_config()
    known = getattr(text, "max_position_embeddings", None)
    scaled = getattr(text, "rope_parameters", None) or {}
    if known and isinstance(scaled.get("factor"), int | float):
        stretched = scaled.get("rope_type") in ("linear", "dynamic")
        original = scaled.get("original_max_position_embeddings") or (known if stretched else 0)
        return max(known, int(original * scaled["factor"]))
    return known


def check_length(length: int, config: Any, what: str) -> None:
    """Refuse `length` tokens for a model that knows fewer positions.

    Raises:
        ModelError: names both numbers; it begins with `what`.
    """
    known = positions(config)
    if known and length > known:
        raise ModelError(
            f"{what} has {length} tokens, and the model knows {known} positions "
            "(max_position_embeddings); make it shorter, or take a model that knows more"
        )


def describe(place: str | Path, end_mark: str = "") -> dict[str, str]:
    """What a reader should know of a model before it is used: names and values of a list.

    Raises:
        ModelError: tokenizer and model do not go together.
    """
    from transformers import AutoConfig

    config, made = AutoConfig.from_pretrained(place), tokenizer(place, end_mark)
    check_belongs(made, config)
    mark, why = end_of_document(_as_saved(place), end_mark)
    return {
        "architecture": config.model_type,
        "tokens": f"{len(made):,}, embeddings for {config.get_text_config().vocab_size:,}",
        "positions": f"{positions(config) or 'no limit'}",
        "documents end with": f"{mark!r}, {why}",
        **weights.describe(place),
    }


def record(place: Path, asked: str = "", end_mark: str = "") -> dict[str, str]:
    """What later stages read of a model: its folder, what it is, and what documents end with.

    `asked` is the name that was given; `commit` is that of a Hub model, and `hash` that of all
    files of the folder, so that a changed weight is another model.
    """
    return {
        "name_or_path": str(place),
        "asked": asked,
        "commit": place.name if place.parent.name == "snapshots" else "",
        "hash": run.hash_path(place),
        "end_mark": tokenizer(place, end_mark).eos_token,
    }
