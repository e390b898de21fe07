"""A commit as its users would have it: a wheel in an environment of its own, kept under .tox/regression.

The key is the tree, not the commit: what is the same is built once. The directory may be deleted at any time.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import venv
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / ".tox/regression"


class Build(NamedTuple):
    """One side of the comparison."""

    name: str
    python: Path

    def environment(self) -> dict[str, str]:
        """Ours, but for what would make it import the working tree."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_"))}


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def head() -> str:
    """The working tree as a commit, with what is not committed yet in files that git knows."""
    return git("stash", "create") or git("rev-parse", "HEAD")


def default_base() -> str:
    """Where this branch left `main`; on `main` itself the commit before, or the last one if there is more by now."""
    here = git("rev-parse", "HEAD")
    left = git("merge-base", "HEAD", "main")
    if left != here:
        return left
    return here if head() != here else git("rev-parse", "HEAD^")


def build(name: str, commit: str) -> Build:
    """The environment of a commit; made where it is missing, which takes a minute. Raises `CalledProcessError`."""
    directory = KEPT / git("rev-parse", f"{commit}^{{tree}}")
    python = directory / "bin/python"
    done = directory / "built"
    if not done.exists():
        shutil.rmtree(directory, ignore_errors=True)
        source = directory / "source"
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(source, filter="data")
        venv.create(directory, with_pip=True)
        made = Build(name, python)
        subprocess.run([python, "-m", "pip", "install", "-qq", str(source)], check=True, env=made.environment())
        shutil.rmtree(source)
        done.touch()
    return Build(name, python)
