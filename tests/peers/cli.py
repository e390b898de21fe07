"""The unmodified `baremetal` command, as an operator types it."""

from __future__ import annotations

import json
import os
import subprocess  # noqa: TID251  # the command itself is what is tested
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = Path(sys.executable).with_name("baremetal")
TIMEOUT_S: Final = 120


@dataclass(frozen=True)
class Cli:
    """`baremetal` against one service, without login."""

    url: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return subprocess.run(
            [str(PROGRAM), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": self.url},
        )

    def does(self, *arguments: str) -> str:
        """A command that goes well; what it prints."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def shows(self, *arguments: str) -> Any:
        """A command that goes well and shows something."""
        return json.loads(self.does(*arguments, "-f", "json"))

    def fails(self, *arguments: str) -> str:
        """A command that is refused; the one line that says why."""
        done = self.run(*arguments)
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        [line] = done.stderr.strip().splitlines()
        return line
