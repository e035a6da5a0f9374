"""What each pinned package offers for other machines: the recorded table, and how it is renewed.

`python -m trait_lib.repo.platforms` (make platforms) asks pip, with whatever index pip is set up
for, which file it would take on each platform; nothing is installed. The table, with the day on
which it was made, is compared with the lock by a test that needs no network.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from trait_lib import ROOT, records

TABLE = ROOT / "tests" / "recorded" / "platforms.csv"
PYTHON = "3.11.5"  # the oldest that the lock can be installed with
GLIBC = [f"manylinux_2_{minor}" for minor in range(5, 40)] + ["manylinux2014"]
PLATFORMS = {
    "linux_x86_64": [f"{libc}_x86_64" for libc in [*GLIBC, "manylinux1", "manylinux2010"]],
    "linux_aarch64": [f"{libc}_aarch64" for libc in GLIBC],
    "macos_arm64": ["macosx_14_0_arm64"],  # pip takes what older systems take, too
    "windows_amd64": ["win_amd64"],
}
# a pinned line of the lock, those of the extras too; not the parts of a model (qwen), mere data
PIN = re.compile(r"^(?:# (?!qwen)\w+: )?([\w.-]+==[\w.+!-]+)$")
MISSING = re.compile(r"No matching distribution found for ([\w.-]+==[\w.+!-]+)")


def pins(lock: Path = ROOT / "requirements.lock") -> list[str]:
    """Every pinned package, those of the extras included, as `name==version`."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(found[1] for line in lines if (found := PIN.match(line))))


def offered(wanted: Sequence[str], tags: Sequence[str]) -> dict[str, str]:
    """What pip would take where `tags` hold: `any` (pure Python), `wheel`, or `none`.

    Raises:
        RuntimeError: pip fails for another reason than a missing wheel; its last lines are told.
    """
    left, found = list(wanted), {}
    while left:
        report, error = _ask(left, tags)
        if report is not None:
            for one in report["install"]:
                about = one["metadata"]
                pure = one["download_info"]["url"].partition("#")[0].endswith("-any.whl")
                key = f"{_canonical(about['name'])}=={about['version'].partition('+')[0]}"
                found[key] = "any" if pure else "wheel"
            break
        if not (lost := MISSING.search(error)) or lost[1] not in left:
            raise RuntimeError("pip: " + "\n".join(error.splitlines()[-5:]))
        found[lost[1]] = "none"
        left.remove(lost[1])
    known = {f"{_canonical(pin.split('==')[0])}=={pin.split('==')[1]}": pin for pin in wanted}
    return {known.get(name, name): kind for name, kind in found.items()}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ask(wanted: Sequence[str], tags: Sequence[str]) -> tuple[dict | None, str]:
    """pip's report on an installation that does not happen, or None and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        given, report = Path(folder, "pins.txt"), Path(folder, "report.json")
        given.write_text("\n".join(wanted), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--no-deps", "--quiet", "--only-binary", ":all:", "--python-version", PYTHON]
        command += ["--implementation", "cp", "--target", folder, "--report", str(report)]
        command += [word for tag in tags for word in ("--platform", tag)]
        done = subprocess.run(
            [*command, "-r", str(given)], capture_output=True, text=True, check=False
        )
        return (json.loads(report.read_text()) if done.returncode == 0 else None), done.stderr


def read(table: Path = TABLE) -> tuple[str, list[dict[str, str]]]:
    """The day of the recorded table, and its rows."""
    first, *lines = table.read_text(encoding="utf-8").splitlines()
    return first.split()[-1], list(csv.DictReader(lines))


def main() -> None:
    """Ask for every platform and write the table."""
    wanted = pins()
    answers = {}
    for name, tags in PLATFORMS.items():
        answers[name] = offered(wanted, tags)
        print(name, {k: list(answers[name].values()).count(k) for k in ("any", "wheel", "none")})
    with records.atomic_path(TABLE) as path, open(path, "w", encoding="utf-8", newline="") as out:
        out.write(f"# what pip finds for Python {PYTHON} without a compiler; make platforms, ")
        out.write(f"{date.today()}\n")
        write = csv.writer(out, lineterminator="\n")
        write.writerow(["package", "version", *PLATFORMS])
        for pin in wanted:
            write.writerow([*pin.split("=="), *(answers[name][pin] for name in PLATFORMS)])


if __name__ == "__main__":
    main()
