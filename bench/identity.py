"""What certificates cost: signing one, asking for one over the wire, and an agent that has one.

    python -m bench.identity [--requests N] [--agents N]

Discovery is a process of its own; the agents' share in certificates is in this one. Needs no root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pilotfish.identity.authority import Authority, make_root
from pilotfish.identity.requests import build_request, new_key, parse_request
from pilotfish.identity.tokens import Claims, make_token, public_key
from pilotfish.model.identity import Identity
from pilotfish.model.private import PrivateBytes, reveal
from pilotfish.model.renewal import RenewalPolicy
from pilotfish.model.wellknown import DISCOVERY_NAME
from pilotfish.runtime.agent import AuthoritySpec
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.certificates import Certificates
from pilotfish.runtime.agent.roots import Followers
from pilotfish.runtime.agent.sds import SecretServer

WEB = Claims("vm", "web", "web-0")
AT_ONCE = 4


def open_socket(family: int) -> socket.socket:
    return socket.socket(family)


def free_ports(count: int) -> list[int]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in made]
    for each in made:
        each.close()
    return ports


def anonymous() -> int:
    """Kilobytes of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def sign(authority: Authority, count: int) -> float:
    """Certificates a second, on one core, with nothing around it."""
    identity = Identity("cluster.local", "vm", "web")
    requests = [build_request(new_key()) for _ in range(count)]
    began = time.perf_counter()
    for request in requests:
        authority.sign(parse_request(request).public_key, identity, 3600, time.time())
    return count / (time.perf_counter() - began)


@asynccontextmanager
async def discovery(directory: Path, key: PrivateBytes) -> AsyncIterator[AuthoritySpec]:
    (directory / "token.pub").write_bytes(public_key(key))
    (directory / "config").mkdir()
    secure, xds, monitoring = free_ports(3)
    options = {
        "--config": directory / "config",
        "--state": directory / "state",
        "--token-key": directory / "token.pub",
        "--secure-address": f"127.0.0.1:{secure}",
        "--xds-address": f"127.0.0.1:{xds}",
        "--monitoring-address": f"127.0.0.1:{monitoring}",
        "--log-level": "error",
    }
    words = [str(word) for pair in options.items() for word in pair]
    run = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", run, "discovery", *words)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", secure)).close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        roots = directory / "state" / "ca" / "root-cert.pem"
        yield AuthoritySpec(f"127.0.0.1:{secure}", roots, lambda: make_token(key, WEB, time.time()), DISCOVERY_NAME)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def ask(authority: AuthoritySpec, count: int) -> float:
    """Certificates a second that come over the wire, each on a connection of its own."""
    client = AuthorityClient(authority, open_socket)
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await client.create(build_request(new_key()), 3600, reveal(authority.token()))

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


async def hold(authority: AuthoritySpec, directory: Path, count: int) -> float:
    """Kilobytes that an agent's certificate, with its socket, takes."""
    followers = Followers(open_socket)
    agents: list[tuple[Certificates, SecretServer]] = []

    async def add(number: int) -> None:
        server = SecretServer()
        client = AuthorityClient(authority, open_socket)
        serve: Callable[[], None] = lambda: server.update(certificates.secrets)  # noqa: E731
        certificates = Certificates(client, followers.of(authority), RenewalPolicy(), serve)
        await server.start(directory / f"{number}", os.geteuid(), os.getegid())
        certificates.start()
        agents.append((certificates, server))
        while not certificates.secrets:
            await asyncio.sleep(0.005)

    await add(0)
    before = anonymous()
    for number in range(1, count + 1):
        await add(number)
    each = (anonymous() - before) / count
    for certificates, server in agents:
        await certificates.close()
        await server.close()
    await followers.close()
    return each


async def main(requests: int, agents: int) -> None:
    with tempfile.TemporaryDirectory(prefix="pf-bench-") as made:
        async with discovery(Path(made), new_key()) as authority:
            # First: what the others leave behind would be used again.
            each = await hold(authority, Path(made), agents)
            print(f"an agent's certificate and socket: {each:.0f} kB, of {agents}")
            rate = await ask(authority, requests)
            print(f"asked for over TLS: {rate:.0f} certificates/s, with {AT_ONCE} clients' keys, tokens and requests")
    print(f"signed: {sign(make_root('cluster.local', time.time()), requests):.0f} certificates/s on one core")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--agents", type=int, default=50)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.requests, arguments.agents))
