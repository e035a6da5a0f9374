"""What the Makefile asks of the library: `python -m trait_lib COMMAND --help`.

The notebooks are run by papermill, which stands in the Makefile's recipe; these commands say
whether a notebook has to run, keep its record, and show what came out.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
from pathlib import Path

from trait_lib import params, run
from trait_lib.repo import chain

Arguments = argparse.Namespace
LEFT_OUT = 3  # the exit code of `begin` where the stage has nothing to do among dry runs


def values_of(stage: str, args: Arguments) -> chain.Values:
    """The parameters of `stage` for the run that the command line names."""
    seed = int(args.seed) if args.seed.isdecimal() else args.seed  # else `resolve` explains
    given = {"domain": args.domain, "tier": args.tier, "seed": seed, "arm": args.arm}
    if args.data:
        given["data_dir"] = str(Path(args.data).resolve())
    file = params.find(f"{args.domain}/{args.tier}/{stage}.yaml")
    values = chain.resolve(stage, file, given)
    from_file = params.read_file(file)
    for name in ("domain", "tier"):
        if from_file.get(name, values[name]) != given[name]:
            raise params.ParameterError(f"{file}: {name} must be {given[name]}, as in its path")
    return values


def wait_for_turn(lock: int, stage: str) -> None:
    """Take the lock on an open file, and say so when another run has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{stage}: another make is at it; waiting for its end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass


def why_left_out(stage: str, args: Arguments) -> str:
    """Why a stage is not to run among dry runs, in words, or ""."""
    values = values_of(stage, args)
    if chain.is_dry(values):
        return chain.why_no_dry_run(stage, values)
    before = run.STAGES[: run.STAGES.index(stage)]
    dry = [one for one in before if chain.is_dry(values_of(one, args))]
    return f"{dry[0]} is a dry run" if dry else ""


def check(args: Arguments) -> None:
    """Check all that the notebooks will need, and the plan, before the first one runs."""
    from trait_lib.repo import bill, ready

    refuse_unknown(args.domain, args.tier)
    values = {stage: values_of(stage, args) for stage in run.STAGES}
    if lacks := ready.problems(values):
        raise params.ParameterError("\n       ".join(lacks))
    bill.refuse(values, params.folders()[0])


def refuse_unknown(domain: str, tier: str) -> None:
    """Raise `ParameterError` where no folder of parameters has the domain or the tier."""
    if params.find(f"{domain}/{tier}").is_dir():
        return
    files = [f for top in params.folders() for f in top.glob(f"*/*/{run.STAGES[0]}.yaml")]
    there = sorted({(f.parents[1].name, f.parent.name) for f in files})
    tiers = [name for other, name in there if other == domain]
    known = (
        f"TIER is one of: {', '.join(tiers)}"
        if tiers
        else (f"DOMAIN is one of: {', '.join(dict.fromkeys(other for other, _ in there))}")
    )
    where = run.on_this_machine(params.folders()[0] / domain / tier)
    raise params.ParameterError(f"no parameters in {where!r}; {known}")


def plan(args: Arguments) -> None:
    """Print the whole bill before anything is spent; needs no stage finished."""
    from trait_lib.repo import bill

    refuse_unknown(args.domain, args.tier)
    values = {stage: values_of(stage, args) for stage in run.STAGES}
    print(bill.text(values, params.folders()[0]))
    bill.refuse(values, params.folders()[0])


def begin(args: Arguments) -> None:
    """Print why the stage has to run, or nothing when its last run stands.

    `--lock` is the number of a file that the caller has opened and keeps open while the stage
    runs: who comes second waits here, and then finds the stage done.
    """
    values = values_of(args.stage, args)
    if args.lock is not None:
        wait_for_turn(args.lock, args.stage)
    if why := why_left_out(args.stage, args):
        print(f"{args.stage}: left out, since {why}", file=sys.stderr)
        sys.exit(LEFT_OUT)
    if reason := chain.why_stale(args.stage, values):
        chain.start(args.stage, values)
        print(reason)


