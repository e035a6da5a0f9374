"""What a teacher costs: the dated price file, and the plan before the first call."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from trait_lib import ROOT
from trait_lib.teacher.ledger import Request

PRICE_FILE = ROOT / "params" / "prices.yaml"
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


def load_price(model: str, path: str | Path = PRICE_FILE) -> Price:
    """The price of a model: the first entry whose pattern fits its name, a date at its end aside.

    Raises:
        PriceError: the file is not a price file, or names no such model; says what to add.
    """
    path = Path(path)
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
    raise PriceError(
        f"{path} names no price for the model {model!r}: add its money per million tokens (0 for a "
        "server of your own) and the date, since a budget cannot be kept without"
    )


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
