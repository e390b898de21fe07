"""Importing anything starts nothing: no thread, no socket, no option is read, no eventlet."""

from __future__ import annotations

import json
import subprocess  # noqa: TID251  # a fresh interpreter is what is tested
import sys

PROGRAM = """
import json, pkgutil, socket, sys, threading
seen = {"sockets": [], "options": []}
def heard(name, args):
    if name in ("socket.bind", "socket.connect"):
        frame = sys._getframe(1)
        while frame and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        who = frame.f_code.co_filename if frame else "?"
        if "/urllib3/" not in who:  # it asks once, by a socket of its own, whether there is IPv6, and closes it
            seen["sockets"].append(name + " by " + who)
sys.addaudithook(heard)
import ironic_lite
from ironic_lite import config
read = config.Option.__get__
def noted(self, instance, owner):
    seen["options"].append(self.name)
    return read(self, instance, owner)
config.Option.__get__ = noted
modules = [one.name for one in pkgutil.walk_packages(ironic_lite.__path__, "ironic_lite.")
           if "migrations" not in one.name and not one.name.endswith("__main__")]
for name in modules:
    __import__(name)
import os
print(json.dumps(seen | {
    "modules": len(modules),
    "threads": len(os.listdir("/proc/self/task")),
    "banned": [name for name in ("eventlet", "greenlet", "multiprocessing.pool") if sys.modules.get(name)],
    "blocked": [name for name in ("eventlet", "greenlet") if name in sys.modules],
}))
"""


def test_importing_every_module_starts_nothing():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["modules"] > 50
    assert seen["threads"] == 1
    assert seen["sockets"] == []
    assert seen["options"] == []
    assert seen["banned"] == []
    assert seen["blocked"] == ["eventlet", "greenlet"]
