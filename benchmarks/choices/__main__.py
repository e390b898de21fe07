"""What lies behind the choices of docs/adr/0001: each beside what it was chosen over, in the same run.

    python benchmarks/choices            # every part, at most two minutes
    python benchmarks/choices launcher   # one part

Each part runs in an interpreter of its own. Read the ratios: on a shared machine CPU holds, wall time does not. The
part `routing` needs Flask and Pecan: they are installed once into .tox/choices, which may be deleted at any time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = ("launcher", "pool", "poller", "routing", "schemas", "ring", "scrape")
PART_LIMIT_S = 60
FRAMEWORKS = ROOT / ".tox/choices"


def interpreter(part: str) -> str:
    """The Python that a part runs in: this one, unless it needs what the project never installs."""
    if part != "routing":
        return sys.executable
    python = FRAMEWORKS / "bin/python"
    if not (
        FRAMEWORKS / "bin/pecan"
    ).exists():  # what pip installs at its end: an installation that broke off is made again
        venv.create(FRAMEWORKS, with_pip=True)
        falcon = f"falcon=={importlib.metadata.version('falcon')}"
        subprocess.run([str(python), "-m", "pip", "install", "-q", falcon, "flask", "pecan"], check=True, timeout=600)
    return str(python)


def run(part: str) -> list[tuple[str, dict[str, float | str], str]]:
    """The measures of one part: name, values, baseline."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]
    done = subprocess.run(
        [interpreter(part), "-m", f"choices.{part}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=HERE.parent, capture_output=True, text=True, timeout=PART_LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"The part {part} failed:\n{done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def show(part: str, name: str, values: dict[str, float | str], baseline: str) -> None:
    """The table's lines of one measure."""
    print(f"{part:9} {name}")
    divisor = values[baseline]
    for who, value in values.items():
        if isinstance(value, str) or isinstance(divisor, str) or not divisor:
            ratio = ""
        else:
            ratio = "baseline" if who == baseline else f"x {value / divisor:.3g}"
        print(f"{'':12}{who:44}{value if isinstance(value, str) else f'{value:.4g}':>22}   {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all without any")
    wanted = parser.parse_args().parts or PARTS
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: a part is one of {', '.join(PARTS)}.")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    for part in wanted:
        for name, values, baseline in run(part):
            show(part, name, values, baseline)


if __name__ == "__main__":
    main()
