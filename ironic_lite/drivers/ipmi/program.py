"""Get Chassis Status through the program ipmitool, for BMCs that neither our own client nor pyghmi understands.

The password goes through a file that ipmitool alone can read, and a Kg key through its environment: arguments are
public.
"""

from __future__ import annotations

from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.drivers.ipmi.account import CIPHER_SUITES, PRIVILEGES, Account
from ironic_lite.drivers.ipmi.faults import Refused
from ironic_lite.executors.programs import SECRET, Limits, Programs

PROGRAM: Final = "ipmitool"
LIMITS: Final = Limits(memory_mib=256, cpu_s=30, output_kib=4)
SECONDS_PER_TRY: Final = 2
TRIES: Final = 3
LEVELS: Final = {number: name for name, number in PRIVILEGES.items()}
CHASSIS_STATUS: Final = ("raw", "0x00", "0x01")


def status(programs: Programs, account: Account, host: str, deadline: Deadline) -> bytes:
    """The data of Get Chassis Status; `host` is the BMC's numeric address.

    Raises `Refused` with what ipmitool says, `TimeoutError`, `ValueError` for an output that is none, and
    `Interrupted` and `Stopping` when the process ends.
    """
    suites = (account.cipher_suite,) if account.cipher_suite else tuple(reversed(CIPHER_SUITES))
    refusal = Refused()
    for suite in suites:
        try:
            ended = programs.run(
                [PROGRAM, *_arguments(account, host, suite), *CHASSIS_STATUS],
                deadline=deadline,
                secret=account.password or None,
                env={"IPMI_KGKEY": account.kg.decode(errors="surrogateescape")} if account.kg else None,
                limits=LIMITS,
            )
            return bytes.fromhex(ended.stdout.decode("ascii"))
        except errors.ProgramTimedOut as exc:
            raise TimeoutError from exc
        except errors.ProgramError as exc:
            refusal = Refused(str(exc))
    raise refusal


def can_ask(account: Account) -> bool:
    """Whether ipmitool can be told this account: a Kg key with a zero in it only by its arguments."""
    return b"\0" not in (account.kg or b"") and b"\n" not in account.password


def _arguments(account: Account, host: str, suite: int) -> list[str]:
    """Where, as whom, and how. Every account that may be an administrator may be an operator, which is enough."""
    return [
        *("-I", "lanplus", "-H", host, "-p", str(account.port), "-C", str(suite)),
        *("-N", str(SECONDS_PER_TRY), "-R", str(TRIES)),
        *("-L", LEVELS[account.privilege or PRIVILEGES["OPERATOR"]]),
        *("-U", account.username.decode()),
        *(("-f", SECRET) if account.password else ("-P", "")),
        *(("-K",) if account.kg else ()),
    ]
