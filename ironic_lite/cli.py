"""The entry points of the commands, kept light: signals are held before anything heavy is imported.

A SIGTERM that comes while Python is still importing waits until somebody is there who knows what to do with it.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from ironic_lite.launcher import signals


def main() -> NoReturn:
    """`ironic-lite`: everything on this host, or the demo."""
    if sys.argv[1:2] == ["demo"]:
        from ironic_lite.demo import command  # noqa: PLC0415  # only the demo imports the demo

        sys.exit(command.run(sys.argv[2:]))
    signals.hold()
    from ironic_lite import commands  # noqa: PLC0415  # after the hold

    if sys.argv[1:2] == [commands.CHILD_WORD]:
        commands.ironic_lite_child(sys.argv[2:])
    commands.ironic_lite()


def api() -> NoReturn:
    """`ironic-lite-api`: one API process."""
    signals.hold()
    from ironic_lite import commands  # noqa: PLC0415  # after the hold

    commands.ironic_lite_api()


def conductor() -> NoReturn:
    """`ironic-lite-conductor`: one conductor process."""
    signals.hold()
    from ironic_lite import commands  # noqa: PLC0415  # after the hold

    commands.ironic_lite_conductor()


def dbsync() -> NoReturn:
    """`ironic-lite-dbsync`: the schema."""
    from ironic_lite import commands  # noqa: PLC0415  # as light as the others

    commands.ironic_lite_dbsync()


def fleet() -> NoReturn:
    """`ironic-lite-fleet`: simulated BMCs."""
    from ironic_lite.fleet import __main__ as program  # noqa: PLC0415  # nothing else of the service imports it

    sys.exit(program.main())