def end(args: Arguments) -> None:
    """Record a run that has succeeded and render its notebook."""
    from trait_lib.repo import pages

    values = values_of(args.stage, args)
    done = chain.finish(args.stage, values)
    if chain.is_dry(values):
        print(f"{args.stage}: a dry run, its plan is in {run.on_this_machine(done)}")
        return
    print(f"{args.stage}: {chain.cost(args.stage, values)}")
    pages.write_page(args.stage, values)
    pages.write_index(values)


def fail(args: Arguments) -> None:
    """Keep and name a notebook that failed, and print its error."""
    values = values_of(args.stage, args)
    print("\n" + chain.fail(args.stage, values), file=sys.stderr)

    from trait_lib.repo import pages

    pages.write_index(values)
    sys.exit(1)


def html(args: Arguments) -> None:
    """Render the executed notebooks of a run again."""
    from trait_lib.repo import pages

    for stage in run.STAGES:
        values = values_of(stage, args)
        if chain.notebook_of_run(stage, values).exists():
            print(run.on_this_machine(pages.write_page(stage, values)))
    print(run.on_this_machine(pages.write_index(values)))


def report(args: Arguments) -> None:
    """Print the comparison of a finished run and where its pages are."""
    from trait_lib.repo import report as what

    dry = [stage for stage in run.STAGES if chain.is_dry(values_of(stage, args))]
    if dry:
        print(f"no comparison: {', '.join(dry)} with dry_run: true")
    else:
        print(what.of_run(values_of(what.LAST, args)))


def committed(_args: Arguments) -> None:
    """Refuse to go on when files differ from the last commit."""
    from trait_lib.repo import publish as publisher

    publisher.refuse_changes()


def picture(_args: Arguments) -> None:
    """Draw the method again: figures/method.svg and the second cell of each notebook."""
    from trait_lib.repo import picture as drawing

    print("\n".join(run.on_this_machine(path) for path in drawing.write()))


def refresh(_args: Arguments) -> None:
    """Bring the claims card, README's tables and all bound numbers up to date."""
    from trait_lib.repo.numbers import refresh as refreshing
    from trait_lib.repo.numbers import stray

    changed = refreshing.all_texts()
    print("changed:", ", ".join(map(run.on_this_machine, changed)) or "nothing")
    if loose := [one for path in refreshing.marks.texts() for one in stray.of_file(path)]:
        raise RuntimeError("numbers without key or mark:\n" + "\n".join(loose))


def publish(args: Arguments) -> None:
    """Refresh the committed notebooks and figures from a finished run."""
    from trait_lib.repo import publish as publisher
    from trait_lib.repo.numbers import refresh as refreshing

    values = {stage: values_of(stage, args) for stage in run.STAGES}
    changed = publisher.publish(values)
    refreshing.keep_run(values)
    changed += [path for path in refreshing.all_texts() if path not in changed]
    print("changed:", ", ".join(run.on_this_machine(path) for path in changed) or "no notebook")


COMMANDS = {
    f.__name__: f
    for f in (check, plan, begin, end, fail, html, report, committed, picture, publish, refresh)
}
OF_ONE_STAGE = (begin, end, fail)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m trait_lib", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        one = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        if function in OF_ONE_STAGE:
            one.add_argument("stage", choices=run.STAGES)
        if function is begin:
            one.add_argument("--lock", type=int, help="number of an open file; see above")
        one.add_argument("--domain", default="math")
        one.add_argument("--tier", default="replica")
        one.add_argument("--arm", default="trait")
        one.add_argument("--seed", default="0")
        one.add_argument("--data", default="", help="folder of your own files")
    return top


def main() -> None:
    """Run one command; a user's mistake is one clear line, not a traceback."""
    args = parser().parse_args()
    try:
        COMMANDS[args.command](args)
    except (params.ParameterError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f"error: {error}")
