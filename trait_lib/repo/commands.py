"""What the Makefile asks of the library: `python -m trait_lib COMMAND --help`.

The notebooks are run by papermill, which stands in the Makefile's recipe; these commands say
whether a notebook has to run, keep its record, and show what came out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trait_lib import ROOT, params, run
from trait_lib.repo import chain

Arguments = argparse.Namespace


def values_of(stage: str, args: Arguments) -> chain.Values:
    """The parameters of `stage` for the run that the command line names."""
    seed = int(args.seed) if args.seed.isdecimal() else args.seed  # else `resolve` explains
    given = {"domain": args.domain, "tier": args.tier, "seed": seed, "arm": args.arm}
    if args.data:
        given["data_dir"] = str(Path(args.data).resolve())
    file = (ROOT / args.params).resolve() / args.domain / args.tier / f"{stage}.yaml"
    values = chain.resolve(stage, file, given)
    from_file = params.read_file(file)
    for name in ("domain", "tier"):
        if from_file.get(name, values[name]) != given[name]:
            raise params.ParameterError(f"{file}: {name} must be {given[name]}, as in its path")
    return values


def check(args: Arguments) -> None:
    """Check the parameters of all notebooks before the first one runs."""
    for stage in run.STAGES:
        values_of(stage, args)


def begin(args: Arguments) -> None:
    """Print why the stage has to run, or nothing when its last run stands."""
    values = values_of(args.stage, args)
    if reason := chain.why_stale(args.stage, values):
        chain.start(args.stage, values)
        print(reason)


def end(args: Arguments) -> None:
    """Record a run that has succeeded and render its notebook."""
    from trait_lib.repo import pages

    values = values_of(args.stage, args)
    chain.finish(args.stage, values)
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

    print(what.of_run(values_of(run.STAGES[-1], args)))


def committed(_args: Arguments) -> None:
    """Refuse to go on when files differ from the last commit."""
    from trait_lib.repo import publish as publisher

    publisher.refuse_changes()


def picture(_args: Arguments) -> None:
    """Draw the method again: figures/method.svg and the second cell of each notebook."""
    from trait_lib.repo import picture as drawing

    print("\n".join(run.on_this_machine(path) for path in drawing.write()))


def publish(args: Arguments) -> None:
    """Refresh the committed notebooks and figures from a finished run."""
    from trait_lib.repo import publish as publisher

    changed = publisher.publish({stage: values_of(stage, args) for stage in run.STAGES})
    print("changed:", ", ".join(run.on_this_machine(path) for path in changed) or "no notebook")


COMMANDS = {
    f.__name__: f for f in (check, begin, end, fail, html, report, committed, picture, publish)
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
        one.add_argument("--domain", default="math")
        one.add_argument("--tier", default="replica")
        one.add_argument("--arm", default="trait")
        one.add_argument("--seed", default="0")
        one.add_argument("--data", default="", help="folder of your own files (tier local)")
        one.add_argument("--params", default="params", help="folder of the parameters files")
    return top


def main() -> None:
    """Run one command; a user's mistake is one clear line, not a traceback."""
    args = parser().parse_args()
    try:
        COMMANDS[args.command](args)
    except (params.ParameterError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f"error: {error}")
