"""The end of an `asyncio.Server`, by which nobody is lost who was accepted a moment ago."""

from __future__ import annotations

import asyncio


async def stop_serving(server: asyncio.Server) -> None:
    """Whoever is connected stays so. asyncio makes a connection of what it has accepted one turn of the loop later, and
    where its server is closed by then, it fails at that and forgets the socket."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()
