"""An open-loop HTTP client: RATE requests a second for SECONDS, over CONNECTIONS kept alive. Run in a pod.

Prints JSON: the latencies' mean, p50, p90 and p99 in milliseconds, counted from when each request was *due*, and how
many requests were not answered with 200.
"""

import asyncio
import json
import sys
import time

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def one(connections: "asyncio.Queue[Connection]", request: bytes, due: float, latencies: list[float]) -> bool:
    connection = await connections.get()
    reader, writer = connection
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
    finally:
        connections.put_nowait(connection)
    latencies.append((time.perf_counter() - due) * 1e3)
    return head.startswith(b"HTTP/1.1 200")


async def main(host: str, port: int, rate: int, seconds: float, connections: int) -> None:
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await asyncio.open_connection(host, port))
    request = f"GET / HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
    for warming in (True, False):
        latencies: list[float] = []
        start = time.perf_counter()
        tasks = []
        for i in range(int(rate * (1 if warming else seconds))):
            due = start + i / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(idle, request, due, latencies)))
        good = await asyncio.gather(*tasks)
    ranked = sorted(latencies)
    print(
        json.dumps(
            {
                "mean": sum(ranked) / len(ranked),
                **{f"p{p}": ranked[min(len(ranked) - 1, len(ranked) * p // 100)] for p in (50, 90, 99)},
                "requests": len(ranked),
                "failed": good.count(False),
            }
        )
    )


host, port, rate, seconds, connections = sys.argv[1:]
asyncio.run(main(host, int(port), int(rate), float(seconds), int(connections)))
