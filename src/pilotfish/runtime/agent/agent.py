"""One pod's agent: what the pod is to have beside its proxy, and when both are ready."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from pilotfish.agent.dnswire import Kind
from pilotfish.agent.draining import DrainPolicy
from pilotfish.agent.metrics import AgentFigures
from pilotfish.agent.taken import Taken
from pilotfish.model.names import NameTable
from pilotfish.model.wellknown import PROXY_DNS_PORT
from pilotfish.runtime.agent.admin import Admin
from pilotfish.runtime.agent.dns import NameServer
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.http import StatusServer
from pilotfish.runtime.agent.nametables import NameSource
from pilotfish.runtime.agent.own_envoy import OwnEnvoy
from pilotfish.runtime.agent.probing import Prober
from pilotfish.runtime.agent.proxying import MakeProxy
from pilotfish.runtime.agent.spec import AgentError, AgentSpec, AgentStatus, CertificateStatus
from pilotfish.runtime.agent.workload import watch_workload
from pilotfish.runtime.discovery.client import DiscoveryClient
from pilotfish.runtime.linux.addresses import find_addresses
from pilotfish.runtime.tasks import Tasks

_EMPTY_TABLE = NameTable(version="none")
"""Of an agent that was given no source of names: below the cluster's domain there are none."""
_LONG_POLL = 30.0
_RETRY = 0.2
_LATE = 0.01
"""Seconds, by which two clocks may differ."""
_QUIT_GRACE = 5.0
"""Seconds for Envoy to end after its drain, where nobody gave a deadline."""


