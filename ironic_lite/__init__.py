"""A native-threaded bare metal conductor service that speaks OpenStack Ironic's REST API.

Importing this package blocks eventlet and greenlet: oslo.service's packaging installs them, and futurist imports
eventlet wherever it finds it. Neither is ever used here, and each would cost every process its memory.
"""

import sys

for _name in ("eventlet", "greenlet"):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # None is Python's own mark for "must not be imported"
del _name

__version__ = "0.1.0"
