"""Which document belongs to which part of a corpus: by a hash, so that every machine agrees.

A document's group (the book or page it was cut from) decides, so that no held-out text has a
sibling in a training text. Not stated in the paper; ours because bits per byte on held-out text
mean nothing when the next page of the same book was trained on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

from trait_lib import contamination
from trait_lib.reading.where import matches, parse
from trait_lib.records import Row

PARTS = ("pool", "general", "heldout_domain", "heldout_general", "left_out")


def share(key: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on `key` and `salt` only, evenly spread over keys."""
    digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def sample(rows: Iterable[Row], count: int, salt: str = "") -> list[Row]:
    """`count` rows (0: all) chosen by the hash of their id, in their first order.

    A row's chance does not depend on the other rows, so two runs over a grown file agree on
    nearly all of them.
    """
    rows = list(rows)
    if not count or count >= len(rows):
        return rows
    ranked = sorted(range(len(rows)), key=lambda i: (share(rows[i]["id"], salt), i))
    return [rows[i] for i in sorted(ranked[:count])]


def group(row: Row, group_field: str) -> str:
    """What a document was cut from: its group field, the document it is a piece of, or itself."""
    return str(row.get(group_field) or row.get("whole") or row["id"])


def divide(
    documents: Iterable[Row],
    *,
    group_field: str,
    heldout_share: float,
    general_share: float,
    domain_where: Sequence[str],
    general_where: Sequence[str],
    salt: str = "",
) -> Iterator[tuple[str, Row]]:
    """Yield (part, document): the pool to mine, general text, and text that is held out.

    Of the groups a share `heldout_share` leaves the pool for good: their documents are held-out
    domain text, held-out general text, or left out when they meet neither condition. Of the
    other groups a share `general_share` gives its documents that meet `general_where` to the
    general text. What remains is the pool, and no condition touches that. An empty
    `general_where` holds for every document, an empty `domain_where` for none. A document
    without the field `group_field` is a group of its own.
    """
    domain, general = parse(domain_where), parse(general_where)
    for row in documents:
        at = share(group(row, group_field), salt)
        if at < heldout_share:
            part = "heldout_general" if matches(row, general) else "left_out"
            part = "heldout_domain" if domain and matches(row, domain) else part
        elif at < heldout_share + general_share and matches(row, general):
            part = "general"
        else:
            part = "pool"
        yield part, row


def drop_contaminated(
    rows: Iterable[Row],
    index: contamination.Index,
    found: Counter[str],
    text: Callable[[Row], str] = itemgetter("text"),
) -> Iterator[Row]:
    """Pass on the rows in whose `text` no test question stands; count others by id in `found`."""
    for row in rows:
        hits = contamination.hits(text(row), index)
        if hits:
            found[row["id"]] = len(hits)
        else:
            yield row
