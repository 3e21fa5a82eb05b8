"""Discovery as a child of the node: started in the node's namespace, restarted when it ends, asked over HTTP."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pilotfish.model.wellknown import MONITORING_PORT, SECURE_XDS_PORT, XDS_PORT
from pilotfish.runtime.control.views import DiscoveryView, OwnerView, ProblemView, SyncView
from pilotfish.runtime.discovery.client import DiscoveryClient
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.http.message import AnswerError
from pilotfish.runtime.linux.logs import ContainerLog
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import STDOUT, Process, ProcessSpec, start
from pilotfish.runtime.net.subnets import Subnets
from pilotfish.runtime.node.options import UpOptions
from pilotfish.runtime.node.records import TOKEN_KEY

_log = logging.getLogger(__name__)
_LONG_LIVED = 10.0
"""Seconds after which a discovery that ends is restarted at once."""
_LAST_DELAY = 5.0
_TRIES = 3
"""How often it may end before it was ever ready."""
_STOP = 3.0
T = TypeVar("T")


class DiscoveryProcess:
    def __init__(self, node: NetNs, subnets: Subnets, options: UpOptions) -> None:
        address = str(subnets.node[0])
        self.xds = f"{address}:{SECURE_XDS_PORT}"
        self.plaintext = f"{address if options.allow_plaintext else '127.0.0.1'}:{XDS_PORT}"
        """In the node's namespace."""
        self.monitoring = f"{address}:{MONITORING_PORT}"
        self.restarts = 0
        self._node = node
        self._operator = str(subnets.host[0])
        self._options = options
        self._directory = options.directory
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._client = DiscoveryClient(self.monitoring)

    @property
    def view(self) -> DiscoveryView:
        pid = self._process.pid if self._process else None
        return DiscoveryView(
            running=pid is not None,
            pid=pid,
            restarts=self.restarts,
            xds_address=self.xds,
            plaintext_address=self.plaintext,
            monitoring_address=self.monitoring,
        )

    def start(self, on_change: Callable[[], None]) -> None:
        """`on_change` is called whenever the process starts or ends."""
        self._task = asyncio.get_running_loop().create_task(self._supervise(on_change))

    async def wait_ready(self, timeout: float) -> None:
        """Returns when it serves xDS. MachineError, with the end of its log, if that takes over `timeout` seconds."""
        deadline = asyncio.get_running_loop().time() + timeout
        while asyncio.get_running_loop().time() < deadline and self.restarts < _TRIES:
            with suppress(OSError):
                if await self._client.is_ready():
                    return
            await asyncio.sleep(0.02)  # a process that starts announces nothing before its port is open
        why = f"ended {self.restarts} times" if self.restarts else f"is not ready after {timeout:g} s"
        raise MachineError(f"discovery {why}: {self._last_words()}")

    async def wait_synced(self, version: int, wait: float, proxies: int = 0) -> bool:
        """Whether every connected proxy, and so many at least, has acknowledged what follows from objects.json at
        `version`."""
        with suppress(OSError):
            return await self._client.is_synced(version, proxies, wait)
        return False

    async def wait_told(self, version: int, wait: float, proxies: int = 0) -> bool:
        """The same, but for the proxies that do not answer or refuse, which nobody waits for."""
        with suppress(OSError):
            return await self._client.is_told(version, proxies, wait)
        return False

    async def problems(self) -> tuple[ProblemView, ...] | None:
        """None if discovery does not answer."""
        return await _or_none(self._client.problems())

    async def syncs(self) -> tuple[SyncView, ...] | None:
        """None if discovery does not answer."""
        return await _or_none(self._client.syncs())

    async def owners(self, trace: bytes) -> tuple[OwnerView, ...] | None:
        """None if discovery does not answer."""
        return await _or_none(self._client.owners(trace))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP):
                    await self._process.wait()
            except TimeoutError:
                self._process.signal_group(signal.SIGKILL)
                await self._process.wait()

    async def _supervise(self, on_change: Callable[[], None]) -> None:
        """At once after it was killed; after a pause if it keeps ending."""
        loop = asyncio.get_running_loop()
        delay = 0.0
        while True:
            began = loop.time()
            log = ContainerLog(self._log_path())
            self._process = await start(self._spec(log.writer))
            log.started()
            on_change()
            code = await self._process.wait()
            log.close()
            self._process = None
            self.restarts += 1
            _log.error("discovery ended with %d; it is started again", code)
            on_change()
            delay = 0.0 if loop.time() - began > _LONG_LIVED else min(delay + 0.5, _LAST_DELAY)
            # The first restart is immediate, whenever it comes.
            await asyncio.sleep(max(0.0, delay - 0.5))

    def _spec(self, output: int) -> ProcessSpec:
        config = self._directory / "config"
        arguments = {
            "--config": str(config / "objects.json"),
            "--mesh-config": str(config / "mesh.yaml"),
            "--xds-address": self.plaintext,
            "--secure-address": self.xds,
            "--token-key": str((self._directory / TOKEN_KEY).with_suffix(".pub")),
            "--operator": self._operator,
            "--monitoring-address": self.monitoring,
            "--state": str(self._directory / "discovery"),
        }
        if self._options.authority is not None:
            arguments["--ca"] = str(self._options.authority.absolute())
        words = [word for pair in arguments.items() for word in pair]
        run = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
        return ProcessSpec(
            argv=(sys.executable, "-c", run, "discovery", "--allow-plaintext", "--only-pods", *words),
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "PYTHONPATH": str(Path(__file__).parents[3]),
                # Whatever a peer does wrong gRPC would tell in the log.
                "GRPC_VERBOSITY": "NONE",
            },
            netns=self._node,
            stdout=output,
            stderr=STDOUT,
        )

    def _log_path(self) -> Path:
        return self._directory / "discovery.log"

    def _last_words(self) -> str:
        """The last line of its log: this run's, or the previous one's."""
        for path in (self._log_path(), Path(f"{self._log_path()}.1")):
            try:
                lines = path.read_text(errors="replace").strip().splitlines()
            except OSError:
                continue
            if lines:
                return lines[-1]
        return "it wrote nothing"


async def _or_none(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except AnswerError as error:
        _log.warning("discovery's answer is of no use: %s", error)
    except OSError:
        pass
    return None
