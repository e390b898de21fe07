"""TLS towards BMCs: one set of settings for each way to verify, shared by all BMCs."""

from __future__ import annotations

import functools
import pathlib
import ssl


@functools.lru_cache(maxsize=64)
def context(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001  # a CA setting, not a flag
    """The TLS settings for one CA setting, shared: a context of its own costs each connection 40 ms and 1 MB."""
    if verify is True:
        made = ssl.create_default_context()
    elif verify is False:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    else:
        file = pathlib.Path(str(verify)).is_file()
        made = ssl.create_default_context(cafile=str(verify) if file else None, capath=None if file else str(verify))
    made.options |= ssl.OP_NO_RENEGOTIATION  # so that sending never waits for something to read
    return made
