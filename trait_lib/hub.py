"""Rows of a data set on the Hugging Face Hub, read by the `datasets` package.

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
FILE_OF_HUB = "hf://"  # how the datasets package addresses a file there
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
    """Yield the rows of a Hub data set in its own order.

    Its files are fetched one by one, only as many as are read, into the cache of the Hub's own
    package: what was fetched before an interruption is not fetched again.

    Raises:
        HubError: no network, no such data set, configuration or split, or no permission.
    """
    with errors(source):
        builder, split = _builder(source)
        files = list((builder.config.data_files or {}).get(split, []))
        if not all(str(file).startswith(FILE_OF_HUB) for file in files):
            files = []
        for file in files:
            builder.config.data_files = {split: [_fetched(file)]}
            yield from builder.as_streaming_dataset(split)
        if not files:  # local files, or a split that is not there, which this names
            yield from builder.as_streaming_dataset(split)


def _fetched(address: str) -> str:
    """The path of a file in the local cache, downloaded from where a download has stopped."""
    from huggingface_hub import HfFileSystem, hf_hub_download

    place = HfFileSystem().resolve_path(address)
    return hf_hub_download(
        place.repo_id, place.path_in_repo, repo_type=place.repo_type, revision=place.revision
    )


def pieces(source: str) -> tuple[int, str]:
    """How many pieces (files) a data set has, and a hash that changes when its files do.

    Raises:
        HubError: see `read`.
    """
    with errors(source):
        data, version = _stream(source)
    return data.num_shards, version


def tables(source: str, piece: int, of: int, rows: int = 1000) -> Iterator[pa.Table]:
    """Yield the rows of one of `of` pieces as Arrow tables of at most `rows` rows.

    Raises:
        HubError: see `read`; also when the data set no longer has `of` pieces.
    """
    with errors(source):
        data, _ = _stream(source)
        if data.num_shards != of:
            raise HubError(f"{source}: had {of} pieces and now has {data.num_shards}; run again")
        yield from data.shard(of, piece).with_format("arrow").iter(rows)


def _stream(source: str) -> tuple[Any, str]:
    builder, split = _builder(source)
    return builder.as_streaming_dataset(split), str(builder.hash)


def _builder(source: str) -> tuple[Any, str]:
    """What reads a data set, and the split that is asked for.

    Raises:
        HubError: the Hub knows the data set by another name now.
    """
    import datasets  # takes a second, so only where the Hub is used

    name, options = parse(source)
    split = options.pop("split")
    builder = datasets.load_dataset_builder(name, **options)
    if "/" in name and (now := about(name).id) != name:
        raise HubError(
            f"{source}: this data set is called {now} now; write that name into the file of "
            "parameters or the task file, and look whether its columns are still the same"
        )
    return builder, split


def first_row(source: str) -> Row:
    """The first row of a data set, by reading no more than it needs; no file is kept."""
    return next(iter(_stream(source)[0]), {})


def about(name: str) -> Any:
    """What the Hub says of a data set: `id` (its present name), `sha`, `gated` and more."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(name)


@contextmanager
def errors(source: str) -> Iterator[None]:
    """Errors of the Hub as `HubError`s that say what to do."""
    import datasets
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except (datasets.exceptions.DatasetNotFoundError, RepositoryNotFoundError) as error:
        name = parse(source)[0]
        if isinstance(error, GatedRepoError) or "is a gated dataset" in str(error):
            raise HubError(
                f"{source}: this data set is gated: accept its terms on the page of {name} on the "
                "Hub, then `hf auth login`, or set HF_TOKEN in the environment"
            ) from error
        raise HubError(
            f"{source}: the Hub shows no data set {name}: check the spelling, look on the Hub "
            "whether it was renamed or removed, and name another source; a private one needs "
            "`hf auth login`"
        ) from error
    except ConnectionError as error:
        raise HubError(
            f"{source}: the Hugging Face Hub cannot be reached ({error}). Run this where there is "
            "a network, and without HF_HUB_OFFLINE=1, or download the files and name them in place "
            "of the hub:// source (tier local)."
        ) from error
    except (ValueError, OSError, KeyError) as error:
        raise HubError(f"{source}: cannot be read: {error}") from error
