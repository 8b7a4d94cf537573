"""Mutation testing from the command line: ``python -m tests.mutants fences``. docs/testing.md has the guarantees and the results."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Sequence

from tests.mutants.mutant import Mutant, mutants
from tests.mutants.place import Guarantee, guarantees
from tests.mutants.runner import Result, SelectionFails, Verdict, copies, run


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    known = guarantees()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"guarantees, default all: {', '.join(known)}")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run nothing")
    found = parser.parse_args(given)
    if unknown := [name for name in found.names if name not in known]:
        parser.error(f"no guarantee {', '.join(unknown)}: name some of {', '.join(known)}")
    found.chosen = [known[name] for name in found.names or known]
    return found


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    todo = [(each.name, mutant) for each in options.chosen for place in each.places for mutant in mutants(place)]
    if options.list:
        for name, mutant in todo:
            print(f"{name}  {mutant.place.where}  {mutant.name}")
        return 0
    try:
        results = _run(todo)
    except ExceptionGroup as several:
        if (failing := several.subgroup(SelectionFails)) is None:
            raise
        print("\n".join(str(each) for each in failing.exceptions))
        return 2
    print(table(options.chosen, results))
    survivors = [each for each in results if each.verdict is Verdict.SURVIVED]
    for each in survivors:
        print(f"\nno test of {each.guarantee} fails for this change:\n{each.mutant.diff}")
    return 1 if survivors else 0


def _run(todo: Sequence[tuple[str, Mutant]]) -> list[Result]:
    numbers = itertools.count(1)

    def report(result: Result) -> None:
        shown = f"{result.guarantee}  {result.mutant.place.where}  {result.mutant.name}  {result.by}".rstrip()
        print(f"{next(numbers)}/{len(todo)}  {result.verdict:8}  {shown}", flush=True)

    with copies() as trees:
        return asyncio.run(run(trees, todo, report))


def table(chosen: Sequence[Guarantee], results: Sequence[Result]) -> str:
    """The counts of each guarantee, as docs/testing.md has them."""
    lines = [
        "",
        "| guarantee | mutants | killed | killed by time | survived | equivalent |",
        "|---|---|---|---|---|---|",
    ]
    for guarantee in chosen:
        counts = Counter(each.verdict for each in results if each.guarantee == guarantee.name)
        equal = sum(len(one.mutants) for place in guarantee.places for one in place.equivalents)
        numbers = [counts.total(), counts[Verdict.KILLED], counts[Verdict.TIMEOUT], counts[Verdict.SURVIVED], equal]
        lines.append(f"| {guarantee.what} (`{guarantee.name}`) | {' | '.join(f'{n:,}' for n in numbers)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
