"""The way of events to their subscribers: HTTP POST, over TLS or not, tried again as BMCs do.

Guarantees. Everything runs on the fleet's event loop. At most `AT_ONCE` deliveries are under way and `WAITING_MAX`
wait; beyond, the newest is dropped and counted. One delivery ends within `TIMEOUT_S`, and is tried `RETRIES` times
more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

AT_ONCE: Final = 64
WAITING_MAX: Final = 20000
TIMEOUT_S: Final = 10.0
RETRIES: Final = 3
RETRY_S: Final = 30.0
_STATUS_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way."""

    destination: str
    headers: Mapping[str, str]
    body: bytes
    left: int = RETRIES


class Outbox:
    """What is to be delivered. `counts` has `delivered`, `failed` (given up), `retried` and `dropped`."""

    def __init__(self, retry_s: float = RETRY_S) -> None:
        self.retry_s = retry_s
        self.counts: Counter[str] = Counter(delivered=0, failed=0, retried=0, dropped=0)
        self._waiting: deque[Delivery] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: set[asyncio.TimerHandle] = set()

    def put(self, delivery: Delivery, after_s: float = 0.0) -> None:
        """Deliver it, `after_s` from now on, as soon as there is room."""
        if after_s:
            handle = asyncio.get_running_loop().call_later(after_s, self.put, delivery)
            self._later = {one for one in self._later if not one.cancelled() and one.when() > handle.when() - after_s}
            self._later.add(handle)
        elif len(self._waiting) >= WAITING_MAX:
            self.counts["dropped"] += 1
        else:
            self._waiting.append(delivery)
            if len(self._tasks) < AT_ONCE:
                task = asyncio.get_running_loop().create_task(self._deliver_all())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is on its way."""
        for handle in self._later:
            handle.cancel()
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver_all(self) -> None:
        while self._waiting:
            await self._deliver(self._waiting.popleft())

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await _post(urlsplit(delivery.destination), delivery)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status = 0
        if 200 <= status < 300:
            self.counts["delivered"] += 1
        elif delivery.left:
            self.counts["retried"] += 1
            again = Delivery(delivery.destination, delivery.headers, delivery.body, delivery.left - 1)
            self.put(again, self.retry_s)
        else:
            self.counts["failed"] += 1


async def _post(url: SplitResult, delivery: Delivery) -> int:
    """Post it: the status of the answer. Raises `OSError` and what reading an answer that is none raises."""
    context = ssl._create_unverified_context() if url.scheme == "https" else None  # noqa: S323, SLF001  # as BMCs do
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context, limit=_STATUS_BYTES)
    try:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = {
            "Host": url.netloc.rpartition("@")[2],
            "Content-Type": "application/json",
            "Content-Length": str(len(delivery.body)),
            "Connection": "close",
            **delivery.headers,
        }
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1", "replace") + delivery.body)
        await writer.drain()
        return int((await reader.readuntil(b"\n")).split()[1])
    except IndexError:
        return 0
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
