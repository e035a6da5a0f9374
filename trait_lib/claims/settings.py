"""The settings of the experiment, `params/claims.yaml`: rates, grids, seeds; checked when read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trait_lib.params import REQUIRED, Parameter, ParameterError, completed, unknown
from trait_lib.training import arms

NAME = "claims.yaml"
# base first: every other arm is asked beside it
ALL: tuple[str, ...] = (arms.BASE, *arms.ARMS, *arms.CONTROLS, *arms.ANSWERERS)
_DECLARED: dict[str, tuple[str, Any, str, str]] = {
    "other_domain": ("dict", REQUIRED, "", "domain: the one whose passages it gets as a control"),
    "max_epochs": ("float", 3.0, "(0, inf)", "most passes over a source"),
    "heldout_tokens": ("int", 2048, "[0, inf)", "of each held-out text while training"),
    "heldout_moments": ("int", 6, "[1, inf)", "measurements while training"),
    "rates": ("dict", REQUIRED, "", "peak learning rates: default, finetune, and by arm"),
    "development_seeds": ("list", REQUIRED, "", "seeds that settings may be chosen on"),
    "sweep_rates": ("list", REQUIRED, "", "grid of the sweep"),
    "sweep_arms": ("list", REQUIRED, "", "arms of the sweep"),
    "curve_arms": ("list", REQUIRED, "", "arms of the rate curve"),
    "curve_rates": ("list", REQUIRED, "", "grid of the rate curve"),
}
SETTINGS = {name: Parameter(name, *declared) for name, declared in _DECLARED.items()}
Settings = dict[str, Any]


def read(folder: Path) -> Settings:
    """The checked settings in `folder` (params).

    Raises:
        ParameterError: no such file, an unknown or mistyped entry, an unknown arm.
    """
    path = folder / NAME
    if not path.exists():
        raise ParameterError(f"{path}: no such file; it holds the settings of the experiment")
    given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    made = completed(given, SETTINGS, str(path), "setting")
    named = [*made["sweep_arms"], *made["curve_arms"]]
    check_arms(named + [one for one in made["rates"] if one not in ("default", "finetune")])
    wrong = [rate for rate in (*made["rates"].values(), *made["sweep_rates"], *made["curve_rates"])
             if not (isinstance(rate, int | float) and 0 < rate < 1)]  # fmt: skip
    if wrong or not {"default", "finetune"} <= made["rates"].keys():
        raise ParameterError(
            f"{path}: rates are numbers between 0 and 1, `default` and `finetune` among them"
            + (f"; got {wrong[0]!r}" if wrong else "")
        )
    return made


def check_arms(names: Sequence[str]) -> None:
    """Refuse names of arms that there are not.

    Raises:
        ParameterError: names the first, and what there is.
    """
    if wrong := [name for name in names if name not in ALL]:
        raise ParameterError(unknown(wrong[0], ALL, "arm"))


def rate_of(arm: str, settings: Mapping[str, Any]) -> float:
    """The peak rate of an arm; 0 for one that is not trained."""
    if arm == arms.BASE or arm in arms.ANSWERERS:
        return 0.0
    kind = "finetune" if arms.find(arm).finetunes else "default"
    return float(settings["rates"].get(arm, settings["rates"][kind]))
