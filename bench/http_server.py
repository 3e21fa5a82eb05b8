"""The plainest HTTP server that keeps connections alive: answers every request with two bytes. Run in a pod."""

import asyncio
import sys

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.pending = (self.pending + data).split(b"\r\n\r\n")
        self.transport.write(ANSWER * len(requests))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, None, port, backlog=1024)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
