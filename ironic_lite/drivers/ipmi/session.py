"""One RMCP+ session in one thread: pyghmi's protocol and cryptography, without pyghmi's engine.

pyghmi 1.6.19 shares its sockets, queues, locks and one I/O thread between all sessions of a process. What is wrong with
that, and why each of these methods is replaced:
- two locks taken in both orders: a retransmission in one thread and a send in another stand still for ever;
- `select()` in its thread fails at file descriptor 1024, after which every caller waits for ever (`Event.wait()`);
- whoever waits handles everybody's packets, so one BMC's garbage surfaces as another caller's exception, and one BMC's
  slow login delays the others; a wake-up that comes too early is lost until the next retransmission;
- dead sessions are found again under (address, user, password), so a BMC can never be logged in to a second time;
- every command is sent again, over a new login too, when its answer is late: a power cycle would happen twice;
- no call has a deadline.
None of that is left when a session has a socket of its own and is pumped by the thread that uses it.

*Guarantees.* (1) Every wait ends by the deadline, with `TimeoutError`. (2) A query is sent again while its answer is
missing; a command is sent once. (3) No thread is started, and nothing of pyghmi's shared state is used but two locks
that are held for the sending of one datagram. Not thread-safe: made, used and closed by one thread.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Any, Final, Self

from pyghmi import exceptions as pyghmi_errors
from pyghmi.ipmi.private import session as pyghmi_session

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.drivers.ipmi.account import Account
from ironic_lite.drivers.ipmi.faults import MALFORMED, LoginRefused

DATAGRAM_LIMIT: Final = 4096
# How long a command, which is sent only once, may stay unanswered.
COMMAND_S: Final = 5.0
LONGEST_RESEND_S: Final = 5.0
GOODBYE_S: Final = 1.0


class Session(pyghmi_session.Session):  # type: ignore[misc]
    """An RMCP+ session over a connected UDP socket. Making it logs in.

    Raises `LoginRefused`, `TimeoutError`, `OSError`, and what pyghmi raises over a malformed packet.
    """

    problem: str | None = None
    # Of pyghmi's fields those that are set here too.
    timeout: float
    localsid: int
    logged: int
    logging: bool
    lastpayload: Any

    def __new__(cls, *_args: object, **_more: object) -> Self:
        return object.__new__(cls)

    def __init__(self, account: Account, deadline: Deadline) -> None:
        self.forbidsock = ()
        self._account, self._deadline = account, deadline
        self._udp = _connected(account)
        self.expiration = 0.0
        try:
            super().__init__(
                bmc=account.host,
                userid=account.username,
                password=account.password,
                port=account.port,
                kg=account.kg,
                privlevel=account.privilege,
                # With a callback pyghmi's constructor does not wait in its own engine.
                onlogon=lambda _outcome: None,
            )
            while self.logging and self.problem is None:
                self._turn(deadline)
        except BaseException:
            self._udp.close()
            raise
        if self.problem is not None:
            self._udp.close()
            raise LoginRefused(self.problem)

    def query(self, netfn: int, command: int, data: bytes = b"", rslun: int = 0) -> Any:
        """Ask, as often as it takes. The answer in pyghmi's shape: netfn, command, code, data, and error if it is one.

        Raises `TimeoutError`.
        """
        return self.raw_command(netfn, command, data=data, rslun=rslun)

    def command(self, netfn: int, command: int, data: bytes) -> Any:
        """Tell, once; the answer as of `query`, or None when none came in `COMMAND_S`."""
        answer: list[Any] = []
        self.raw_command(netfn, command, data=data, retry=False, callback=answer.append)
        bounded = Deadline(SystemClock(), min(COMMAND_S, self._deadline.left_s()))
        try:
            while not answer:
                self._turn(bounded)
        except TimeoutError:
            return None
        finally:
            self.incommand = False
        problem = pyghmi_session.get_ipmi_error(answer[0])
        return {**answer[0], "error": problem} if problem else answer[0]

    def close(self) -> None:
        """Tell the BMC that the session is over, and close the socket.

        The answer is waited for `GOODBYE_S` at the most: no BMC is to have two requests of ours at the same time.

        Where that fails the BMC ends the session by itself; what the session was for has been done or has failed.
        """
        try:
            with contextlib.suppress(OSError, pyghmi_errors.PyghmiException, *MALFORMED):
                self._say_goodbye()
        finally:
            self._forget()
            self._udp.close()

    def _say_goodbye(self) -> None:
        if self.logged:
            self.lastpayload = None  # a query that was given up would hold this one back
            answer: list[Any] = []
            data = self.sessionid.to_bytes(4, "little")
            self.raw_command(6, 0x3C, data=data, retry=False, callback=answer.append)
            bounded = Deadline(SystemClock(), min(GOODBYE_S, self._deadline.left_s()))
            while not answer and self.problem is None:
                self._turn(bounded)

    # What is replaced of pyghmi, in the order in which it is called.

    def _initsession(self) -> None:
        super()._initsession()
        if self._account.cipher_suite == 3:
            self.attemptedhash = 1

    @classmethod
    def _assignsocket(cls, server: object = None, forbiddensockets: object = ()) -> None:
        """No shared socket, and so no I/O thread."""

    def _xmit_packet(self, retry: bool = True, delay_xmit: float | None = None, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002  # pyghmi's signature
        if self.sequencenumber:
            self.sequencenumber += 1
        if delay_xmit is None:
            self._udp.send(self.netpacket)
        wait_s = delay_xmit or timeout or self.timeout
        self.expiration = SystemClock().monotonic() + wait_s if retry else float("inf")

    def awaitresponse(self, retry: bool, netfn: int, command: int) -> None:  # noqa: FBT001  # pyghmi's signature
        while retry and pyghmi_session.unmatched(self.lastresponse, netfn, command) and self.problem is None:
            self._turn(self._deadline)

    def _cmdwait(self) -> None:
        """Nobody else is in a command."""

    def _open_rmcpplus_request(self) -> None:
        if self._account.cipher_suite == 17 and self.attemptedhash == 1:
            self.onlogon({"error": "it does not accept cipher suite 17"})
        else:
            super()._open_rmcpplus_request()

    def _get_session_challenge(self) -> None:
        """Where pyghmi turns to IPMI 1.5, whose MD5 and lack of encryption are not spoken here."""
        self.onlogon({"error": "it offers no IPMI 2.0 session"})

    def onlogon(self, parameter: dict[str, Any]) -> None:
        if "error" in parameter:
            self._mark_broken(parameter["error"])

    def _mark_broken(self, error: str | None = None) -> None:
        self.problem, self.logging, self.logged = error or "the session broke", False, 0
        self._forget()

    def _timedout(self) -> None:
        """Send again what has no answer. A login begins anew where a message of it must not be repeated."""
        if not self.lastpayload:
            return
        self.timeout = min(self.timeout * 1.5, LONGEST_RESEND_S)
        if self.logged:
            # Marks this sequence number as ambiguous, so that a late second answer is not taken for another's.
            self.hasretried = 1
            self.send_payload()
        elif self.sessioncontext in ("OPENSESSION", "EXPECTINGRAKP2", "EXPECTINGRAKP4"):
            # BMCs do not take the same message of this handshake twice: open another session instead.
            self.lastpayload = None
            self._open_rmcpplus_request()
        else:
            self.send_payload()

    def _forget(self) -> None:
        pyghmi_session.Session.keepalive_sessions.pop(self, None)
        pyghmi_session.Session.waiting_sessions.pop(self, None)

    def _turn(self, deadline: Deadline) -> None:
        """Wait for one datagram and handle it, or send again what has none. Raises `TimeoutError` at the deadline."""
        if deadline.passed():
            raise TimeoutError
        until_resend_s = self.expiration - SystemClock().monotonic()
        wait_s = min(deadline.left_s(), max(0.0, until_resend_s))
        # poll, not select: this process may well have more than 1024 open files.
        poll = select.poll()
        poll.register(self._udp, select.POLLIN)
        if poll.poll(wait_s * 1000):
            data = bytearray(self._udp.recv(DATAGRAM_LIMIT))
            if len(data) > 4 and data[0] == 6 and data[3] == 7:
                # The third entry is the socket, by which pyghmi tells whether it is itself the server: it is not.
                self._handle_ipmi_packet(data, sockaddr=None, qent=(data, None, self._udp))
        elif until_resend_s <= wait_s:
            self.expiration = float("inf")
            self._timedout()


def _connected(account: Account) -> socket.socket:
    """A UDP socket that hears only this BMC, and hears of it when nothing listens there."""
    family, kind, proto, _, address = socket.getaddrinfo(account.host, account.port, type=socket.SOCK_DGRAM)[0]
    udp = socket.socket(family, kind, proto)
    try:
        udp.connect(address)
        udp.setblocking(False)
    except BaseException:
        udp.close()
        raise
    return udp
