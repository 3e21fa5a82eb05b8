"""The load of one pod: `load.py NAME=KIND:HOST:PORT:RATE ...`, until its input ends. Runs in a pod.

KIND: `kept` uses one HTTP connection again, `fresh` opens one for each request; `tcp` and `web` (a WebSocket) hold one
connection and say something over it. RATE: how often a second at most.

Prints JSON lines: each failure (`{"flow", "at", "bad"}`; `at` is CLOCK_MONOTONIC, which is the same for the whole
machine), and answers to its input: `{"sync": N}` is answered by `{"sync": N, "counts": {NAME: done}}`,
`{"ask": N, "host", "path", "word"}` by `{"ask": N, "at"}` once an answer has the header `x-word: WORD`.
"""

import asyncio
import json
import sys
import time
from typing import Any

PATIENCE = 8.0
ASKED_FOR = 60.0
SAID = b"hello, you there\n"
UPGRADE = "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
counts: dict[str, int] = {}
asking: set[asyncio.Task[None]] = set()


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def get(connection: Connection, host: str, path: str = "/") -> tuple[str, str]:
    """(status, head)"""
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")]
    await reader.readexactly(lengths[0] if lengths else 0)
    return head[9:12], head.lower()


async def say(connection: Connection) -> str:
    reader, writer = connection
    writer.write(SAID)
    return "good" if await reader.readline() == SAID else "cut"


async def connect(kind: str, host: str, port: int) -> Connection:
    connection = await asyncio.open_connection(host, port)
    if kind == "web":
        connection[1].write(UPGRADE.format(host=host).encode())
        head = await connection[0].readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(head[9:12].decode())
    return connection


class Flow:
    def __init__(self, text: str) -> None:
        self.name, _, rest = text.partition("=")
        self.kind, self.host, port, rate = rest.split(":")
        self.port, self.pause = int(port), 1 / float(rate)
        self.connection: Connection | None = None

    async def run(self) -> None:
        counts[self.name] = 0
        while True:
            began = time.monotonic()
            if bad := await self.once():
                tell(flow=self.name, at=time.monotonic(), bad=f"{bad} after {time.monotonic() - began:.2f} s")
            counts[self.name] += 1
            await asyncio.sleep(self.pause)

    async def once(self) -> str:
        """What went wrong, or ""."""
        try:
            async with asyncio.timeout(PATIENCE):
                if self.kind == "kept" and self.connection and self.connection[0].at_eof():
                    self.close()  # a client sees that the server has said goodbye, and connects again
                self.connection = self.connection or await connect(self.kind, self.host, self.port)
                if self.kind in ("tcp", "web"):
                    answer, head = await say(self.connection), ""
                else:
                    answer, head = await get(self.connection, self.host)
            if self.kind == "fresh" or "connection: close" in head:
                self.close()
            if answer in ("200", "good"):
                return ""
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            answer = repr(error)
        self.close()
        return answer

    def close(self) -> None:
        if self.connection:
            self.connection[1].close()
            self.connection = None


async def ask(number: int, host: str, path: str, word: str) -> None:
    given_up = time.monotonic() + ASKED_FOR
    while time.monotonic() < given_up:
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await asyncio.open_connection(host, 80)
                try:
                    status, head = await get(connection, host, path)
                finally:
                    connection[1].close()
            if status == "200" and f"x-word: {word}\r\n" in head:
                tell(ask=number, at=time.monotonic())
                return
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        await asyncio.sleep(0.02)


def obey(line: str) -> None:
    told = json.loads(line)
    if "sync" in told:
        tell(sync=told["sync"], counts=counts)
        return
    task = asyncio.create_task(ask(told["ask"], told["host"], told["path"], told["word"]))
    asking.add(task)
    task.add_done_callback(asking.discard)


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    flows = [asyncio.create_task(Flow(text).run()) for text in sys.argv[1:]]
    while line := await reader.readline():
        obey(line.decode())
    for flow in flows:
        flow.cancel()


asyncio.run(main())
