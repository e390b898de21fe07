"""The unit tests again and again, each time in another random order. Ends at the first failure.

    tox -e proof-random-order           # seeds 1 to 50
    tox -e proof-random-order -- 7 7    # seed 7 alone

The small size is one seed.
"""

from __future__ import annotations

import subprocess  # noqa: TID251  # each order gets an interpreter of its own
import sys


def main(first: int = 1, last: int = 50) -> int:
    for seed in range(first, last + 1):
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--order-seed={seed}", "tests/unit"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        print(f"seed {seed}: {done.stdout.strip().splitlines()[-1]}", flush=True)
        if done.returncode:
            print(done.stdout[-8000:], done.stderr[-2000:])
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
