"""Parts of the benchmark of docs/adr/0001, each run as `python -m choices.PART` by `__main__`."""

import ironic_lite  # noqa: F401  # blocks eventlet before a part imports what would import it
