"""A launcher with two small services, for tests to start, watch and kill.

usage: program.py JOURNAL KEY=VALUE...
JOURNAL gets one line for each thing that happens: the process, its role, what. Keys: mode (supervise, alone,
once), start (fork, exec), workers, grace_s, drain_s, fail (role that cannot start), hang (role whose stop does not
end), threads (start one before forking), config (a file of options).
The conductor is busy for as long as there is a file "JOURNAL.busy", a role stuck with "JOURNAL.stuck-ROLE".
"""

from __future__ import annotations

import os
import sys

import ironic_lite  # noqa: F401  # blocks eventlet
from ironic_lite.launcher import signals

signals.hold()
JOURNAL = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
OPTIONS = dict(argument.split("=", 1) for argument in sys.argv[2:])


def journal(role: str, what: str) -> None:
    os.write(JOURNAL, f"{os.getpid()} {role} {what}\n".encode())


journal("launcher", "held")

import socket  # noqa: E402  # signals are held before the heavy imports
import subprocess  # noqa: E402, TID251  # makes orphans
import threading  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ironic_lite import config, errors, log  # noqa: E402
from ironic_lite.launcher import child, notify  # noqa: E402
from ironic_lite.launcher.alone import run_alone  # noqa: E402
from ironic_lite.launcher.handover import Program, receive  # noqa: E402
from ironic_lite.launcher.once import run_once  # noqa: E402
from ironic_lite.launcher.service import ChildSpec, Limits  # noqa: E402
from ironic_lite.launcher.supervisor import Supervisor  # noqa: E402
from ironic_lite.web.listeners import listen  # noqa: E402
from ironic_lite.web.server import Server  # noqa: E402

NEVER = threading.Event()
SECRET = "do-not-" + "tell-7"
LIMITS = Limits(
    stop_s=int(OPTIONS.get("grace_s", 20)), drain_s=int(OPTIONS.get("drain_s", 20)), watchdog_s=notify.watchdog_s()
)


class Journalled:
    role = ""

    def start(self) -> None:
        loaded = [name for name in ("eventlet", "greenlet") if sys.modules.get(name) is not None]
        told = [name for name in ("NOTIFY_SOCKET", "LISTEN_FDS") if name in os.environ]
        journal(self.role, f"facts eventlet={loaded} told={told} stack={threading.stack_size()}")
        if OPTIONS.get("fail") == self.role:
            raise errors.ConfigurationError(reason="The option [test]fail forbids a start.")
        self.serve()
        journal(self.role, "started")

    def serve(self) -> None: ...

    def stop(self) -> None:
        journal(self.role, "stopping")
        if OPTIONS.get("hang") == self.role:
            NEVER.wait()

    def wait(self) -> None:
        journal(self.role, "stopped")

    def reset(self) -> None:
        journal(self.role, "reset")

    def drain(self) -> None:
        journal(self.role, "draining")

    def is_busy(self) -> bool:
        return False

    def moves(self) -> bool:
        return not Path(f"{sys.argv[1]}.stuck-{self.role}").exists()

    def keep_registration(self) -> None:
        journal(self.role, "keeps")


class Api(Journalled):
    role = "api"

    def __init__(self, listener: socket.socket) -> None:
        self.server = Server("api", listener, self.answer, threads=4)

    def serve(self) -> None:
        self.server.start()

    def stop(self) -> None:
        super().stop()
        journal(self.role, f"drained {self.server.drain(10.0)}")

    def moves(self) -> bool:
        return super().moves() and self.server.moves()

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            journal(self.role, "request")
            NEVER.wait(1.0)
        if environ["PATH_INFO"] == "/orphan":
            subprocess.run(["sh", "-c", "sleep 0.1 & exec true"], check=True)
        body = str(os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


class Conductor(Journalled):
    role = "conductor"

    def serve(self) -> None:
        links = [link for link in Path("/proc/self/fd").iterdir() if int(link.name) > 2]
        sockets = [link for link in links if link.is_socket()]
        journal(self.role, f"sockets {len(sockets)}")

    def is_busy(self) -> bool:
        return Path(f"{sys.argv[1]}.busy").exists()


def migrate() -> None:
    journal("migration", "done")
    if OPTIONS.get("fail") == "migration":
        raise errors.ConfigurationError(reason="The schema is from the future.")
    if OPTIONS.get("hang") == "migration":
        NEVER.wait()


def supervise(listener: socket.socket) -> int:
    workers = int(OPTIONS.get("workers", 1))
    children = [
        ChildSpec("conductor", Conductor, stop_stage=1),
        *(
            ChildSpec(f"api-{number + 1}" if workers > 1 else "api", lambda: Api(listener), (listener,))
            for number in range(workers)
        ),
    ]
    program = Program(lambda pipe: [sys.executable, *sys.argv, f"child={pipe}"], SECRET)
    return Supervisor(children, LIMITS, program=program if OPTIONS.get("start") == "exec" else None).run()


def handed_over(number: str) -> int:
    """A child that was started by exec."""
    handover = receive(number)
    assert handover.secret == SECRET
    assert SECRET not in str(handover)
    for told in ("cmdline", "environ"):
        assert SECRET.encode() not in Path(f"/proc/self/{told}").read_bytes()
    journal("child", f"fresh {Path('/proc/self/cmdline').read_bytes().count(b'child=')}")
    make = Conductor if handover.name == "conductor" else lambda: Api(*handover.sockets())
    return child.Supervised(make, handover.limits, status=handover.status, lifeline=handover.lifeline).run()


def main() -> int:
    log.register()
    config.load([], program="test", files=[OPTIONS["config"]] if "config" in OPTIONS else [])
    log.setup("test")
    mode = OPTIONS.get("mode", "supervise")
    if "child" in OPTIONS:
        return handed_over(OPTIONS["child"])
    if OPTIONS.get("threads"):
        threading.Thread(target=NEVER.wait, daemon=True).start()  # noqa: TID251  # what must be noticed
    listener = listen("127.0.0.1", 0)
    journal("launcher", f"port {listener.getsockname()[1]}")
    if mode == "once":
        run_once("The migration", migrate, timeout_s=1.0)
        return 0
    if mode == "alone":
        return run_alone(ChildSpec("api", lambda: Api(listener), (listener,)), LIMITS)
    code = supervise(listener)
    zombies = [path for path in Path("/proc").glob("[0-9]*/stat") if f") Z {os.getpid()} " in path.read_text()]
    journal("launcher", f"ends with {code}, zombies {len(zombies)}, threads {threading.active_count()}")
    return code


if __name__ == "__main__":
    child.end(child.guarded(main))
