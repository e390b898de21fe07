"""tox's environments that share a directory share what is installed in it.

tox makes an environment anew when another name had its directory before. Ours differ in their commands alone, so each
takes over what it finds; whatever else tox compares (interpreter, requirements, the package) decides as ever.
"""

from __future__ import annotations

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class Shared(VirtualEnvRunner):
    """A virtual environment that has many names; `runner = shared` asks for it."""

    @staticmethod
    def id() -> str:
        """What tox.ini calls it."""
        return "shared"

    def _setup_env(self) -> None:
        ours = {"name": self.conf.name, "type": type(self).__name__}
        with self.cache.compare(ours, ToxEnv.__name__):  # tells tox that the name was always this one
            pass
        super()._setup_env()


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Called by tox."""
    register.add_run_env(Shared)
