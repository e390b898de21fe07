"""One IPMI BMC as polls see it: its turns, what was learnt of it, and its session where one is kept.

A session is opened for each poll, so that none of a BMC's few slots is held, unless polls follow each other within
`[ipmi]session_reuse_interval`.

*Guarantees.* (1) One request at a time, of polls and of threads together (`Contact`). (2) At most one session of ours:
a kept one ends before a thread's turn begins. (3) All that is sent again is a question, or ends a session; BMCs do not
take RAKP 1 and 3 twice, so the login begins anew there. (4) Used on the I/O loop alone, but for `read_by_program`: that
is for the thread that has the turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Final

from pyghmi.ipmi.private.util import get_ipmi_error

from ironic_lite.clock import Clock, Deadline
from ironic_lite.drivers.contact import Contact, Engaged, Rank
from ironic_lite.drivers.ipmi import rmcp
from ironic_lite.drivers.ipmi.account import PRIVILEGES, Account
from ironic_lite.drivers.ipmi.faults import INVALID_ROLE, NO_ROOM, UNKNOWN_NAME, LoginRefused, Refused, Surprise
from ironic_lite.drivers.ipmi.line import Address, Hear, Line, T
from ironic_lite.drivers.ipmi.options import conf
from ironic_lite.drivers.ipmi.rmcp import SHA1, SHA256, Question, Session

# How long an answer is waited for before the question is sent again: at a BMC that nothing is known of, and at least
# and at most. In between it is thrice what the BMC took last.
FIRST_RESEND_S: Final = 2.0
SHORTEST_RESEND_S: Final = 0.5
LONGEST_RESEND_S: Final = 5.0
RESEND_GROWTH: Final = 1.5
LATENCIES: Final = 3
CLOSE_TIMES: Final = 2
TIMES: Final = 3  # as often is asked in a session before it counts as gone
SESSION_S: Final = 50.0  # BMCs end a session after 60 s of silence, some 3 s earlier
DEMOTED_S: Final = 24 * 3600.0
NO_PRIVILEGE: Final = 0xD4
STATUS_BYTES: Final = 2  # the completion code, and the byte that says whether the machine is on

SUITES: Final = {suite.number: suite for suite in (SHA256, SHA1)}
ADMINISTRATOR, OPERATOR = PRIVILEGES["ADMINISTRATOR"], PRIVILEGES["OPERATOR"]


class Bmc:
    """One BMC at one address."""

    __slots__ = (
        "_account", "_clock", "_latency_s", "_privilege", "_probed", "_program_until_s", "_session", "_slow_until_s",
        "_suite", "_used_s", "address", "contact", "line",
    )  # fmt: skip

    def __init__(self, line: Line, address: Address, clock: Clock) -> None:
        self.line, self.address, self._clock = line, address, clock
        self.contact = Contact()
        self._probed = False  # whether it has answered in this visit, but to nothing of IPMI 2.0
        self._account: Account | None = None
        self._suite, self._privilege = SHA256, ADMINISTRATOR
        self._session: Session | None = None
        self._used_s = self._slow_until_s = self._program_until_s = float("-inf")
        self._latency_s: float | None = None

    # What was learnt of it.

    @property
    def needs_thread(self) -> bool:
        """Whether it is not polled on the loop for now."""
        return self._clock.monotonic() < self._slow_until_s

    @property
    def read_by_program(self) -> bool:
        """Whether it is not read through pyghmi for now."""
        return self._clock.monotonic() < self._program_until_s

    @read_by_program.setter
    def read_by_program(self, value: bool) -> None:
        self._program_until_s = self._clock.monotonic() + DEMOTED_S if value else float("-inf")

    def demote(self) -> None:
        """Not to be polled on the loop for a day."""
        self._slow_until_s = self._clock.monotonic() + DEMOTED_S

    # Turns.

    async def status(self, account: Account, deadline: Deadline) -> bytes:
        """The data of Get Chassis Status.

        Raises `Engaged`, `LoginRefused`, `Refused`, `Surprise`, `OSError`, and so `TimeoutError`.
        """
        try:
            return await self.contact.run(functools.partial(self._status, account, deadline), Rank.POWER, deadline)
        except TimeoutError:
            if self._probed or self.address in self.line.malformed:
                raise Surprise from None
            raise
        finally:
            self._probed = False
            self.line.malformed.discard(self.address)

    async def lend(self, taken: Callable[[Bmc], None], deadline: Deadline) -> None:
        """Keep the turn for a thread, until cancelled."""
        await self._leave(deadline)
        taken(self)
        await asyncio.get_running_loop().create_future()

    async def close(self, deadline: Deadline) -> None:
        """End the kept session, once nothing is under way any more."""
        if self._session is not None:
            with contextlib.suppress(Engaged, TimeoutError):
                await self.contact.run(functools.partial(self._leave, deadline), Rank.ACTION, deadline)

    # One visit.

    async def _status(self, account: Account, deadline: Deadline) -> bytes:
        keeps = self._keeps()
        if not keeps or (self._account is not account and self._account != account):
            await self._leave(deadline)
            self._become(account)
        said = await self._within(self._session, deadline) if self._session is not None else None
        while said is None:
            said = await self._within(await self._login(account), deadline)
        if not keeps:
            await self._leave(deadline)
        return said

    def _keeps(self) -> bool:
        """Whether polls follow each other fast enough for the session to stay."""
        now_s = self._clock.monotonic()
        gap_s, self._used_s = now_s - self._used_s, now_s
        return gap_s <= min(conf.session_reuse_interval, SESSION_S)

    def _become(self, account: Account) -> None:
        if self._account != account:
            self._account = account
            self._set_first_terms(account)

    async def _within(self, session: Session, deadline: Deadline) -> bytes | None:
        """The status; None when the BMC seems not to know the session. One in which something goes wrong is over."""
        self._session = session
        try:
            said = await self._command(session)
        except (Refused, Surprise):
            await self._leave(deadline)
            raise
        except BaseException:
            self._drop()
            raise
        if said is None:
            self._drop()
        return said

    def _drop(self) -> None:
        """End the session without waiting: the BMC is silent, or no time is left."""
        session, self._session = self._session, None
        if session is not None:
            self.line.tell(self.address, session.close())

    async def _command(self, session: Session) -> bytes | None:
        """A session begins as a user's, which is enough, unless the BMC says that it is not."""
        said = await self._answer(session, rmcp.CHASSIS_STATUS)
        if said is not None and said[0] == NO_PRIVILEGE:
            await self._answer(session, rmcp.SET_PRIVILEGE, bytes((self._privilege,)))
            said = await self._answer(session, rmcp.CHASSIS_STATUS)
        if said is None:
            return None
        if said[0]:
            network, command = rmcp.CHASSIS_STATUS
            raise Refused(get_ipmi_error({"netfn": network + 1, "command": command, "code": said[0]}))
        if len(said) < STATUS_BYTES:
            raise Surprise
        return said[1:]

    async def _leave(self, deadline: Deadline) -> None:
        """End the kept session, well before the deadline. A BMC that does not hear of it ends the session by itself."""
        session, self._session = self._session, None
        if session is None:
            return
        datagram = session.close()
        with contextlib.suppress(OSError):
            for _ in range(CLOSE_TIMES):
                if await self._ask(datagram, session.hear, min(self._resend_s(), deadline.left_s() / 2)) is not None:
                    return
                datagram = session.again()

    async def _login(self, account: Account) -> Session:
        """Log in on the terms that the BMC took last, else on the next lower ones."""
        while True:
            try:
                return await self._log_in(account)
            except LoginRefused as exc:
                if not self._lowers_terms(account, exc):
                    self._set_first_terms(account)
                    raise

    def _set_first_terms(self, account: Account) -> None:
        self._suite = SUITES[account.cipher_suite or SHA256.number]
        self._privilege = account.privilege or ADMINISTRATOR

    def _lowers_terms(self, account: Account, refusal: LoginRefused) -> bool:
        """Whether the refusal leaves something to try. Raises `LoginRefused` for a suite that may not be replaced."""
        if refusal.opening and refusal.code != NO_ROOM and self._suite is SHA256:
            if account.cipher_suite is not None:
                raise rmcp.suite_refused(self._suite) from refusal
            self._suite = SHA1
            return True
        if refusal.code in (INVALID_ROLE, UNKNOWN_NAME) and account.privilege is None:
            lowers, self._privilege = self._privilege != OPERATOR, OPERATOR
            return lowers
        return False

    async def _log_in(self, account: Account) -> Session:
        """Ask until the BMC has answered all; Raises `LoginRefused`, `Surprise`, `OSError`."""
        wait_s = self._resend_s()
        while True:
            asking = rmcp.login(account, self._suite, self._privilege)
            question = next(asking)
            try:
                while answer := await self._opened(question, wait_s):
                    question = asking.send(answer)
            except StopIteration as end:
                session: Session = end.value
                return session
            wait_s = _longer(wait_s)

    async def _opened(self, question: Question, wait_s: float) -> bytes | None:
        """The answer; None where the login must begin anew."""
        while True:
            answer = await self._ask(question.datagram(), question.hear, wait_s)
            if answer is not None or question.kind != rmcp.OPEN_SESSION:
                self._probed = False
                return answer
            # Some BMCs want to be asked this first; and one that answers this alone is not silent.
            self._probed |= bool(await self._ask(rmcp.channel_probe(), rmcp.is_probed, wait_s))
            wait_s = _longer(wait_s)

    async def _answer(self, session: Session, what: tuple[int, int], data: bytes = b"") -> bytes | None:
        """Completion code and data; None when it has been asked `TIMES` in vain."""
        datagram, wait_s = session.ask(what, data), self._resend_s()
        for _ in range(TIMES):
            answer = await self._ask(datagram, session.hear, wait_s)
            if answer is not None:
                return answer
            datagram, wait_s = session.again(), _longer(wait_s)
        return None

    async def _ask(self, datagram: bytes, hear: Hear[T], wait_s: float) -> T | None:
        began_s = self._clock.monotonic()
        answer = await self.line.ask(self.address, datagram, hear, wait_s)
        if answer is not None:
            self._latency_s = self._clock.monotonic() - began_s
        return answer

    def _resend_s(self) -> float:
        if self._latency_s is None:
            return FIRST_RESEND_S
        return min(LONGEST_RESEND_S, max(SHORTEST_RESEND_S, LATENCIES * self._latency_s))


def _longer(wait_s: float) -> float:
    return min(wait_s * RESEND_GROWTH, LONGEST_RESEND_S)
