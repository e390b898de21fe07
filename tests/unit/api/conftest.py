"""The API in process, on an empty database."""

from tests.parts.api import service, settings

__all__ = ["service", "settings"]
