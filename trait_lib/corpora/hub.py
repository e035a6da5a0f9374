"""Rows of a data set on the Hugging Face Hub, streamed by the `datasets` package.

A source is one line of text, so that it fits in a flat parameters file:

    hub://HuggingFaceFW/fineweb?name=sample-10BT&split=train&revision=v1.0.0

`name` is the configuration; `revision` pins the data. The package's own file readers are reached
the same way (`hub://parquet?data_files=/data/*.parquet`), without a network.
Not stated in the paper, which mines web corpora of its own; ours because a run must name its data.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from trait_lib.records import Row

PREFIX = "hub://"
OPTIONS = ("name", "split", "revision", "data_files", "data_dir")


class HubError(RuntimeError):
    """A data set of the Hub that cannot be read; the message says what to do."""


def parse(source: str) -> tuple[str, dict[str, str]]:
    """Split `hub://OWNER/NAME?option=value&...` into the data set's name and its options.

    Raises:
        ValueError: no name, or an option that is not one of `OPTIONS`.
    """
    parts = urlsplit(source)
    name = (parts.netloc + parts.path).strip("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme != "hub" or not name:
        raise ValueError(f"{source!r} is not hub://OWNER/NAME?option=value")
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise ValueError(f"{source}: unknown option {unknown[0]!r}; known: {', '.join(OPTIONS)}")
    return name, {"split": "train", **options}


def read(source: str) -> Iterator[Row]:
    """Yield the rows of a Hub data set in its own order, without downloading it whole.

    Raises:
        HubError: no network, no such data set, configuration or split, or no permission.
    """
    import datasets  # takes a second, so only where the Hub is used

    name, options = parse(source)
    try:
        yield from datasets.load_dataset(name, **options, streaming=True)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise HubError(
            f"{source}: the Hub has no such data set, or it needs a login "
            f"(`hf auth login` after accepting its terms): {error}"
        ) from error
    except ConnectionError as error:
        raise HubError(
            f"{source}: the Hugging Face Hub cannot be reached ({error}). Run this where there is "
            "a network, or download the files and name them in place of the hub:// source "
            "(tier local)."
        ) from error
    except (ValueError, OSError, KeyError) as error:
        raise HubError(f"{source}: cannot be read: {error}") from error
