"""What a teacher costs: dated price files, and the plan before the first call.

A model's price stands in the file that the parameter `price_file` names, in `prices.yaml` of one's
own parameters or in the repository's, whichever has it first. A server of one's own that none of
them names costs nothing.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from trait_lib import params
from trait_lib.run import Stage
from trait_lib.teacher.ledger import Request
from trait_lib.teacher.settings import Server

CHARACTERS_PER_TOKEN = 4  # English prose; used for the estimate only
DATED = re.compile(r"-20\d\d-\d\d-\d\d$")  # a fixed version of a model: gpt-4.1-2025-04-14
TOKENS_PER_MESSAGE = 8  # role and separators, as chat formats add them


class PriceError(ValueError):
    """A price file that cannot be used, or a model that it does not name."""


@dataclass(frozen=True)
class Price:
    """Money per million tokens; `batch_discount` 0.5 means half price by batch."""

    model: str
    currency: str
    as_of: str
    input: float
    output: float
    batch_discount: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The money for these tokens."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6

    def by_batch(self) -> Price:
        """The price of the same model over the batch interface."""
        share = 1 - self.batch_discount
        return replace(self, input=self.input * share, output=self.output * share)


def price_files(own: str | Path = "") -> list[Path]:
    """The price files in the order in which they are asked; `own` is the parameter `price_file`."""
    named = [params.locate(own)] if str(own) else []
    shipped = [folder / "prices.yaml" for folder in params.folders()]
    return [*named, *(file for file in shipped if file.exists())]


def of(stage: Stage, model: str, base_url: str | None) -> Price:
    """The price of a stage's teacher, grader or judge; the files are recorded as its inputs.

    Raises:
        as `load_price`; FileNotFoundError for the file that the parameter `price_file` names.
    """
    for file in price_files(stage.params["price_file"]):
        stage.external(file)
    return load_price(model, stage.params["price_file"], base_url)


def load_price(model: str, own: str | Path = "", base_url: str | None = None) -> Price:
    """The price of a model: the first entry whose pattern fits its name, a date at its end aside.

    Args:
        model: as the server calls it.
        own: a price file to ask first.
        base_url: of the server; on this machine or in a private network it costs nothing where no
            file names the model.

    Raises:
        PriceError: a file is not a price file, or none names the model; says what to add.
    """
    files = price_files(own)
    for path in files:
        if price := _in_file(model, path):
            return price
    if base_url and Server(base_url).is_own:
        return Price(model, "USD", "your own server", 0.0, 0.0)
    raise PriceError(
        f"no price for the model {model!r} in {', '.join(map(str, files))}: a budget cannot be "
        "kept without. Write its money per million tokens and the date into a prices.yaml in your "
        "folder of parameters (PARAMS), or into a file that the parameter price_file names; only a "
        "server on this machine or in a private network needs no price"
    )


def _in_file(model: str, path: Path) -> Price | None:
    """The price of a model in one file, or None.

    Raises:
        PriceError: not a price file.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        currency = table["currency"]
        for entry in table["models"]:
            if fnmatch.fnmatchcase(DATED.sub("", model), entry["model"]):
                return Price(
                    model,
                    currency,
                    str(entry["as_of"]),
                    float(entry["input"]),
                    float(entry["output"]),
                    float(entry.get("batch_discount", 0)),
                )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise PriceError(f"{path} is not a price file: {error!r}") from None
    return None


def estimate_tokens(request: Request) -> int:
    """About how many tokens the messages have."""
    characters = sum(len(m["content"]) for m in request.messages)
    return characters // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE * len(request.messages)


def most_tokens(request: Request) -> int:
    """At most how many: a byte-level token holds one byte or more."""
    size = sum(len(m["content"].encode("utf-8")) for m in request.messages)
    return size + TOKENS_PER_MESSAGE * len(request.messages)


@dataclass(frozen=True)
class Plan:
    """What a run will ask for, before the first call. Money in the price file's currency."""

    requests: int
    in_ledger: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    money_batch: float
    money_at_most: float
    money_batch_at_most: float
    currency: str
    minutes: float

    def text(self) -> str:
        """The plan in four lines."""
        new = self.requests - self.in_ledger
        return (
            f"requests: {self.requests}, of them {self.in_ledger} in the ledger, {new} to send\n"
            f"tokens: about {self.prompt_tokens:,} in and {self.completion_tokens:,} out\n"
            f"money: direct about {self.money:.2f} {self.currency}, at most "
            f"{self.money_at_most:.2f}; by batch about {self.money_batch:.2f}, at most "
            f"{self.money_batch_at_most:.2f}\n"
            f"time: direct about {self.minutes:.1f} minutes; by batch up to a day"
        )
