"""Rows of a data set on the Hugging Face Hub, streamed by the `datasets` package.

A source is one line of text, so that it fits in a flat parameters file:

    hub://HuggingFaceFW/fineweb?name=sample-10BT&split=train&revision=v1.0.0

`name` is the configuration; `revision` pins the data. The package's own file readers are reached
the same way (`hub://parquet?data_files=/data/*.parquet`), without a network.
Not stated in the paper, which mines web corpora of its own; ours because a run must name its data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa

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
    with _named(source):
        yield from _stream(source)[0]


def pieces(source: str) -> tuple[int, str]:
    """How many pieces (files) a data set has, and a hash that changes when its files do.

    Raises:
        HubError: see `read`.
    """
    with _named(source):
        data, version = _stream(source)
    return data.num_shards, version


def tables(source: str, piece: int, of: int, rows: int = 1000) -> Iterator[pa.Table]:
    """Yield the rows of one of `of` pieces as Arrow tables of at most `rows` rows.

    Raises:
        HubError: see `read`; also when the data set no longer has `of` pieces.
    """
    with _named(source):
        data, _ = _stream(source)
        if data.num_shards != of:
            raise HubError(f"{source}: had {of} pieces and now has {data.num_shards}; run again")
        yield from data.shard(of, piece).with_format("arrow").iter(rows)


def _stream(source: str) -> tuple[Any, str]:
    import datasets  # takes a second, so only where the Hub is used

    name, options = parse(source)
    split = options.pop("split")
    builder = datasets.load_dataset_builder(name, **options)
    return builder.as_streaming_dataset(split), str(builder.hash)


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Errors of the Hub as `HubError`s that say what to do."""
    import datasets

    try:
        yield
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
