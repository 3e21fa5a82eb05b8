"""Drives one pod: does what its state machine says, and tells it what happened."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pilotfish.config.kubernetes import Container, ExecAction
from pilotfish.inject import Sidecar
from pilotfish.model import Problem, Severity, Source
from pilotfish.node import events as ev
from pilotfish.node import images, security, volumes
from pilotfish.node import launch as launching
from pilotfish.node import pod as pods
from pilotfish.node.container import ContainerState
from pilotfish.node.environment import Missing
from pilotfish.node.identity import PodIdentity
from pilotfish.node.images import Image
from pilotfish.node.launch import Launch
from pilotfish.node.pod import PodState
from pilotfish.node.store import Store
from pilotfish.node.unusable_files import describe_unusable
from pilotfish.runtime.agent import AgentError
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images.store import ImageError
from pilotfish.runtime.linux.process import LaunchError
from pilotfish.runtime.node.containers import Containers, exec_action, exit_code, hook_handler
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.node.sandbox import Ground, Sandbox
from pilotfish.runtime.node.token_files import TokenFiles
from pilotfish.runtime.node.volumes import find_stood_in, write_volumes

_log = logging.getLogger(__name__)
_PROXY_END = 5.0
"""Seconds that a proxy gets at the most, once its pod's containers have ended."""


class Surroundings(Protocol):
    """What a pod asks of its node."""

    store: Store
    ground: Ground
    faults: Faults
    base_environment: Mapping[str, str]

    def cluster_ips(self, namespace: str) -> Mapping[str, str]:
        """Service name → cluster IP."""
        ...

    def pod_changed(self, pod: Pod) -> None: ...

    def pod_told(self, pod: Pod, event: ev.Event | None) -> None:
        """It has heard of an event, and is as it is since."""
        ...

    async def withdrawn(self, pod: Pod) -> None:
        """Returns when every proxy knows that the pod is no endpoint any more."""
        ...


