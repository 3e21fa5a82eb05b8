"""A discovery and an Envoy as processes in a network namespace of their own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from pilotfish.envoy.bootstrap import BootstrapSpec, bootstrap
from pilotfish.model import Proxy
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import STDOUT, Process, ProcessSpec, start
from tests.manifests import save
from tests.prometheus import total
from tests.waiting import until

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(SOURCE)}
RUN = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"


@dataclass
class Lab:
    """One network namespace with a discovery in it."""

    netns: NetNs
    directory: Path
    http: aiohttp.ClientSession
    discovery: Process | None = None
    envoy: Process | None = None

    @property
    def config(self) -> Path:
        return self.directory / "config"

    def write(self, text: str, name: str = "mesh.yaml") -> None:
        save(self.config / name, text)

    async def start_discovery(self, *more: str) -> None:
        options = ("--config", str(self.config), "--state", str(self.directory / "state"), *more)
        argv = (sys.executable, "-c", RUN, "discovery", *options)
        log = str(self.directory / "discovery.log")
        spec = ProcessSpec(argv=argv, env=ENVIRONMENT, netns=self.netns, stdout=log, stderr=STDOUT)
        self.discovery = await start(spec)
        await until("discovery is ready", lambda: self.get("/ready"))

    async def start_envoy(self, name: str = "web-0", address: str = "127.0.0.1") -> None:
        spec = BootstrapSpec(Proxy.of_pod(name, "vm", (address,)), discovery_address="127.0.0.1", ipv6=False)
        path = self.directory / "envoy.json"
        path.write_bytes(msgspec.json.encode(bootstrap(spec)))
        argv = (str(find_envoy()), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
        log = str(self.directory / "envoy.log")
        self.envoy = await start(ProcessSpec(argv=argv, env={}, netns=self.netns, stdout=log, stderr=STDOUT))

    async def kill(self, process: Process | None) -> None:
        if process is not None and process.returncode is None:
            process.signal(signal.SIGKILL)
            await process.wait()

    async def get(self, path: str, port: int = 15014) -> str:
        """ "" where nothing or no 200 comes back."""
        try:
            async with self.http.get(f"http://127.0.0.1:{port}{path}") as response:
                text = await response.text()
                return text if response.status == 200 else ""
        except (aiohttp.ClientError, OSError):
            return ""

    async def json(self, path: str, port: int = 15014) -> Any:
        text = await self.get(path, port)
        return json.loads(text) if text else None

    async def synced(self) -> bool:
        """The Envoy is connected and has acknowledged all."""
        rows = await self.json("/api/syncs")
        return (
            bool(rows)
            and all(row["types"][name] in ("SYNCED", "NOT SENT") for row in rows for name in ("cds", "lds"))
            and bool(await self.get("/api/synced?resourceVersion=0"))
        )

    async def problems(self) -> list[dict[str, Any]]:
        return [p for p in await self.json("/api/problems") or () if p["severity"] == "error"]

    async def envoy_routes(self) -> str:
        return await self.get("/config_dump?resource=dynamic_route_configs", 15000)

    async def metric(self, name: str) -> float:
        return total(await self.get("/metrics"), name)


@asynccontextmanager
async def lab(netns: NetNs, directory: Path) -> AsyncIterator[Lab]:
    (directory / "config").mkdir()
    connector = aiohttp.TCPConnector(socket_factory=lambda info: netns.socket(info[0], info[1]), force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as http:
        made = Lab(netns, directory, http)
        try:
            yield made
        finally:
            await made.kill(made.envoy)
            await made.kill(made.discovery)
