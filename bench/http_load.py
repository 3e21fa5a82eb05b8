"""An open-loop HTTP client: RATE requests a second for SECONDS, over CONNECTIONS kept alive. Run in a pod.
With RATE 0 a closed loop: each connection asks as soon as it was answered. HOST@ADDRESS asks an address for a host.

Prints JSON: the latencies' mean, p50, p90 and p99 in milliseconds, counted from when each request was *due*, how many
requests there were, how many of them were not answered with 200, and how many went before them to warm up.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Ask = Callable[[float], Coroutine[Any, Any, bool]]


async def one(connections: "asyncio.Queue[Connection]", request: bytes, latencies: list[float], due: float) -> bool:
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


async def at_rate(ask: Ask, rate: int, seconds: float) -> list[bool]:
    start = time.perf_counter()
    tasks = []
    for i in range(int(rate * seconds)):
        due = start + i / rate
        await asyncio.sleep(max(0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    return await asyncio.gather(*tasks)


async def in_turn(ask: Ask, until: float) -> list[bool]:
    good = []
    while (now := time.perf_counter()) < until:
        good.append(await ask(now))
    return good


async def main(host: str, port: int, rate: int, seconds: float, connections: int) -> None:
    host, _, address = host.partition("@")
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await asyncio.open_connection(address or host, port))
    request = f"GET / HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
    warmed = 0
    for warming in (True, False):
        latencies: list[float] = []
        ask, spell = partial(one, idle, request, latencies), 1.0 if warming else seconds
        if rate:
            good = await at_rate(ask, rate, spell)
        else:
            until = time.perf_counter() + spell
            turns = await asyncio.gather(*(in_turn(ask, until) for _ in range(connections)))
            good = [each for turn in turns for each in turn]
        warmed += len(good) if warming else 0
    ranked = sorted(latencies)
    print(
        json.dumps(
            {
                "mean": sum(ranked) / len(ranked),
                **{f"p{p}": ranked[min(len(ranked) - 1, len(ranked) * p // 100)] for p in (50, 90, 99)},
                "requests": len(ranked),
                "failed": good.count(False),
                "warmed": warmed,
            }
        )
    )


host, port, rate, seconds, connections = sys.argv[1:]
asyncio.run(main(host, int(port), int(rate), float(seconds), int(connections)))