class Pod:
    def __init__(self, node: Surroundings, identity: PodIdentity, sidecar: Sidecar | None) -> None:
        self.identity = identity
        self.state = pods.create(identity.spec, captured=sidecar is not None)
        self.created_at = time.time()
        self.notes: tuple[str, ...] = ()
        self.lacking: Mapping[str, tuple[Missing, ...]] = {}
        """What each container that can't start lacks."""
        self.unpulled: Mapping[str, ImageError] = {}
        """Why containers have no image."""
        self.unwritten = ""
        """Why its volumes could not follow the last change."""
        self.sandbox = Sandbox(identity, sidecar, node.ground, self._proxy_changed, self._left)
        self.containers = Containers(identity, self.sandbox)
        self.gone = asyncio.Event()
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._stood_in: tuple[str, ...] = ()
        """hostPaths that the machine lacks."""
        self._tokens = TokenFiles(identity, node.ground.tokens)
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.TimerHandle | None = None
        """When its tokens are written anew."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._building: asyncio.Task[None] | None = None
        self._images: dict[str, Image] = {}
        """What each container was last started from."""
        self._fetching: dict[str, asyncio.Future[Image]] = {}

    @property
    def directory(self) -> Path:
        return Path(self.identity.directory)

    def post(self, event: ev.Event | None) -> None:
        """Tell the state machine what happened (None: time passed), and do what it says."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(event, ev.Deleted):  # it waits for no image any more
            for fetching in self._fetching.values():
                fetching.cancel()
        before = self.state
        self.state, effects = pods.step(self.state, event, self._loop.time())
        self._node.pod_told(self, event)
        for effect in effects:
            self._perform(effect)
        at = pods.wake_at(self.state)
        if at is not None:
            self._timer = self._loop.call_at(at, self.post, None)
        if self.state.stage == "gone":
            self.gone.set()
        if _outside(self.state) != _outside(before):
            self._node.pod_changed(self)

    def refresh(self) -> None:
        """ConfigMaps or Secrets changed, or a token is due: volumes follow, and containers that lacked something are
        tried again."""
        if self.state.stage in ("running", "building"):
            contents, missing = volumes.build(self.identity, self._node.store)
            if not missing:
                self._rewrite(contents)
        if self.lacking or self.unpulled:
            self.lacking = {}
            self.post(ev.ConfigChanged())

    def pulling(self, c: ContainerState) -> str:
        """How far the pull of its image is, while it waits for that."""
        return self._node.ground.images.progress(c.spec.image) if c.name in self._fetching else ""

    def image_id(self, container: str) -> str:
        """Of the image that it was last made from; "" for a process, and before there is one."""
        image = self._images.get(container)
        return image.id if image is not None else ""

    def _rewrite(self, contents: tuple[volumes.VolumeContent, ...]) -> None:
        try:
            self._write(contents)
            self.unwritten = ""
        except OSError as error:
            self.unwritten = str(error)

    def _write(self, contents: tuple[volumes.VolumeContent, ...]) -> None:
        group = security.volume_group(self.identity.spec)
        write_volumes(self.directory / "volumes", self._tokens.fill(contents), group, self._node.ground.private)
        self._stood_in = find_stood_in(contents)
        if self._renewal is not None:
            self._renewal.cancel()
        if (at := self._tokens.renewed_at) is not None:
            self._renewal = self._loop.call_later(max(at - time.time(), 1.0), self.refresh)

    def problems(self) -> tuple[Problem, ...]:
        """What the user should mend, so that its containers can start and its volumes follow."""
        identity = self.identity
        found = (*self._lacks(), *self._lacks_image(), *self._unusable_files(), *self._lacks_paths())
        if not self.unwritten:
            return found
        message = f"its volumes stay as they were: {self.unwritten}; they follow when they can be written"
        source = Source.parse(identity.source)
        return (Problem(identity.ref, "spec.volumes", "VolumeNotWritten", message, source=source), *found)

    def _lacks_paths(self) -> Iterator[Problem]:
        identity = self.identity
        ref, field = identity.owner or identity.ref, "spec.template.spec.volumes" if identity.owner else "spec.volumes"
        for path in self._stood_in:
            message = (
                f"hostPath {path} is not on this machine: a directory of the mesh's state stands for it in all pods, "
                "and goes with the mesh; write type: DirectoryOrCreate to have it made"
            )
            yield Problem(ref, field, "NoSuchPath", message, Severity.INFO, Source.parse(identity.source))

    def _unusable_files(self) -> tuple[Problem, ...]:
        agent = self.sandbox.agent
        lacking = agent.status.unusable_files if agent is not None else ()
        manifests = {ref: stored.manifest for ref, stored in self._node.store.objects.items()} if lacking else {}
        return describe_unusable(self.identity, lacking, manifests)

    def _lacks(self) -> tuple[Problem, ...]:
        """The same for all pods of one template."""
        identity = self.identity
        template = "spec.template." if identity.owner else ""
        return tuple(
            Problem(
                identity.owner or identity.ref,
                template + (lack.field if lack.field.startswith("spec.") else f"spec.containers[{name}].{lack.field}"),
                "CreateContainerConfigError",
                f"container {name} waits: {lack.message}; {lack.remedy}",
                source=Source.parse(identity.source),
            )
            for name, lacks in self.lacking.items()
            for lack in lacks
        )

    def _lacks_image(self) -> tuple[Problem, ...]:
        """The same for all pods of one template."""
        identity = self.identity
        template = "spec.template." if identity.owner else ""
        return tuple(
            Problem(
                identity.owner or identity.ref,
                f"{template}spec.containers[{name}].image",
                "ErrImagePull",
                f"container {name} waits: {error.message}{f'; {error.remedy}' if error.remedy else ''}",
                source=Source.parse(identity.source),
            )
            for name, error in self.unpulled.items()
        )

    async def close(self) -> None:
        """Ends all that still goes on, after the pod is gone or the mesh has been swept."""
        for timer in (self._timer, self._renewal):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _proxy_changed(self) -> None:
        agent = self.sandbox.agent
        if agent is not None and self.state.stage != "building" and agent.ready != self.state.proxy_ready:
            self.post(ev.ProxyReady(agent.ready))
        self._node.pod_changed(self)

    def _perform(self, effect: ev.Effect) -> None:
        if isinstance(effect, ev.Do):
            self._do(effect)
        elif isinstance(effect, ev.Start):
            self._spawn(self._start(self._container(effect.container), effect.run))
        elif isinstance(effect, ev.RunProbe):
            self._spawn(self._probe(self._container(effect.container), effect))
        elif isinstance(effect, ev.RunHook):
            self._spawn(self._hook(self._container(effect.container), effect))
        else:
            self.containers.signal(effect.container, effect.signal)

    def _do(self, effect: ev.Do) -> None:
        deadline = effect.deadline if effect.deadline is not None else self._loop.time()
        if effect.what == "build sandbox":
            self._building = self._spawn(self._build())
        elif effect.what == "withdraw":
            self._spawn(self._then(self._node.withdrawn(self), ev.Withdrawn()))
        elif effect.what == "drain":
            self._spawn(self._then(self.sandbox.drain(deadline), ev.Drained()))
        elif effect.what == "stop proxy":
            self._spawn(self._then(self._stop_proxy(deadline), ev.ProxyStopped()))
        else:
            self._spawn(self._then(self._remove(), ev.Removed()))

    async def _build(self) -> None:
        try:
            self._write_proxy_volumes()
            await self.sandbox.build()
        except (MachineError, AgentError, OSError) as error:
            _log.error("pod %s.%s: %s", self.identity.name, self.identity.namespace, error)
            self.post(ev.SandboxFailed(str(error)))
        except Exception as error:
            _log.exception("pod %s.%s", self.identity.name, self.identity.namespace)
            self.post(ev.SandboxFailed(f"a fault in pilotfish, see node.log: {error!r}"))
        else:
            self.post(ev.SandboxReady())

    def _write_proxy_volumes(self) -> None:
        """What the proxy, which is started with its pod, has of its volumes. MachineError where something lacks."""
        if not volumes.build_proxy_mounts(self.identity) and not volumes.build_identity_mounts(self.identity):
            return
        contents, missing = volumes.build(self.identity, self._node.store)
        if missing:
            raise MachineError("; ".join(lack.message for lack in missing), missing[0].remedy)
        self._write(contents)

    async def _stop_proxy(self, deadline: float) -> None:
        if self._building is not None and not self._building.done():
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)
        # A proxy without work ends at once; what it may still log or count is not cut off. One that hangs is not given
        # all that the apps were.
        now = self._loop.time()
        await self.sandbox.stop_proxy(min(max(deadline, now + 1), now + _PROXY_END))

    async def _left(self) -> None:
        """Where all ends, its machine's proxy does, too."""
        if self.state.drain:
            await self._node.withdrawn(self)

    async def _remove(self) -> None:
        try:
            await self.sandbox.remove(keep_files=not self.state.deleted)
        finally:
            self._node.ground.images.release(self.identity.ref)

    async def _start(self, container: Container, run: int) -> None:
        step = f"container {container.name} is not started"
        try:
            await self._fetch(container)
            launch = self._prepare(container)
            if not isinstance(launch, Launch):
                self.lacking = {**self.lacking, container.name: launch}
                said = "; ".join(lack.message for lack in launch)
                self.post(ev.NotStarted(container.name, run, "CreateContainerConfigError", said, blocked=True))
                return
            process, log = await self.containers.start(container, launch)
        except ImageError as error:
            self.unpulled = {**self.unpulled, container.name: error}
            self.post(ev.NoImage(container.name, run, error.reason, error.message))
            return
        except (LaunchError, MachineError, OSError) as error:
            self.post(ev.NotStarted(container.name, run, "StartError", str(error)))
            return
        except Exception as error:
            self._note(step, error)
            why = f"a fault in pilotfish, see node.log: {error!r}"
            self.post(ev.NotStarted(container.name, run, "StartError", why))
            return
        self._node.faults.clear(step, self.identity.ref)
        self.post(ev.Started(container.name, run, process.pid))
        code = await process.wait()
        log.close()
        self.post(ev.Exited(container.name, run, exit_code(code), self.containers.end(container.name)))

    async def _fetch(self, container: Container) -> None:
        """Its image, where it is to run as one. ImageError if there is none."""
        if not images.names_image(self.identity, container):
            return
        name = container.name
        credentials, missing = images.build_credentials(self.identity, self._node.store)
        policy = images.pull_policy(container)
        work = self._node.ground.images.get(container.image, policy, credentials, self.identity.ref)
        self._fetching[name] = fetching = asyncio.ensure_future(work)
        try:
            self._images[name] = await fetching
        except ImageError as error:
            raise ImageError(error.reason, "; ".join((error.message, *missing)), error.remedy) from error
        except asyncio.CancelledError:
            if self.state.deleted:
                raise ImageError("ErrImagePull", "the pod is being removed") from None
            raise
        finally:
            del self._fetching[name]
        self.unpulled = {other: error for other, error in self.unpulled.items() if other != name}

    async def _probe(self, container: Container, effect: ev.RunProbe) -> None:
        command = exec_action(container, effect.kind)
        launch = self._inside(container, command) if command else None
        try:
            ok, message = await self.containers.probe(container, effect.kind, launch)
        except Exception as error:  # a bug: a probe that is never answered would end all probing
            self._note(f"a probe of container {container.name} is not done", error)
            ok, message = False, f"a fault in pilotfish, see node.log: {error!r}"
        self.post(ev.Probed(effect.container, effect.run, effect.kind, ok, message))

    async def _hook(self, container: Container, effect: ev.RunHook) -> None:
        handler = hook_handler(container, effect.hook)
        if handler is None:
            self.post(ev.Hooked(effect.container, effect.run, effect.hook, True))
            return
        launch = self._inside(container, handler.exec) if handler.exec else None
        timeout = None if effect.deadline is None else max(0.0, effect.deadline - self._loop.time())
        try:
            async with asyncio.timeout(timeout):
                ok, message = await self.containers.hook(container, handler, launch)
        except TimeoutError:
            ok, message = False, "not done within the grace period"
        except Exception as error:  # a bug: a pod that ends must come to its end
            self._note(f"a hook of container {container.name} is not done", error)
            ok, message = False, f"a fault in pilotfish, see node.log: {error!r}"
        self.post(ev.Hooked(effect.container, effect.run, effect.hook, ok, message))

    def _prepare(self, container: Container) -> Launch | tuple[Missing, ...]:
        """How the container is run; its volumes are on the disk then."""
        contents, missing = volumes.build(self.identity, self._node.store)
        if missing:
            return missing
        try:
            self._write(contents)
        except OSError as error:
            return (Missing("spec.volumes", str(error)),)
        return self._build_launch(container)

    def _inside(self, container: Container, command: ExecAction) -> Launch | None:
        built = self._build_launch(container, command.command)
        return built if isinstance(built, Launch) else None

    def _build_launch(self, container: Container, argv: tuple[str, ...] | None = None) -> Launch | tuple[Missing, ...]:
        node = self._node
        ips = node.cluster_ips(self.identity.namespace)
        image = self._images.get(container.name)
        return launching.build(self.identity, container, node.store, ips, node.base_environment, image, argv)

    def _container(self, name: str) -> Container:
        return next(c.spec for c in self.state.containers if c.name == name)

    async def _then(self, work: Coroutine[Any, Any, None], event: ev.Event) -> None:
        """`event`, whether the work succeeded or not: a pod that ends must come to its end."""
        try:
            await work
        except (MachineError, AgentError, OSError):
            _log.exception("pod %s.%s", self.identity.name, self.identity.namespace)
        except Exception as error:
            self._note("a step of its end is left out", error)
        self.post(event)

    def _note(self, step: str, error: BaseException) -> None:
        self._node.faults.note(step, error, self.identity.ref, Source.parse(self.identity.source))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note("a step of it is not done", error)


def _outside(state: PodState) -> object:
    """What others can see of a pod. Most probes change nothing of it."""
    containers = tuple((c.phase, c.reason, c.message, c.run, c.pid, c.started, c.ready) for c in state.containers)
    return state.stage, state.phase, state.ready, state.deleted, state.proxy_ready, state.message, containers
