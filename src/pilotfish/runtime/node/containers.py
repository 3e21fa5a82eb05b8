"""A pod's containers as processes: start, signal, probe, run hooks."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from pilotfish.agent.probes import AppProbe, ProbeTable, probe_path, rewrite_probes
from pilotfish.config.kubernetes import Container, ExecAction, HTTPGetAction, LifecycleHandler, ProbeKind
from pilotfish.config.values import IntOrString
from pilotfish.node.container import specified
from pilotfish.node.events import HookKind
from pilotfish.node.identity import PodIdentity
from pilotfish.node.launch import Launch
from pilotfish.runtime.agent.probing import Prober
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.logs import ContainerLog
from pilotfish.runtime.linux.process import STDOUT, BindMount, Process, ProcessSpec, start
from pilotfish.runtime.node.sandbox import Sandbox

_KILLED = 128


class Containers:
    """The processes of one pod, by container name."""

    def __init__(self, identity: PodIdentity, sandbox: Sandbox) -> None:
        self._identity = identity
        self._directory = Path(identity.directory)
        self._sandbox = sandbox
        self._processes: dict[str, Process] = {}
        self._prober = Prober(sandbox.netns, identity.addresses)
        self._table: ProbeTable = rewrite_probes((*identity.spec.init_containers, *identity.spec.containers)).table

    def log_path(self, container: str) -> Path:
        return self._directory / "logs" / f"{container}.log"

    def launch_path(self, container: str) -> Path:
        return self._directory / f"{container}.launch.json"

    async def start(self, container: Container, launch: Launch) -> tuple[Process, ContainerLog]:
        """Returns when the program runs. Raises LaunchError if it can't."""
        log = ContainerLog(self.log_path(container.name))
        try:
            spec = await self._spec(launch, log.writer)
            process = await start(spec)
        except BaseException as error:
            log.note(str(error))
            log.close()
            raise
        log.started()
        self._processes[container.name] = process
        path = self.launch_path(container.name)
        path.touch(mode=0o600)
        spec.save(path)
        return process, log

    def signal(self, container: str, name: str) -> None:
        process = self._processes.get(container)
        if process is not None and name == "KILL":
            process.signal_group(signal.SIGKILL)
        elif process is not None:
            process.signal(signal.SIGTERM)

    async def probe(self, container: Container, kind: ProbeKind, launch: Launch | None) -> tuple[bool, str]:
        """(passed, what happened). `launch` is how the command of an exec probe runs."""
        probe = specified(container)[kind]
        if launch is not None:
            return await self._run(launch, max(1, probe.timeout_seconds))
        app = self._table.get(probe_path(container.name, kind))
        if app is None:
            return False, "the probe's port is not one of the container's ports"
        result = await self._prober.probe(app, {})
        return result.ok, result.message

    async def hook(self, container: Container, handler: LifecycleHandler, launch: Launch | None) -> tuple[bool, str]:
        """postStart or preStop, for as long as it takes."""
        if launch is not None:
            return await self._run(launch, None)
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
            return True, ""
        if handler.http_get is None:
            return True, ""
        action = _numbered(handler.http_get, container)
        if action is None:
            return False, "the hook's port is not one of the container's ports"
        result = await self._prober.probe(AppProbe(http_get=action, timeout_seconds=30), {})
        return result.ok, result.message

    async def _run(self, launch: Launch, timeout: float | None) -> tuple[bool, str]:
        try:
            process = await start(await self._spec(launch, None))
        except (MachineError, OSError) as error:
            return False, str(error)
        try:
            async with asyncio.timeout(timeout):
                code = await process.wait()
        except TimeoutError:
            return False, f"not done within {timeout:g} s"
        finally:
            process.signal_group(signal.SIGKILL)
        return code == 0, "" if code == 0 else f"exit code {exit_code(code)}"

    async def _spec(self, launch: Launch, output: int | None) -> ProcessSpec:
        security = launch.security
        return ProcessSpec(
            argv=launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            uid=security.uid or 0,
            gid=security.gid or 0,
            groups=security.groups,
            bounding=security.capabilities,
            no_new_privileges=security.no_new_privileges,
            read_only_root=security.read_only_root,
            netns=self._sandbox.netns,
            pidns=await self._sandbox.enter(),
            mounts=tuple(BindMount(m.source, m.target, m.read_only, m.root) for m in launch.mounts),
            hidden=self._sandbox.private,
            hostname=self._identity.spec.hostname or self._identity.name,
            stdout=output,
            stderr=None if output is None else STDOUT,
        )


def exec_action(container: Container, kind: ProbeKind) -> ExecAction | None:
    return specified(container)[kind].exec


def hook_handler(container: Container, hook: HookKind) -> LifecycleHandler | None:
    lifecycle = container.lifecycle
    if lifecycle is None:
        return None
    return lifecycle.post_start if hook == "postStart" else lifecycle.pre_stop


def exit_code(returncode: int) -> int:
    """As a shell gives it: 128 + N for signal N."""
    return _KILLED - returncode if returncode < 0 else returncode


def _numbered(action: HTTPGetAction, container: Container) -> HTTPGetAction | None:
    """The action with its port's number; None for a name that the container does not declare."""
    if isinstance(action.port.value, int):
        return action
    number = next((p.container_port for p in container.ports if p.name == action.port.value), None)
    if number is None:
        return None
    return HTTPGetAction(
        port=IntOrString(number),
        path=action.path,
        host=action.host,
        scheme=action.scheme,
        http_headers=action.http_headers,
    )
