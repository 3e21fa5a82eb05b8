"""A pod's containers: start, signal, probe, run hooks."""

from __future__ import annotations

import asyncio
import shutil
import signal
from dataclasses import replace
from pathlib import Path

from pilotfish.agent.probes import AppProbe, ProbeTable, probe_path, rewrite_probes
from pilotfish.config.kubernetes import Container, ExecAction, HTTPGetAction, LifecycleHandler, ProbeKind
from pilotfish.config.values import IntOrString
from pilotfish.node.container import specified
from pilotfish.node.events import HookKind
from pilotfish.node.identity import PodIdentity
from pilotfish.node.images import Image
from pilotfish.node.launch import Launch
from pilotfish.runtime.agent.probing import Prober
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.cgroups import ControlGroup
from pilotfish.runtime.linux.logs import ContainerLog
from pilotfish.runtime.linux.process import STDOUT, Account, ImageRoot, Process, ProcessSpec, start
from pilotfish.runtime.node.sandbox import Sandbox
from pilotfish.runtime.node.volumes import bind_mount
from pilotfish.runtime.thread import in_thread

_KILLED = 128


class Containers:
    """The processes of one pod, by container name."""

    def __init__(self, identity: PodIdentity, sandbox: Sandbox) -> None:
        self._identity = identity
        self._directory = Path(identity.directory)
        self._sandbox = sandbox
        self._processes: dict[str, Process] = {}
        self._stops: dict[str, int] = {}
        """The signal that asks a container to end."""
        self._groups: dict[str, ControlGroup] = {}
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
            spec = await self._spec(container.name, launch, log.writer)
            process = await start(spec)
        except BaseException as error:
            self.end(container.name)
            log.note(str(error))
            log.close()
            raise
        log.started()
        self._processes[container.name] = process
        self._stops[container.name] = launch.image.stop if launch.image else signal.SIGTERM
        path = self.launch_path(container.name)
        path.touch(mode=0o600)
        spec.save(path)
        return process, log

    def end(self, container: str) -> bool:
        """After its process has ended: what is left of it goes. True if it took more memory than it may."""
        group = self._groups.pop(container, None)
        if group is None:
            return False
        killed = group.count_kills()
        group.end()
        return killed > 0

    def signal(self, container: str, name: str) -> None:
        process = self._processes.get(container)
        if process is not None and name == "KILL":
            process.signal_group(signal.SIGKILL)
        elif process is not None:
            process.signal(self._stops[container])

    async def probe(self, container: Container, kind: ProbeKind, launch: Launch | None) -> tuple[bool, str]:
        """(passed, what happened). `launch` is how the command of an exec probe runs."""
        probe = specified(container)[kind]
        if launch is not None:
            return await self._run(container.name, launch, max(1, probe.timeout_seconds))
        app = self._table.get(probe_path(container.name, kind))
        if app is None:
            return False, "the probe's port is not one of the container's ports"
        result = await self._prober.probe(app, {})
        return result.ok, result.message

    async def hook(self, container: Container, handler: LifecycleHandler, launch: Launch | None) -> tuple[bool, str]:
        """postStart or preStop, for as long as it takes."""
        if launch is not None:
            return await self._run(container.name, launch, None)
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

    async def _run(self, container: str, launch: Launch, timeout: float | None) -> tuple[bool, str]:
        """Beside the container's own process, on its files as they are now."""
        running = self._processes.get(container)
        if running is None or running.returncode is not None:
            return False, "the container does not run"
        try:
            spec = await self._common(container, launch)
            process = await start(replace(spec, beside=running.pid))
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

    async def _spec(self, container: str, launch: Launch, output: int) -> ProcessSpec:
        """Of its own process, with what it needs on the disk and in the kernel."""
        self.end(container)
        group = self._sandbox.limiter.make(f"{self._identity.uid}.{container}", launch.limits)
        if group is not None:
            self._groups[container] = group
        spec = await self._common(container, launch)
        return replace(
            spec,
            root=await self._make_root(container, launch.image) if launch.image else None,
            mounts=tuple(map(bind_mount, launch.mounts)),
            stdout=output,
            stderr=STDOUT,
        )

    async def _make_root(self, container: str, image: Image) -> ImageRoot:
        """Each run begins with the image as it is."""
        writable = self._sandbox.writable / container

        def make() -> None:
            shutil.rmtree(writable, ignore_errors=True)
            for name in ("upper", "work"):
                (writable / name).mkdir(parents=True)

        await in_thread(make)
        return ImageRoot(image.layers, str(writable), image.volumes)

    async def _common(self, container: str, launch: Launch) -> ProcessSpec:
        security = launch.security
        group = self._groups.get(container)
        return ProcessSpec(
            argv=launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            uid=security.uid or 0,
            gid=security.gid or 0,
            groups=security.groups,
            account=None if security.user is None else Account(security.user, security.gid),
            cgroups=tuple(str(directory) for directory in group.directories) if group is not None else (),
            bounding=security.capabilities,
            no_new_privileges=security.no_new_privileges,
            read_only_root=security.read_only_root,
            netns=self._sandbox.netns,
            # Where a user namespace owns the pod's network, a container outside of it could take the owner's user.
            userns=self._sandbox.netns.owner() if security.of_its_pod else None,
            pidns=await self._sandbox.enter(),
            hidden=self._sandbox.private,
            hostname=self._identity.spec.hostname or self._identity.name,
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
