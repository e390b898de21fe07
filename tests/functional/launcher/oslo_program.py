"""The real API and conductor under oslo.service's own threading launcher.

usage: oslo_program.py LAUNCHER START_METHOD API_PORT_FD RPC_PORT_FD CONFIG
LAUNCHER: ServiceLauncher or ProcessLauncher. The two numbers are listening sockets that are inherited. A process that
starts fresh (spawn) runs this file again, and so has to read the options itself: oslo.service hands over the service
alone.
"""

from __future__ import annotations

import socket
import sys

import ironic_lite  # noqa: F401  # blocks eventlet
from ironic_lite import config, log, options
from ironic_lite.api.process import ApiService
from ironic_lite.cluster.transport import Credentials
from ironic_lite.conductor.process import ConductorService

CREDENTIALS = Credentials("peer", "do-not-tell-7")


def read_options() -> None:
    log.register()
    options.declare()
    config.load(["--config-file", sys.argv[5]], program="oslo")
    log.setup("oslo")


def main() -> int:
    from oslo_config import cfg  # noqa: PLC0415  # a process that starts fresh needs none of this
    from oslo_service import backend  # noqa: PLC0415

    backend.init_backend(backend.BackendType.THREADING)
    from oslo_service import service  # noqa: PLC0415  # the backend is chosen before

    read_options()
    own = cfg.ConfigOpts()  # the launcher registers its options there; ours have the same name and another help text
    own([])
    api, rpc = (socket.socket(fileno=int(number)) for number in sys.argv[3:5])
    launcher = getattr(service, sys.argv[1])(own, restart_method="mutate", start_method=sys.argv[2])
    launcher.launch_service(ConductorService(rpc, CREDENTIALS, 5.0))
    launcher.launch_service(ApiService(api, CREDENTIALS, grace_s=2.0))
    try:
        return int(launcher.wait() or 0)
    except SystemExit as exc:  # how cotyledon returns
        return int(exc.code or 0)


if __name__ == "__mp_main__":  # what multiprocessing calls this file in a process that starts fresh
    read_options()
if __name__ == "__main__":
    sys.exit(main())
