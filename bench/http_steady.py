"""An open-loop HTTP client that goes on whatever happens: RATE requests a second for SECONDS. Run in a pod.
With `-` for SECONDS: until its input ends.

`kept` uses connections again, and opens others for those that ended; `fresh` opens one for each request. Prints JSON:
the requests that were not answered with 200 by reason and when the first of them was due (CLOCK_MONOTONIC, which is the
same for the whole machine), the longest time without a good answer, and the slowest answer.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import pairwise
from math import inf

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE = 5.0


async def ask(connection: Connection, request: bytes) -> tuple[str, bool]:
    """The status, and whether the connection may be used again."""
    reader, writer = connection
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return head[9:12].decode(), b"connection: close" not in head.lower()


class Client:
    def __init__(self, host: str, port: int, keep: bool) -> None:
        self.host, self.port, self.keep = host, port, keep
        self.request = f"GET / HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
        self.idle: list[Connection] = []
        self.answers: list[tuple[float, float, str]] = []
        """When each was due and done, and its status or what went wrong."""

    async def one(self, due: float) -> None:
        connection: Connection | None = None
        stays = False
        try:
            async with asyncio.timeout(PATIENCE):
                while self.idle and connection is None:
                    candidate = self.idle.pop()
                    connection = None if candidate[0].at_eof() else candidate
                connection = connection or await asyncio.open_connection(self.host, self.port)
                result, stays = await ask(connection, self.request)
        except (OSError, asyncio.IncompleteReadError) as error:
            result = type(error).__name__
        self.answers.append((due, time.monotonic(), result))
        if connection is None:
            return
        if self.keep and stays:
            self.idle.append(connection)
        else:
            connection[1].close()


async def input_ends() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main(host: str, port: int, rate: int, seconds: str, mode: str) -> None:
    client = Client(host, port, mode == "kept")
    over = asyncio.create_task(input_ends()) if seconds == "-" else None
    most = inf if over is not None else int(rate * float(seconds))
    start = time.monotonic()
    tasks: list[asyncio.Task[None]] = []
    while len(tasks) < most and not (over is not None and over.done()):
        due = start + len(tasks) / rate
        await asyncio.sleep(max(0, due - time.monotonic()))
        tasks.append(asyncio.create_task(client.one(due)))
    await asyncio.gather(*tasks)
    good = sorted(done for _, done, result in client.answers if result == "200")
    lost = [(due, result) for due, _, result in client.answers if result != "200"]
    print(
        json.dumps(
            {
                "requests": len(client.answers),
                "lost": Counter(result for _, result in lost),
                "first": min(lost, default=None),
                "gap": max((b - a for a, b in pairwise(good)), default=time.monotonic() - start) * 1e3,
                "slowest": max((done - due for due, done, result in client.answers if result == "200"), default=0)
                * 1e3,
            }
        )
    )


host, port, rate, seconds, mode = sys.argv[1:]
asyncio.run(main(host, int(port), int(rate), seconds, mode))
