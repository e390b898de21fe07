"""The web server under REST and JSON-RPC: cheroot's HTTP on threads and waits of our own.

*Guarantees.*
(1) A connection takes a thread only while a request of it is being read, worked on or answered. New and idle
    connections wait in one epoll set; the serving thread gives up those that stay silent.
(2) Reading a request's head, reading its body and each write of its answer end by their limits.
(3) At most `threads` requests run and `limits.queued_requests` wait; the next one is answered 503 at once. A server
    without threads of its own for them runs one at a time in its serving thread.
(4) A live connection has one user at a time: the serving thread while it is in `_waiting`, a worker while it is in
    `_at_work`, the handshakes' thread while it is in `_shaking`; `_lock` guards all three, and a connection is always
    in one of them on its way. Only the serving thread takes one out of `_waiting`.
(5) `drain` ends within its grace and a few seconds. Connections that the kernel has accepted are served, running
    requests are waited for, clients are told `Connection: close` and get a moment to ask once more.
(6) Threads are daemons, owned by the server, joined by `drain`.
(7) Under TLS, handshakes take no worker and no time of the serving thread: their steps are computed one after the
    other in a thread of their own, which never waits for a client. A handshake and the wait for the first request
    together end by `limits.header_timeout_s`. Requests in flight never wait for somebody else's handshake.
cheroot's own accept loop, pool and stop are not used: a full queue or a slow client stops that loop, and that stop
connects to its own port (to a sibling, when the socket is shared) and joins without a limit.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import select
import socket
import threading
from typing import Final

from ironic_lite.clock import Clock, Deadline, SystemClock
from ironic_lite.executors.threads import start_thread
from ironic_lite.web.https import SecureConnection
from ironic_lite.web.limits import DEFAULT, Limits
from ironic_lite.web.protocol import Connection, Protocol, check_cheroot
from ironic_lite.web.stats import ServerStats
from ironic_lite.web.tls import TLS
from ironic_lite.web.workers import Workers

LOG = logging.getLogger(__name__)

_TICK_S: Final = 1.0  # how late a silent connection may be given up; no ticks while there are no connections
_LINGER_S: Final = 2.0  # for a client that still sends when it has its answer
_LAST_ASK_S: Final = 1.0  # drain: how long idle clients may begin one more request
_JOIN_S: Final = 2.0
_BREATH_S: Final = 0.05  # when there is no file descriptor left and nothing to give up
_ACCEPTS_PER_EVENT: Final = 64
_ACCEPTS_AT_END: Final = 1024  # more than a listener's backlog
_INPUT: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_OUTPUT: Final = select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLONESHOT
_GONE: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server:
    """Serves one WSGI application on one listening socket, which may be shared with other processes."""

    def __init__(
        self,
        name: str,
        listener: socket.socket,
        application: object,
        *,
        threads: int,
        limits: Limits = DEFAULT,
        identity: TLS | None = None,
    ) -> None:
        """`listener` is listening and non-blocking; `drain` closes this process's copy of it.

        Without `threads` the serving thread answers by itself, one request after the other: for a port that is asked
        rarely, by few, and whose limits bound how long a slow client keeps the others waiting. With an `identity` it
        speaks HTTPS, and nothing else.
        Raises `ConfigurationError` when the installed cheroot is not one that fits.
        """
        check_cheroot()
        self.name = name
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._clock: Clock = SystemClock()
        self._limits, self._listener = limits, listener
        self._protocol = Protocol(
            name, self.address, application, limits=limits, clock=self._clock, may_stay=self._may_stay
        )
        self._protocol.ssl_adapter = identity  # cheroot asks only whether there is one
        self._identity = identity
        self._admitted_limit = threads + limits.queued_requests
        self._refused = 0  # counted by the serving thread alone
        self._workers = Workers(name, threads, self._attend)  # given at most _admitted_limit requests at a time
        self._handshakes: queue.SimpleQueue[SecureConnection | None] = queue.SimpleQueue()  # by limits.connections
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: dict[int, Connection] = {}
        self._at_work: set[Connection] = set()  # queued, or with a worker
        self._shaking: set[Connection] = set()  # queued for the next step of a handshake, or taking it
        self._draining = self._ending = self._stopped = False
        self._turned = True

    def start(self) -> None:
        """Begin to serve. After a fork, not before one."""
        self._epoll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self._workers.start()
        self._threads = [start_thread(f"{self.name}-serve", self._serve)]
        if self._identity is not None:
            self._threads.append(start_thread(f"{self.name}-tls", self._shake_hands))

    def moves(self) -> bool:
        """Whether the serving thread has turned since this was last asked, by one caller; it is made to turn again."""
        turned, self._turned = self._turned, False
        self._wake()
        return turned

    def stats(self) -> ServerStats:
        """What it is doing now, and how much it has refused."""
        with self._lock:
            admitted, waiting = len(self._at_work), len(self._waiting)
        queued = min(admitted, self._workers.queued())
        return ServerStats(
            name=self.name,
            threads=self._workers.limit or 1,
            busy=admitted - queued,
            queued=queued,
            refused=self._refused,
            connections=admitted + waiting,
        )

    def drain(self, grace_s: float) -> bool:
        """Take no more connections, let running requests end within `grace_s` seconds, and stop. Call it once.

        True when every request ended by itself and every thread is gone.
        """
        deadline = Deadline(self._clock, grace_s)
        self._draining = True
        self._wake()
        self._wait_until_quiet(min(grace_s, _LAST_ASK_S))
        self._ending = True
        self._wake()
        self._wait_until_quiet(deadline.left_s())
        return self._stop()

    def _wait_until_quiet(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(self._is_quiet, timeout_s)

    def _is_quiet(self) -> bool:
        """Whether nobody is left, among those too whom only the kernel has accepted so far."""
        return self._listener.fileno() < 0 and not self._connected()

    def _stop(self) -> bool:
        with self._lock:
            self._stopped = True
            abandoned = list(self._at_work)
        self._wake()
        for connection in abandoned:
            LOG.warning("%s stops while a request of %s is not answered.", self.name, connection.remote_addr)
            connection.cut()
        self._handshakes.put(None)
        deadline = Deadline(self._clock, _JOIN_S)
        workers_ended = self._workers.stop(deadline)
        for thread in self._threads:
            thread.join(deadline.left_s())
        if not workers_ended or any(thread.is_alive() for thread in self._threads):
            return False
        self._epoll.close()
        os.close(self._wakeup)
        return not abandoned

    def _connected(self) -> int:
        """How many clients there are; never too few: others than the serving thread only put them into `_waiting`."""
        return len(self._at_work) + len(self._shaking) + len(self._waiting)

    def _may_stay(self) -> bool:
        return not self._draining and len(self._waiting) < self._limits.keepalive_connections

    # What workers do.

    def _attend(self, connection: Connection) -> None:
        try:
            stays = bool(connection.communicate())  # type: ignore[no-untyped-call]  # cheroot's stubs
        except OSError as exc:
            LOG.debug("The client at %s was lost: %s.", connection.remote_addr, exc)
            stays = False
        except (Exception, SystemExit):
            LOG.exception("A request of %s broke its handler.", connection.remote_addr)
            stays = False
        self._hand_back(connection, stays=stays)

    def _hand_back(self, connection: Connection, *, stays: bool) -> None:
        if stays and connection.rfile.has_data():
            self._workers.give(connection)  # pipelined; it keeps the place it was admitted to
            return
        if stays:
            self._watch(connection, self._limits.keepalive_timeout_s)
        elif connection.lingers:
            self._linger(connection)
        else:
            self._end(connection)

    # What the handshakes' thread does.

    def _shake_hands(self) -> None:
        while (connection := self._handshakes.get()) is not None:
            try:
                self._after_step(connection, _OUTPUT if connection.shake() else _INPUT)
            except OSError as exc:
                LOG.debug("The client at %s was lost in its handshake: %s.", connection.remote_addr, exc)
                self._end(connection)
            except Exception:
                LOG.exception("The handshake with %s broke.", connection.remote_addr)
                self._end(connection)

    def _after_step(self, connection: SecureConnection, events: int) -> None:
        left_s = connection.idle_until - self._clock.monotonic()
        if connection.lingers:
            self._linger(connection)
        elif left_s > 0.0:  # what follows the handshake is still with the kernel: OpenSSL reads no further than it must
            self._watch(connection, left_s, events)
        else:  # said here, because the serving thread never meets one that drips while it waits
            self._end(connection)

    # What any thread may do.

    def _linger(self, connection: Connection) -> None:
        connection.end_sending()
        self._watch(connection, _LINGER_S)

    def _watch(self, connection: Connection, timeout_s: float, events: int = _INPUT) -> None:
        connection.idle_until = self._clock.monotonic() + timeout_s
        connection.socket.setblocking(False)  # or MSG_DONTWAIT would wait: Python polls first while there is a time-out
        fd = connection.socket.fileno()
        change = self._epoll.modify if connection.watched else self._epoll.register
        with self._lock:
            self._release(connection)
            if not self._stopped:
                self._waiting[fd] = connection
                connection.watched = True
                change(fd, events)
                return
        self._close(connection)

    def _end(self, connection: Connection) -> None:
        self._close(connection)
        with self._lock:
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        """Its thread is done with it; in the same breath, under the lock, it is waited for again or has ended."""
        self._at_work.discard(connection)
        self._shaking.discard(connection)
        self._changed.notify_all()

    def _close(self, connection: Connection) -> None:
        if connection.watched:  # explicitly: a forked child's copy of the socket would keep it in the set
            self._epoll.unregister(connection.socket.fileno())
        connection.close()

    def _wake(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    # What the serving thread does.

    def _serve(self) -> None:
        listener = self._listener.fileno()
        while not self._stopped:
            try:
                self._turn(listener)
                self._turned = True
            except Exception:
                LOG.exception("%s met an error while it waited for clients.", self.name)
                self._clock.wait(threading.Event(), _BREATH_S)
        self._drop(list(self._waiting))

    def _turn(self, listener: int) -> None:
        for fd, mask in self._epoll.poll(_TICK_S if self._connected() else None):
            if fd == listener:
                self._accept(_ACCEPTS_PER_EVENT)
            elif fd == self._wakeup:
                os.eventfd_read(fd)
            elif (connection := self._waiting.get(fd)) is not None:
                self._on_input(fd, connection, gone=bool(mask & _GONE))
        if self._draining and self._listener.fileno() >= 0:
            self._stop_listening()
        self._give_up_silent()
        if not self._workers.limit:
            self._workers.serve_here()

    def _accept(self, limit: int) -> None:
        for _ in range(limit):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno not in _OUT_OF_RESOURCES:
                    continue  # a connection that ended before it was accepted
                LOG.warning("%s cannot accept a connection: %s.", self.name, exc)
                if not self._make_room():
                    self._clock.wait(threading.Event(), _BREATH_S)
                return
            if self._identity is None:
                self._welcome(Connection(self._protocol, sock, address))
            else:
                self._welcome(SecureConnection(self._identity, self._protocol, sock, address))

    def _welcome(self, connection: Connection) -> None:
        if self._connected() >= self._limits.connections and not self._make_room():
            self._refuse(connection)
        else:
            self._watch(connection, self._limits.header_timeout_s)

    def _make_room(self) -> bool:
        """Give up the connection that would be given up next anyway. False when none waits."""
        with self._lock:
            first = min(self._waiting, key=lambda fd: self._waiting[fd].idle_until, default=None)
        if first is not None:
            self._drop([first])
        return first is not None

    def _on_input(self, fd: int, connection: Connection, *, gone: bool) -> None:
        if connection.lingers and connection.discard():
            self._watch(connection, connection.idle_until - self._clock.monotonic())
        elif connection.lingers or (gone and not connection.has_input()):
            self._drop([fd])
        elif isinstance(connection, SecureConnection) and not connection.ready:
            self._begin_step(fd, connection)
        else:
            self._submit(fd, connection)

    def _begin_step(self, fd: int, connection: SecureConnection) -> None:
        with self._lock:
            self._shaking.add(connection)
            del self._waiting[fd]
        self._handshakes.put(connection)

    def _submit(self, fd: int, connection: Connection) -> None:
        with self._lock:
            admitted = len(self._at_work) < self._admitted_limit
            if admitted:
                self._at_work.add(connection)
                del self._waiting[fd]
        if admitted:
            self._workers.give(connection)
        else:
            self._refuse(connection)

    def _refuse(self, connection: Connection) -> None:
        self._refused += 1
        connection.refuse()
        self._linger(connection)

    def _stop_listening(self) -> None:
        """Take what the kernel has accepted already, or closing would reset it; then close."""
        self._accept(_ACCEPTS_AT_END)
        self._epoll.unregister(self._listener)
        with self._changed:
            self._listener.close()
            self._changed.notify_all()

    def _give_up_silent(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            silent = [(fd, each) for fd, each in self._waiting.items() if each.idle_until <= now]
            idle = [(fd, each) for fd, each in self._waiting.items() if self._ending and not each.lingers]
        self._drop([fd for fd, _ in silent])
        for fd, connection in idle:
            if fd in self._waiting:
                self._on_input(fd, connection, gone=True)  # which serves the request that has just arrived

    def _drop(self, fds: list[int]) -> None:
        for fd in fds:
            self._close(self._waiting[fd])
        with self._changed:
            for fd in fds:
                del self._waiting[fd]
            self._changed.notify_all()
