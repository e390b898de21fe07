"""Polls through Ironic's own Redfish power interface, in an environment that holds Ironic; `polling.py` starts it.

Reads one line of JSON on its standard input: the driver_info of each machine, how many sweeps, how many threads, and
whether the password hash of each request is to be left out (`repaired`). Prints CPU milliseconds per warm poll.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from ironic.conf import CONF  # type: ignore[import-not-found]  # only where this program runs
from ironic.drivers.modules.redfish import power  # type: ignore[import-not-found]


def quick_hash(_name: str, password: bytes, salt: bytes, _rounds: int) -> bytes:
    """In place of 600,000 rounds."""
    return hashlib.sha256(password + salt).digest()


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    if asked["repaired"]:
        hashlib.pbkdf2_hmac = quick_hash  # type: ignore[assignment]  # of what Ironic gives it
    CONF([], project="ironic", default_config_files=[])
    driver = power.RedfishPower()
    tasks = [
        SimpleNamespace(
            node=SimpleNamespace(uuid=f"node-{number}", driver="redfish", driver_info=info, driver_internal_info={})
        )
        for number, info in enumerate(asked["driver_info"])
    ]

    def sweep(threads: ThreadPoolExecutor) -> float:
        began = time.process_time()
        assert None not in list(threads.map(driver.get_power_state, tasks))
        return (time.process_time() - began) * 1e3 / len(tasks)

    with ThreadPoolExecutor(asked["threads"]) as threads:
        sweep(threads)
        print(json.dumps(statistics.median(sweep(threads) for _ in range(asked["sweeps"]))))


if __name__ == "__main__":
    main()
