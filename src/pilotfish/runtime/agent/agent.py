"""One pod's agent: it feeds the machine of `pilotfish.agent.supervisor` with what happens, and does what it says."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from pilotfish.agent.draining import DrainPolicy
from pilotfish.agent.events import (
    Answered,
    Ask,
    Drain,
    Effect,
    Event,
    Exited,
    Hold,
    Kill,
    Post,
    Release,
    Spawn,
    Spawned,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.intake import INTAKES
from pilotfish.agent.metrics import AgentFigures
from pilotfish.agent.readiness import parse_stats
from pilotfish.agent.supervisor import Phase, Supervisor
from pilotfish.agent.taken import Taken
from pilotfish.model.names import NameTable
from pilotfish.model.wellknown import PROXY_DNS_PORT, PROXY_PORTS
from pilotfish.runtime.agent.admin import Admin
from pilotfish.runtime.agent.dns import NameServer
from pilotfish.runtime.agent.envoy import (
    count_workers,
    envoy_process,
    envoy_user,
    render_bootstrap,
    write_bootstrap,
)
from pilotfish.runtime.agent.files import FileSecrets
from pilotfish.runtime.agent.holding import HeldPorts
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.http import StatusServer
from pilotfish.runtime.agent.identity import ServedIdentity
from pilotfish.runtime.agent.nametables import NameSource
from pilotfish.runtime.agent.probing import Prober
from pilotfish.runtime.agent.sockets import check_free
from pilotfish.runtime.agent.spec import AgentError, AgentSpec, AgentStatus
from pilotfish.runtime.agent.status import describe
from pilotfish.runtime.agent.workload import watch_workload
from pilotfish.runtime.discovery.client import DiscoveryClient
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import process
from pilotfish.runtime.linux.logs import ContainerLog
from pilotfish.runtime.linux.process import PIPE

_EMPTY_TABLE = NameTable(version="none")
"""Of an agent that was given no source of names: below the cluster's domain there are none."""
_FAILED_TO_START = 126
_LONG_POLL = 30.0
_RETRY = 0.2
_QUIT_GRACE = 5.0
"""Seconds for Envoy to end after its drain, where nobody gave a deadline."""


