"""The processes and the threads' core on every interpreter that is here, each in an environment of its own.

    tox -e proof-interpreters             # 3.11 to 3.14: those that are there, the absent ones by name
    tox -e proof-interpreters -- 3.13     # one of them

Interpreters are looked for in PATH (`python3.N`) and among pyenv's. Nothing is installed but our wheel's own needs.
The small size is `tox` itself, on the one interpreter that it has.
"""

from __future__ import annotations

import os
import shutil
import subprocess  # noqa: TID251  # each interpreter is a program
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TESTS = ("tests/unit/executors", "tests/unit/web", "tests/unit/launcher", "tests/functional/launcher",
         "tests/functional/test_processes.py", "tests/functional/test_service.py")  # fmt: skip
PARTS = "test,postgresql,mysql"
LIMIT_S = 1800


def found(version: str) -> Path | None:
    """An interpreter of that version that runs, the newest of pyenv's last."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python{version}")
    for candidate in ([Path(named)] if named else []) + sorted(kept.glob(f"{version}.*/bin/python3"), reverse=True):
        asked = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        if told.stdout.strip() == version:
            return candidate
    return None


def proven(python: Path, directory: Path) -> str:
    """The last line of the tests' answer. Raises `CalledProcessError`."""
    inside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_"))}
    subprocess.run([python, "-m", "venv", directory], check=True, timeout=LIMIT_S, env=inside)
    ours = str(directory / "bin/python")
    subprocess.run([ours, "-m", "pip", "install", "-qq", f"{ROOT}[{PARTS}]"], check=True, timeout=LIMIT_S, env=inside)
    argv = [ours, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=inside | {"PYTHONPATH": "."}
    )
    if done.returncode:
        print(done.stdout[-8000:], done.stderr[-2000:])
        raise subprocess.CalledProcessError(done.returncode, argv)
    last: str = done.stdout.strip().splitlines()[-1]
    return last


def main(*wanted: str) -> int:
    code = 0
    for version in wanted or VERSIONS:
        python = found(version)
        if python is None:
            print(f"{version}: absent", flush=True)
            continue
        with tempfile.TemporaryDirectory() as directory:
            try:
                print(f"{version} ({python}): {proven(python, Path(directory))}", flush=True)
            except subprocess.CalledProcessError as exc:
                print(f"{version} ({python}): failed with {exc.returncode}", flush=True)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
