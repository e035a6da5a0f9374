"""nbval compares numbers within the tolerance that a cell states, and all else exactly.

A cell whose first line is `# equal within 0.1` may print other numbers than the committed ones:
by 0.1 where the committed one is below 1 in size, by a tenth of it above. The words, the number of
numbers and their order must be the same; blanks and rules of tables, which follow the width of
numbers, are not looked at. Loaded by `make test-notebooks` (`-p tests.nbval_tolerance`).
"""

import re

from nbval.plugin import IPyNbCell

MARK = re.compile(r"# equal within (\d+\.\d+)\n")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
LAYOUT = re.compile(r"\s+|-{4,}")
EXACT = IPyNbCell.compare_outputs


def tolerance(source):
    """What a cell's first line allows; None: nothing."""
    mark = MARK.match(source)
    return float(mark[1]) if mark else None


def settled(text, reference, allowed):
    """The reference, if `text` is equal to it within `allowed`; else the text as it is."""
    found, wanted = NUMBER.findall(text), NUMBER.findall(reference)
    words = [LAYOUT.sub("", NUMBER.sub("#", one)) for one in (text, reference)]
    if words[0] != words[1] or len(found) != len(wanted):
        return text
    pairs = [[float(n.replace(",", "")) for n in pair] for pair in zip(found, wanted, strict=True)]
    return reference if all(abs(a - b) <= allowed * max(1, abs(b)) for a, b in pairs) else text


def _texts(output):
    return output.get("data", output)


def compare_outputs(cell, test, ref, skip_compare=None):
    """As nbval does it, after numbers within the cell's tolerance are taken for equal."""
    allowed = tolerance(cell.cell.source)
    if allowed is not None and len(test) == len(ref):
        for new, old in zip(test, ref, strict=True):
            for key, value in _texts(new).items():
                before = _texts(old).get(key)
                if isinstance(value, str) and isinstance(before, str) and key[:5] != "image":
                    _texts(new)[key] = settled(value, before, allowed)
    return EXACT(cell, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs
