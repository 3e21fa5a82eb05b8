"""One request over HTTP/3, and what the client saw of the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    status: str = ""
    """"" if none came."""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    certificate: str = ""
    """The server's common name."""
    error: str = ""


def call_http3(
    netns: str, address: str, port: int, host: str, path: str = "/", *, trusted: Path, within: float = 8.0
) -> Seen:
    """By the client of aioquic. `trusted` is the authority's certificate; in the empty netns the machine's own."""
    asked = {"address": address, "port": port, "host": host, "path": path, "trusted": str(trusted), "within": within}
    inside = ["ip", "netns", "exec", netns] if netns else []
    # The client's packages are where this process has them.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*inside, sys.executable, "-c", _CLIENT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=environment,
    )
    return Seen(**json.loads(done.stdout))


_CLIENT = """
import asyncio, json, os, sys
from aioquic.asyncio import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
asked, seen = json.load(sys.stdin), {}
class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http, self.done, self.body = H3Connection(self._quic), asyncio.Event(), b""
    def quic_event_received(self, event):
        for each in self.http.handle_event(event):
            if isinstance(each, HeadersReceived):
                headers = {name.decode(): value.decode() for name, value in each.headers}
                seen["status"], seen["headers"] = headers.pop(":status"), headers
            if isinstance(each, DataReceived):
                self.body += each.data
            if each.stream_ended:
                self.done.set()
    async def ask(self):
        stream = self._quic.get_next_available_stream_id()
        head = {":method": "GET", ":scheme": "https", ":authority": asked["host"], ":path": asked["path"]}
        head["x-show"] = "1"
        self.http.send_headers(stream, [(k.encode(), v.encode()) for k, v in head.items()], end_stream=True)
        self.transmit()
        await self.done.wait()
        seen["body"] = self.body.decode()
async def main():
    config = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=asked["host"].partition(":")[0])
    config.load_verify_locations(asked["trusted"])
    try:
        async with asyncio.timeout(asked["within"]):
            async with connect(asked["address"], asked["port"], configuration=config, create_protocol=Client) as client:
                subject = client._quic.tls._peer_certificate.subject
                seen["certificate"] = subject.rfc4514_string().removeprefix("CN=")
                await client.ask()
                tell()  # and no long goodbyes
    except (OSError, TimeoutError) as error:
        seen["error"] = repr(error)
    tell()
def tell():
    print(json.dumps(seen), flush=True)
    os._exit(0)
asyncio.run(main())
"""
