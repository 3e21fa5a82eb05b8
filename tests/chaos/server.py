"""The app of the chaos mesh's pods: `server.py WORD`.

HTTP and WebSockets on 8000, where every answer has the header `x-word: WORD`; the same on 8001 with `x-word: beacon`;
TCP that echoes lines on 5000.


Runs in a pod, with nothing but Python's own library.
"""

import asyncio
import sys
from functools import partial


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def http(word: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"upgrade: websocket" in head.lower():
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                await echo(reader, writer)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nx-word: %s\r\ncontent-length: %d\r\n\r\n%s" % (word, len(word), word))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        pass  # the client has left, or is none
    writer.close()


async def main() -> None:
    await asyncio.start_server(echo, "0.0.0.0", 5000)
    await asyncio.start_server(partial(http, b"beacon"), "0.0.0.0", 8001)
    server = await asyncio.start_server(partial(http, sys.argv[1].encode()), "0.0.0.0", 8000)
    await server.serve_forever()


asyncio.run(main())