class Agent:
    """`start` once, `stop` once. `on_change` is called, in the event loop, whenever `status` became another."""

    def __init__(self, spec: AgentSpec, host: AgentHost, on_change: Callable[[Agent], None] | None = None) -> None:
        self.spec = spec
        self.admin = Admin(spec.netns, spec.proxy_config.proxy_admin_port)
        self.prober = Prober(spec.netns, spec.proxy.addresses)
        self.probes = spec.probes
        self.prometheus = spec.prometheus
        self.status = AgentStatus(message="Envoy has not been started")
        self._host = host
        self._on_change = on_change
        self._machine = Supervisor(INTAKES[spec.proxy.type])
        self._process: process.Process | None = None
        self._bootstrap = b""
        self._revision = -1
        self._started_at: float | None = None
        self._startup: float | None = None
        self._began = 0.0
        self._names: NameSource | None = None
        self._configured = not spec.monitoring
        """Envoy once took all that discovery has for it, or there is nobody to ask."""
        self._timer: asyncio.TimerHandle | None = None
        drain = spec.proxy_config.termination_drain_duration.seconds
        self._policy = spec.draining or DrainPolicy(least=0.0, most=drain)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._quitting: asyncio.Task[None] | None = None
        user = envoy_user(spec)
        self._held = HeldPorts(spec.netns, user[0], count_workers(spec.proxy_config.concurrency), spec.transparent)
        self._identity = ServedIdentity(spec, host, self._publish)
        self._http = StatusServer(self)
        self._files = FileSecrets(user, self._publish)
        self._dns = NameServer(self.names, host.forwarder, host.own_names, host.alone)
        self._proxy_dns = NameServer(lambda: self.names().clusters, host.forwarder, host.own_names, host.alone)

    @property
    def ready(self) -> bool:
        """Envoy has acknowledged its first configuration, its listeners serve, and names of the mesh are known."""
        return self.status.ready

    @property
    def restarts(self) -> int:
        return self.status.restarts

    @property
    def taken(self) -> Taken:
        """From others. Not part of the status: it changes with the traffic."""
        return self._machine.taken

    @property
    def pid(self) -> int | None:
        return self.status.pid

    async def start(self) -> None:
        """Serves 15020 and 15053, and starts Envoy; does not wait for it. AgentError if that can't be."""
        self._host.find_envoy()
        self._bootstrap = render_bootstrap(self.spec, self._identity.sources)
        self._prepare_directory()
        self._check_ports()
        try:
            await self._http.start(self.spec.netns, self.spec.proxy_config.status_port)
            await self._dns.start(self.spec.netns, owner=self.spec.user)
            await self._proxy_dns.start(self.spec.netns, PROXY_DNS_PORT, self.spec.user, hosts=("127.0.0.1",))
            await self._files.start(self.spec.netns)
            await self._identity.start(*envoy_user(self.spec))
        except BaseException:
            await self._close_servers()
            raise
        if self.spec.monitoring:
            self._names = self._host.names.subscribe(self.spec.monitoring, self.spec.proxy)
            self._keep(self._notice_names(self._names))
            self._keep(self._notice_configured(self._host.names.client(self.spec.monitoring)))
        if self.spec.monitoring and self.spec.workload_probe is not None:
            client = self._host.names.client(self.spec.monitoring)
            self._keep(watch_workload(self.spec.workload_probe, self.prober, client, self.spec.proxy.id))
        self._began = self._now()
        self._receive(Start())

    async def wait_ready(self) -> None:
        """Returns when the agent is ready. AgentError if it is stopped before."""
        await self.until(lambda: self.ready or self._machine.phase is Phase.STOPPED)
        if not self.ready:
            raise AgentError(f"the sidecar of {self.spec.proxy} was stopped before it was ready", "start it again")

    async def drain(self, deadline: float) -> None:
        """Returns when no inbound request or connection is left, as the pod's DrainPolicy has it, or at `deadline`.

        Times are `loop.time()`. Envoy runs on: outbound traffic works until `stop`.
        """
        now = self._now()
        self._receive(Drain(min(deadline, now + self._policy.most), now + self._policy.least))
        await self.until(lambda: self._machine.drained)

    def begin_drain(self) -> None:
        """What /drain asks for: no more inbound work, from now on until the agent is stopped."""
        self._receive(Drain(math.inf))

    async def stop(self, deadline: float) -> None:
        """Ends Envoy, by force at `deadline` (`loop.time()`), and closes all that the agent opened."""
        self._receive(Stop(deadline))
        await self.until(lambda: self._machine.phase is Phase.STOPPED)
        await self._close_servers()

    async def end(self) -> None:
        """As long as the pod's DrainPolicy gives it."""
        await self.drain(math.inf)
        await self.stop(self._now() + _QUIT_GRACE)

    async def wait_stopped(self) -> None:
        """Returns when the agent was stopped, by whomever."""
        await self.until(lambda: self._machine.phase is Phase.STOPPED)

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Returns as soon as the predicate holds; it is asked whenever something happened."""
        while not predicate():
            await self._changed.wait()

    def quit(self) -> None:
        """What /quitquitquit asks for: end when nobody calls the pod any more, as its work is done."""
        # Not among the tasks that stopping cancels: it is the one that stops.
        self._quitting = asyncio.get_running_loop().create_task(self._quit())

    async def _quit(self) -> None:
        most = self._now() + self.spec.proxy_config.termination_drain_duration.seconds
        self._receive(Drain(most))
        await self.until(lambda: self._machine.drained)
        await self.stop(self._now() + _QUIT_GRACE)

    def figures(self) -> AgentFigures:
        return AgentFigures(
            ready=self.ready,
            epoch=max(0, self._machine.epoch),
            restarts=self._machine.restarts,
            startup_seconds=self._startup,
            dns_queries=self._dns.queries + self._proxy_dns.queries,
            dns_forwarded=self._dns.forwarded + self._proxy_dns.forwarded,
            dns_failures=self._dns.failures + self._proxy_dns.failures,
            dns_names=len(self.names().records),
            scrapes=self._http.scrapes,
            scrape_failures=self._http.scrape_failures,
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def names(self) -> NameTable:
        """What its DNS answers from."""
        return self._names.table if self._names else _EMPTY_TABLE

    def _receive(self, event: Event) -> None:
        now = self._now()
        for effect in self._machine.receive(event, now):
            self._perform(effect)
        if self._timer:
            self._timer.cancel()
        at = self._machine.timer()
        self._timer = None if at is None else asyncio.get_running_loop().call_at(at, self._receive, Tick())
        self._publish()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._keep(self._run_envoy())
            case Ask(pattern):
                self._keep(self._ask(pattern))
            case Post(path):
                self._keep(self._post(path))
            case Kill(number):
                if self._process:
                    self._process.signal(number)
            case Hold(ports):
                self._held.hold(ports)
                # It can hand no pipe on, which is what an Envoy without a log writes to.
                if self.spec.log:
                    self._host.spare.prepare()
            case Release(ports):
                self._held.release(ports)

    async def _run_envoy(self) -> None:
        """One epoch: from the bootstrap to the exit code."""
        log: ContainerLog | None = None
        try:
            self._revision = write_bootstrap(self.spec.directory, self._bootstrap, *envoy_user(self.spec))
            log = ContainerLog(self.spec.log) if self.spec.log else None
            output, secrets = log.writer if log else _own_output(self.spec), self._identity.sources
            launch = envoy_process(self.spec, self._host.find_envoy(), self._revision, output, secrets)
            running = await process.start(launch, self._host.spare)
        except (MachineError, OSError) as error:
            if log:
                log.note(str(error))
                log.close()
            self._receive(Exited(_FAILED_TO_START, str(error)))
            return
        self._process = running
        self._started_at = time.time()
        self._receive(Spawned(running.pid))
        code = await self._attend(running, log)
        self._process = None
        self._receive(Exited(code))

    async def _attend(self, running: process.Process, log: ContainerLog | None) -> int:
        """Takes what it says, until it ends."""
        if log:
            log.started()
            code = await running.wait()
            log.close()
            return code
        if running.stdout:
            await _copy_to_stdout(running.stdout)
        return await running.wait()

    async def _ask(self, pattern: str) -> None:
        try:
            response = await self.admin.request("GET", f"/stats?filter={quote(pattern, safe='')}")
            stats = parse_stats(response.body.decode(errors="replace")) if response.status == 200 else None
        except OSError:
            stats = None
        self._receive(Answered(stats))

    async def _post(self, path: str) -> None:
        # An Envoy that does not hear it is drained by the deadline all the same.
        with suppress(OSError):
            await self.admin.request("POST", path)

    async def _notice_names(self, names: NameSource) -> None:
        await names.loaded.wait()
        self._publish()

    async def _notice_configured(self, discovery: DiscoveryClient) -> None:
        """Envoy's own figures don't tell what it refused of its first configuration; discovery knows."""
        while not self._configured:
            try:
                self._configured = await discovery.is_configured(self.spec.proxy.id, _LONG_POLL)
            except OSError:
                await asyncio.sleep(_RETRY)  # discovery is away: its port announces nothing
        self._publish()

    def _publish(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        status = describe(
            self._machine,
            self.spec,
            self._lack(),
            self._revision,
            self._started_at,
            self._identity.status,
            self._files.unusable,
        )
        if status == self.status:
            return
        if status.ready and self._startup is None:
            self._startup = self._now() - self._began
        self.status = status
        if self._on_change:
            self._on_change(self)

    def _lack(self) -> str:
        """What is not there yet, beside Envoy itself."""
        if self._identity.lack:
            return self._identity.lack
        if self._names is not None and not self._names.loaded.is_set():
            return f"no names yet from {self.spec.monitoring}"
        if not self._configured:
            return "Envoy has not taken all of its first configuration; get proxies and status say what it lacks"
        return ""

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _prepare_directory(self) -> None:
        directory = self.spec.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # A pod's volume is somebody else's, and everybody's to write.
            if directory.stat().st_uid == os.geteuid():
                directory.chmod(0o755)
        except OSError as error:
            raise AgentError(f"the agent can't write to {self.spec.directory}: {error.strerror}", "use root") from error

    def _check_ports(self) -> None:
        for host, port in (("127.0.0.1", self.admin.port), *(("0.0.0.0", port) for port in PROXY_PORTS)):
            check_free(self.spec.netns, host, port)

    async def _close_servers(self) -> None:
        if self._names:
            self._host.names.unsubscribe(self.spec.monitoring, self.spec.proxy)
            self._names = None
        self._held.close()
        await self._identity.close()
        await self._http.close()
        await self._dns.close()
        await self._proxy_dns.close()
        await self._files.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _own_output(spec: AgentSpec) -> int:
    """Our standard output, where an Envoy that is the same user may open it as /dev/stdout; else a pipe, to be copied
    there."""
    if spec.user is None:
        with suppress(OSError):
            os.close(os.open("/dev/stdout", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
            return sys.stdout.fileno()
    return PIPE


async def _copy_to_stdout(reader: asyncio.StreamReader) -> None:
    """A pipe of its own, not our standard output: Envoy's user may not open that as /dev/stdout."""
    while chunk := await reader.read(65536):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