class Agent:
    """`start` once, `stop` once. `on_change` is called, in the event loop, whenever `status` became another."""

    def __init__(
        self,
        spec: AgentSpec,
        host: AgentHost,
        on_change: Callable[[Agent], None] | None = None,
        make_proxy: MakeProxy = OwnEnvoy,
    ) -> None:
        self.spec = spec
        self.prober = Prober(spec.netns, spec.proxy.addresses)
        self.probes = spec.probes
        self.prometheus = spec.prometheus
        self.status = AgentStatus(message="Envoy has not been started")
        self._host = host
        self._on_change = on_change
        self._startup: float | None = None
        self._began = 0.0
        self._names: NameSource | None = None
        self._configured = not spec.monitoring
        """Envoy once took all that discovery has for it, or there is nobody to ask."""
        drain = spec.proxy_config.termination_drain_duration.seconds
        self._policy = spec.draining or DrainPolicy(least=0.0, most=drain)
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        self._changed = asyncio.Event()
        self._quitting: asyncio.Task[None] | None = None
        self._http = StatusServer(self)
        self._dns = NameServer(self.names, host.forwarder, host.own_names, host.alone)
        self._proxy_dns = NameServer(lambda: self.names().clusters, host.forwarder, host.own_names, host.alone)
        self._proxy = make_proxy(spec, host, self._publish)

    @property
    def admin(self) -> Admin:
        """Of the Envoy that serves the pod."""
        return self._proxy.admin

    @property
    def ready(self) -> bool:
        """Envoy has acknowledged its first configuration, its listeners serve, and names of the mesh are known."""
        return self.status.ready

    @property
    def certified(self) -> bool:
        """It has a certificate, or is to have none."""
        return self.spec.authority is None or self.status.certificate.certificate is not None

    @property
    def restarts(self) -> int:
        return self.status.restarts

    @property
    def taken(self) -> Taken:
        """From others. Not part of the status: it changes with the traffic."""
        return self._proxy.taken

    @property
    def pid(self) -> int | None:
        return self.status.pid

    async def start(self) -> None:
        """Serves 15020 and 15053, and starts Envoy; does not wait for it. AgentError if that can't be."""
        try:
            await self._proxy.prepare()
            ports = (self.spec.proxy_config.status_port, *self._proxy.left_ports)
            await self._http.start(self.spec.netns, ports)
            await self._dns.start(self.spec.netns, owner=self.spec.user)
            unreached = _unreached(find_addresses(self.spec.netns))
            await self._proxy_dns.start(
                self.spec.netns, PROXY_DNS_PORT, self.spec.user, hosts=("127.0.0.1",), without=unreached
            )
        except BaseException:
            await self._close()
            raise
        if self.spec.monitoring:
            self._names = self._host.names.subscribe(self.spec.monitoring, self.spec.proxy)
            self._tasks.keep(self._notice_names(self._names))
            self._tasks.keep(self._notice_configured(self._host.names.client(self.spec.monitoring)))
        if self.spec.monitoring and self.spec.workload_probe is not None:
            client = self._host.names.client(self.spec.monitoring)
            self._tasks.keep(watch_workload(self.spec.workload_probe, self.prober, client, self.spec.proxy.id))
        self._began = self._now()
        self._proxy.begin()

    async def wait_ready(self) -> None:
        """Returns when the agent is ready. AgentError if it is stopped before."""
        await self.until(lambda: self.ready or self._proxy.stopped)
        if not self.ready:
            raise AgentError(f"the sidecar of {self.spec.proxy} was stopped before it was ready", "start it again")

    async def restart(self) -> None:
        """As `PodProxy.restart`."""
        await self._proxy.restart()

    async def drain(self, deadline: float) -> None:
        """Returns when no inbound request or connection is left, as the pod's DrainPolicy has it, or at `deadline`.

        Times are `loop.time()`. Envoy runs on: outbound traffic works until `stop`.
        """
        now = self._now()
        self._proxy.drain(min(deadline, now + self._policy.most), now + self._policy.least)
        await self.until(lambda: self._proxy.drained)

    def begin_drain(self) -> None:
        """What /drain asks for: no more inbound work, from now on until the agent is stopped."""
        self._proxy.drain(math.inf)

    async def stop(self, deadline: float) -> None:
        """Ends Envoy, by force at `deadline` (`loop.time()`), and closes all that the agent opened."""
        self._proxy.stop(deadline)
        await self.wait_stopped()
        await self._close()

    async def end(self) -> None:
        """As long as the pod's DrainPolicy gives it."""
        await self.drain(math.inf)
        await self.stop(self._now() + _QUIT_GRACE)

    async def wait_stopped(self) -> None:
        """Returns when the agent was stopped, by whomever."""
        await self.until(lambda: self._proxy.stopped)

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
        self._proxy.drain(most)
        await self.until(lambda: self._proxy.drained)
        await self.stop(self._now() + _QUIT_GRACE)

    def figures(self) -> AgentFigures:
        return AgentFigures(
            ready=self.ready,
            epoch=max(0, self._proxy.epoch),
            restarts=self._proxy.restarts,
            startup_seconds=self._startup,
            dns_queries=self._dns.queries + self._proxy_dns.queries,
            dns_forwarded=self._dns.forwarded + self._proxy_dns.forwarded,
            dns_failures=self._dns.failures + self._proxy_dns.failures,
            dns_names=len(self.names().records),
            scrapes=self._http.scrapes,
            scrape_failures=self._http.scrape_failures,
        )

    async def scrape(self, timeout: float) -> str:
        """Envoy's metrics, as far as they are the pod's."""
        return await self._proxy.scrape(timeout)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def names(self) -> NameTable:
        """What its DNS answers from."""
        return self._names.table if self._names else _EMPTY_TABLE

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
        status = self._proxy.describe(self._lack())
        if status == self.status:
            return
        self._look_again(status.certificate)
        if status.ready and self._startup is None:
            self._startup = self._now() - self._began
        self.status = status
        if self._on_change:
            self._on_change(self)

    def _look_again(self, held: CertificateStatus) -> None:
        """When its certificate expires, whatever else happens."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        left = held.certificate.not_after - time.time() if held.certificate is not None else 0.0
        if left > 0:
            self._expiry = asyncio.get_running_loop().call_later(left + _LATE, self._publish)

    def _lack(self) -> str:
        """What is not there yet, beside Envoy itself."""
        if self._proxy.lack:
            return self._proxy.lack
        if self._names is not None and not self._names.loaded.is_set():
            return f"no names yet from {self.spec.monitoring}"
        if not self._configured:
            return "Envoy has not taken all of its first configuration; get proxies and status say what it lacks"
        return ""

    async def _close(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if self._names:
            self._host.names.unsubscribe(self.spec.monitoring, self.spec.proxy)
            self._names = None
        await self._proxy.close()
        await self._http.close()
        await self._dns.close()
        await self._proxy_dns.close()
        await self._tasks.cancel()


def _unreached(addresses: tuple[str, ...]) -> Kind | None:
    """Envoy takes a name's IPv4 address before its IPv6 address, which is of no use where there is no IPv4."""
    return Kind.A if addresses and all(":" in address for address in addresses) else None
