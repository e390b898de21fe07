"""Whether head costs more than base: both built, measured in turns in one run, compared.

    tox -e regression -- [BASE_REF] [--rounds 7] [--only executor --only idle]

BASE_REF is a commit; without it, where this branch left `main`, or on `main` the commit before. Head is the working
tree. The exit code is 0 when nothing is worse than its bound, 1 when something is, or when head cannot be measured. How
the figures are compared: `comparison.py`. What is measured: `scenarios.py`, a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from regression.builds import Build, build, default_base, git, head
from regression.comparison import Comparison, compare, table
from regression.scenarios import SCENARIOS, Scenario, Values

LEAST_ROUNDS: Final = 5


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="regression", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", nargs="?", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=7, help=f"at least {LEAST_ROUNDS}; one more warms up")
    parser.add_argument("--only", action="append", choices=[one.name for one in SCENARIOS], help="may be repeated")
    read = parser.parse_args(given)
    if read.rounds < LEAST_ROUNDS:
        parser.error(f"fewer than {LEAST_ROUNDS} rounds say nothing")
    return read


def measure(scenario: Scenario, sides: Sequence[Build], rounds: int) -> list[list[Values]]:
    """The values of each side by round. Who comes first changes from round to round; the first round warms up.

    Raises what the scenario raises, with the build's name noted.
    """
    found: list[list[Values]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        order = list(range(len(sides)))
        for number in order if turn % 2 else reversed(order):
            try:
                values = scenario.measure(sides[number])
            except Exception as exc:
                exc.add_note(sides[number].name)
                raise
            if turn:
                found[number].append(values)
    return found


def compared(scenario: Scenario, measured: list[list[Values]]) -> list[Comparison]:
    base, head = measured
    return [
        compare(figure, [one[figure.name] for one in base], [one[figure.name] for one in head])
        for figure in scenario.figures
    ]


def run(base: Build, head: Build, scenarios: Sequence[Scenario], rounds: int) -> int:
    """Measure, tell, and judge: the exit code."""
    comparisons: list[Comparison] = []
    broken = False
    for scenario in scenarios:
        try:
            comparisons += compared(scenario, measure(scenario, (base, head), rounds))
        except Exception as exc:  # noqa: BLE001  # whatever a build lacks
            of_base = base.name in getattr(exc, "__notes__", [])
            print(f"{scenario.name}: the {'base' if of_base else 'head'} cannot be measured: {exc}")
            broken |= not of_base
        else:
            print(f"{scenario.name}: measured", flush=True)
    print(table(comparisons))
    worse = [one.figure.name for one in comparisons if one.is_worse]
    print(f"Worse than base beyond the bound: {', '.join(worse)}." if worse else "Nothing is worse beyond its bound.")
    return int(bool(worse) or broken)


def main(given: Sequence[str]) -> int:
    read = arguments(given)
    scenarios = [one for one in SCENARIOS if not read.only or one.name in read.only]
    commits = {"base": git("rev-parse", "--verify", f"{read.base or default_base()}^{{commit}}"), "head": head()}
    for name, commit in commits.items():
        print(f"{name}: {git('log', '-1', '--format=%h %s', commit)}", flush=True)
    base, new = (build(name, commit) for name, commit in commits.items())
    return run(base, new, scenarios, read.rounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
