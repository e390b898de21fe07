"""A service that needs half a second to start, and its program: `python -m choices.tiny_service LAUNCHER PORT`.

It answers one line with one line: "pid" with its process id, "work PATH" with "begun" at once, and it makes PATH when
that work ends, two seconds later. The same service runs under both launchers.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

from oslo_config import cfg

from ironic_lite import config
from ironic_lite.launcher.service import ChildSpec, Limits

START_S = 0.5
WORK_S = 2.0
GRACEFUL_S = 30
OSLO = "oslo.service ServiceLauncher"
OURS = "ironic_lite Supervisor"


class Tiny:
    """Stop lets running work end: under oslo.service's launcher the process is gone as soon as `stop` returns."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._works: list[threading.Thread] = []
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Event().wait(START_S)
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for work in self._works:
            work.join()
        self._ended.set()

    def wait(self) -> None:
        self._ended.wait()

    def reset(self) -> None: ...

    def drain(self) -> None: ...

    def is_busy(self) -> bool:
        return any(work.is_alive() for work in self._works)

    def moves(self) -> bool:
        return True

    def keep_registration(self) -> None: ...

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed: the end
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.sendall(self._answer(connection.recv(4096).decode().strip()).encode())

    def _answer(self, line: str) -> str:
        verb, _, path = line.partition(" ")
        if verb == "pid":
            return str(os.getpid())
        work = threading.Thread(target=_work, args=(Path(path),), daemon=True)
        self._works.append(work)
        work.start()
        return "begun"


def _work(done: Path) -> None:
    threading.Event().wait(WORK_S)
    done.touch()


def under_oslo(port: int) -> int:
    """What oslo.service's documentation says to write."""
    from oslo_service import backend  # noqa: PLC0415  # the backend is chosen before `service` is imported

    backend.init_backend(backend.BackendType.THREADING)
    from oslo_service import service  # noqa: PLC0415  # see above

    service.ServiceBase.register(Tiny)

    settings = cfg.ConfigOpts()  # not ours: both sides register an option `log_options`
    settings([], project="tiny-service", default_config_files=[], default_config_dirs=[])
    launcher = service.ServiceLauncher(settings, restart_method="mutate")
    launcher.launch_service(Tiny(port))
    code: int | None = launcher.wait()
    return code or 0


def under_ours(port: int) -> int:
    from ironic_lite.launcher.supervisor import Supervisor  # noqa: PLC0415  # only the launcher that is measured

    return Supervisor([ChildSpec("tiny", lambda: Tiny(port))], Limits(stop_s=GRACEFUL_S, drain_s=GRACEFUL_S)).run()


if __name__ == "__main__":
    config.load([], program="tiny-service", files=[])
    sys.exit({OSLO: under_oslo, OURS: under_ours}[sys.argv[1]](int(sys.argv[2])))
