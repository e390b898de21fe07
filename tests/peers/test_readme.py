"""The README's first machine, typed as printed: only the two ports differ, for others may run beside this test."""

from __future__ import annotations

import os
import re
import subprocess  # noqa: TID251  # the README's own commands are what is tested
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.service import free_port, service
from tests.waiting import until

README = Path(__file__).parents[2] / "README.md"
BINARIES = Path(sys.executable).parent
TIMEOUT_S = 100


def blocks() -> tuple[str, str]:
    """What starts the parts, and what is typed then."""
    text = README.read_text()
    marked = re.search(r"```sh\n([^`]*sushy-emulator[^`]*)```.*?<!-- [^>]* -->\n```sh\n([^`]*)```", text, re.DOTALL)
    assert marked, "The README has lost its first machine."
    return marked[1], marked[2]


@contextmanager
def emulator(command: str, directory: Path) -> Iterator[None]:
    argv = [str(BINARIES / "sushy-emulator"), *command.split()[1:]]
    with (directory / "emulator.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory)
    try:
        until(lambda: "Running on" in (directory / "emulator.log").read_text(), 30)
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_the_first_machine_is_enrolled_and_powered_as_printed(tmp_path: Path):
    starting, typed = blocks()
    found = re.search(r"\.venv/bin/(sushy-emulator .*) &", starting)
    assert found
    port = free_port()
    with emulator(found[1].replace("8000", str(port)), tmp_path), service(tmp_path / "service") as running:
        lines = typed.replace("127.0.0.1:6385", running.url.removeprefix("http://")).replace(":8000", f":{port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines],
            env={**os.environ, "PATH": f"{BINARIES}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\| provision_state +\| manageable", done.stdout)
        until(lambda: running.get("/v1/nodes/box")["power_state"] == "power on", 30)
        assert running.get("/v1/nodes/box")["last_error"] is None
