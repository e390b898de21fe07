"""Why a demo ends early."""

from __future__ import annotations

from ironic_lite import errors


class DemoFailed(errors.Error):
    """The demo cannot go on; the text says why and, where there is one, the way out."""

    message = "{reason}"


class ServiceSilent(DemoFailed):
    """The service's API did not answer, or not with what was asked for."""
