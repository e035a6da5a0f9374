"""Look into a ledger, hand it to others, take one from others.

    python -m trait_lib.teacher totals LEDGER
    python -m trait_lib.teacher export LEDGER FILE      (FILE ends in .jsonl, .jsonl.gz or .zst)
    python -m trait_lib.teacher load LEDGER FILE
    python -m trait_lib.teacher forget LEDGER           (open batches that the server has lost)

With the exported file anyone makes the same passages without a key: parameter `replay` of
notebook 02.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from trait_lib import records
from trait_lib.teacher.ledger import Ledger, LedgerError


def main(arguments: Iterable[str] | None = None) -> None:
    """Do what the command line says; a mistake is told in one line, with exit status 2."""
    parser = argparse.ArgumentParser("python -m trait_lib.teacher", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=["totals", "export", "load", "forget"])
    parser.add_argument("ledger", type=Path, help="ledger.sqlite in the folder of notebook 02")
    parser.add_argument("file", type=Path, nargs="?", help="of rows, for export and load")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if (options.action in ("export", "load")) != (options.file is not None):
        parser.error("export and load need a FILE, the others take none")
    if options.action != "load" and not options.ledger.exists():
        parser.error(f"{options.ledger}: no such ledger")
    try:
        _act(options)
    except (LedgerError, records.BadRow, OSError) as error:
        parser.error(str(error))


def _act(options: argparse.Namespace) -> None:
    with Ledger(options.ledger) as ledger:
        if options.action == "export":
            print(f"{ledger.export(options.file)} requests written to {options.file}")
        elif options.action == "load":
            print(f"{ledger.load(options.file)} requests taken from {options.file}")
        elif options.action == "forget":
            print(f"{ledger.forget_batches()} open batches given up")
        else:
            for name, value in ledger.totals().items():
                print(f"{name:18} {value:,}")


if __name__ == "__main__":
    sys.exit(main())
