"""A BMC behind TLS that answers nobody until it is told: a line on stdin answers all who wait.

Says `ready PORT` when it serves, and `held N` each time when N, a multiple of its argument, wait.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

BODY_KIB = 64
BODY = json.dumps({"Id": "1", "Members": [{"Name": f"sensor {n}", "Reading": n / 7} for n in range(1500)]}).encode()
BODY = BODY[:-1] + b" " * (BODY_KIB * 1024 - len(BODY)) + BODY[-1:]
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Bmc:
    def __init__(self, together: int) -> None:
        self._together = together
        self._held = 0
        self._go = asyncio.Event()

    async def serve(self, certificate: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context, backlog=1024)
        print("ready", server.sockets[0].getsockname()[1], flush=True)
        asyncio.get_running_loop().add_reader(sys.stdin, self._let_go)
        await server.serve_forever()

    def _let_go(self) -> None:
        if not sys.stdin.readline():
            sys.exit(0)
        self._go.set()
        self._held, self._go = 0, asyncio.Event()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        go = self._go
        self._held += 1
        if self._held % self._together == 0:
            print("held", self._held, flush=True)
        await go.wait()
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


if __name__ == "__main__":
    asyncio.run(Bmc(int(sys.argv[2])).serve(sys.argv[1]))
