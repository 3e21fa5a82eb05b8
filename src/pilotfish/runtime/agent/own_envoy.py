"""An Envoy of an agent's own: it feeds the machine of `pilotfish.agent.supervisor` with what happens, and does what it
says.

    Start, Drain, Stop, exits, admin /stats ──▶ Supervisor ──▶ processes, questions to the admin, held ports
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from pilotfish.agent.events import (
    Answered,
    Ask,
    Drain,
    Effect,
    Event,
    Hold,
    Kill,
    Post,
    Release,
    Restart,
    Spawn,
    Start,
    Stop,
    Tick,
)
from pilotfish.agent.intake import INTAKES
from pilotfish.agent.supervisor import Phase, Supervisor
from pilotfish.agent.taken import Taken
from pilotfish.model.wellknown import PROXY_PORTS
from pilotfish.runtime.agent.admin import Admin
from pilotfish.runtime.agent.envoy import count_workers, envoy_user, linger_of, render_bootstrap
from pilotfish.runtime.agent.files import FileSecrets
from pilotfish.runtime.agent.holding import HeldPorts, Holding
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.agent.identity import ServedIdentity
from pilotfish.runtime.agent.running import Envoys
from pilotfish.runtime.agent.sockets import check_free, has_ipv6
from pilotfish.runtime.agent.spec import AgentError, AgentSpec, AgentStatus
from pilotfish.runtime.agent.status import describe
from pilotfish.runtime.linux.logs import Sorter
from pilotfish.runtime.tasks import Tasks


class OwnEnvoy:
    """Implements `proxying.PodProxy`."""

    left_ports: tuple[int, ...] = ()

    def __init__(
        self,
        spec: AgentSpec,
        host: AgentHost,
        on_change: Callable[[], None],
        held: Holding | None = None,
        sorter: Sorter | None = None,
    ) -> None:
        """`held`: who keeps its ports open while it is away; None: this. `sorter`: of its log."""
        self.admin = Admin(spec.netns, spec.proxy_config.proxy_admin_port)
        self._spec = spec
        self._host = host
        self._on_change = on_change
        self._machine = Supervisor(INTAKES[spec.proxy.type], linger_of(spec))
        self._bootstrap = b""
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        user = envoy_user(spec)
        workers = count_workers(spec.proxy_config.concurrency)
        self._held = held or HeldPorts(spec.netns, user[0], workers, spec.transparent)
        self.identity = ServedIdentity(spec, host, on_change)
        self._files = FileSecrets(user, on_change)
        self._envoys = Envoys(spec, host, self.identity.sources, sorter, self._receive)

    @property
    def taken(self) -> Taken:
        return self._machine.taken

    @property
    def epoch(self) -> int:
        return self._machine.epoch

    @property
    def restarts(self) -> int:
        return self._machine.restarts

    @property
    def drained(self) -> bool:
        return self._machine.drained

    @property
    def stopped(self) -> bool:
        return self._machine.phase is Phase.STOPPED

    @property
    def lack(self) -> str:
        return self.identity.lack

    def describe(self, lacks: str) -> AgentStatus:
        return describe(
            self._machine,
            self._spec,
            lacks,
            self._envoys.revision,
            self._envoys.started_at(self._machine.pid),
            self.identity.status,
            self._files.unusable,
        )

    async def prepare(self) -> None:
        self._host.find_envoy()
        self._bootstrap = render_bootstrap(self._spec, self.identity.sources)
        self._prepare_directory()
        everywhere = "::" if has_ipv6(self._spec.netns) else "0.0.0.0"
        for host, port in (("127.0.0.1", self.admin.port), *((everywhere, port) for port in PROXY_PORTS)):
            check_free(self._spec.netns, host, port)
        await self._files.start(self._spec.netns)
        await self.identity.start(*envoy_user(self._spec))

    def begin(self) -> None:
        self._receive(Start())

    async def restart(self) -> None:
        machine, proxy = self._machine, self._spec.proxy
        if not self._spec.takes_over:
            raise AgentError(f"no other Envoy can take over from that of {proxy}", "restart its pod")
        if why := machine.why_not_restart(asyncio.get_running_loop().time()):
            raise AgentError(f"the Envoy of {proxy} is not restarted: {why}", "try again then")
        pid, failed = machine.pid, machine.handovers_failed
        self._receive(Restart())
        while machine.pid in (pid, None) and machine.handovers_failed == failed and not self.stopped:
            await self._changed.wait()
        if machine.handovers_failed != failed:
            what = f"no other Envoy took over from that of {proxy}: {machine.why_not_handed_over}"
            raise AgentError(what, "its log says more")
        if self.stopped:
            raise AgentError(f"the Envoy of {proxy} was stopped before another took over from it", "start it again")

    def drain(self, until: float, earliest: float = 0.0) -> None:
        self._receive(Drain(until, earliest))

    def stop(self, deadline: float) -> None:
        self._receive(Stop(deadline))

    async def close(self) -> None:
        self._held.close()
        await self.identity.close()
        await self._files.close()
        await self._tasks.cancel()

    async def scrape(self, timeout: float) -> str:
        response = await self.admin.request("GET", "/stats/prometheus?usedonly", timeout)
        return response.body.decode(errors="replace")

    def _receive(self, event: Event) -> None:
        now = asyncio.get_running_loop().time()
        for effect in self._machine.receive(event, now):
            self._perform(effect)
        if self._timer:
            self._timer.cancel()
        at = self._machine.timer()
        self._timer = None if at is None else asyncio.get_running_loop().call_at(at, self._receive, Tick())
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_change()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._tasks.keep(self._envoys.run(effect, self._bootstrap))
            case Ask(pattern):
                self._tasks.keep(self._ask(pattern))
            case Post(path):
                self._tasks.keep(self._post(path))
            case Kill(epoch, number):
                self._envoys.signal(epoch, number)
            case Hold(ports):
                self._held.hold(ports)
                # It can hand no pipe on, which is what an Envoy without a log writes to.
                if self._spec.log:
                    self._host.spare.prepare()
            case Release(ports):
                self._held.release(ports)

    async def _ask(self, pattern: str) -> None:
        self._receive(Answered(await self.admin.stats(pattern)))

    async def _post(self, path: str) -> None:
        # An Envoy that does not hear it is drained by the deadline all the same.
        with suppress(OSError):
            await self.admin.request("POST", path)

    def _prepare_directory(self) -> None:
        directory = self._spec.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # A pod's volume is somebody else's, and everybody's to write.
            if directory.stat().st_uid == os.geteuid():
                directory.chmod(0o755)
        except OSError as error:
            raise AgentError(f"the agent can't write to {directory}: {error.strerror}", "use root") from error
