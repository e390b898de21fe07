"""What both services hold when they idle, told by an interpreter that has run nothing else: a directory's path in, JSON
with the names of threads and modules out, `late` those modules that came after the moment of the fork."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from ironic_lite import commands, config, options  # noqa: F401  # commands: what every process imports
from ironic_lite.api.process import ApiService
from ironic_lite.cluster.transport import Credentials
from ironic_lite.conductor.process import ConductorService
from ironic_lite.db import migrate
from ironic_lite.db.engine import database_url
from ironic_lite.launcher.once import run_once
from ironic_lite.web.listeners import listen


def main(directory: Path) -> None:
    options.declare()
    config.load([], program="test", files=[])
    config.CONF.set_override("state_path", str(directory))
    run_once("The upgrade", lambda: migrate.upgrade(database_url()), 60)
    credentials = Credentials("test", "test")
    conductor = ConductorService(listen("127.0.0.1", 0), credentials, 10).prepare()
    api = ApiService(listen("127.0.0.1", 0), credentials, grace_s=1).prepare()
    shared = {*sys.modules}
    conductor.start()
    api.start()
    found = {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "modules": sorted(sys.modules),
        "late": sorted(sys.modules.keys() - shared),
    }
    api.stop()
    conductor.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
