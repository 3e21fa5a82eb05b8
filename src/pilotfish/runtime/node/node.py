"""One mesh on one machine, from its first namespace to its last."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pilotfish.config.desired import DesiredState
from pilotfish.egress import table_name
from pilotfish.model.wellknown import MACHINE_NAME
from pilotfish.node import store as storing
from pilotfish.node.identity import name_machine
from pilotfish.node.store import APPLIED, Store
from pilotfish.runtime.agent import AgentHost, machine_resolvers
from pilotfish.runtime.control.server import ControlServer
from pilotfish.runtime.images.store import Images
from pilotfish.runtime.linux.loopback import ipv6_enabled
from pilotfish.runtime.net.egress import Egress
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.node.changes import ChangeCounter
from pilotfish.runtime.node.claim import find_private, remove_directory
from pilotfish.runtime.node.discovery import DiscoveryProcess
from pilotfish.runtime.node.ending import Ending
from pilotfish.runtime.node.entrances import Entrances
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.node.limiter import Limiter
from pilotfish.runtime.node.machine import Machine
from pilotfish.runtime.node.node_proxy import NodeProxy, Site
from pilotfish.runtime.node.objects import Objects
from pilotfish.runtime.node.operations import NodeOperations
from pilotfish.runtime.node.options import CannotStart, UpOptions
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import Port
from pilotfish.runtime.node.reconciler import Reconciler
from pilotfish.runtime.node.records import write_view
from pilotfish.runtime.node.sandbox import Ground
from pilotfish.runtime.node.status import Status
from pilotfish.runtime.node.tokens import TokenMaker
from pilotfish.runtime.node.workloads import Place
from pilotfish.runtime.node.writable import make_writable, remove_writable
from pilotfish.runtime.source import ObjectSource
from pilotfish.runtime.source.files import Files
from pilotfish.runtime.source.waiting import LATE

_log = logging.getLogger(__name__)
_DISCOVERY_START = 30.0
_ENVOYS_AT_ONCE = 4
_PAUSE = 1.0
"""Seconds after which a source that failed is asked again."""


@dataclass(frozen=True, slots=True)
class Node:
    """A mesh that stands."""

    reconciler: Reconciler
    changes: ChangeCounter


@asynccontextmanager
async def running(
    options: UpOptions, progress: Progress, ending: Ending, stdin: str | None = None
) -> AsyncIterator[Node]:
    """A mesh whose pods are being made; taken down after that, however far it came, as soon as the body ends.

    Raises CannotStart or MachineError if it can't be, Stopped if its end is asked for before it stands.
    """
    # Whoever asked for the end over the control socket is answered last.
    async with AsyncExitStack() as answers:
        try:
            async with AsyncExitStack() as parts:
                try:
                    yield await ending.interrupt(_Builder(options, progress, ending, parts, answers).build(stdin))
                finally:
                    ending.begin()
        finally:
            ending.gone.set()


class _Builder:
    """Builds a mesh from the ground up. `parts` is how to take down what there is, the last first."""

    def __init__(
        self, options: UpOptions, progress: Progress, ending: Ending, parts: AsyncExitStack, answers: AsyncExitStack
    ) -> None:
        self._options = options
        self._progress = progress
        self._ending = ending
        self._parts = parts
        self._answers = answers
        self._changes = ChangeCounter()

    async def build(self, stdin: str | None) -> Node:
        options = self._options
        (options.directory / "config").mkdir(mode=0o700, parents=True, exist_ok=True)
        options.directory.chmod(0o711)  # Envoys pass, nobody else lists what there is
        self._parts.callback(remove_directory, options.directory)
        write_view(options, ())
        exits = await self._parts.enter_async_context(AsyncExitStack())
        ports = self._open_ports(exits)
        source = self._open_source(stdin)
        store = await self._read(source)
        network = await self._make_network()
        egress = await self._open_egress(network)
        view = write_view(options, (str(network.subnets.v4), str(network.subnets.v6)))
        discovery = DiscoveryProcess(network.node, network.subnets, options)
        entrances = Entrances(ports, self._progress)
        exits.push_async_callback(entrances.close)
        reconciler = await self._make_pods(store, network, discovery, entrances)
        operations = NodeOperations(
            reconciler,
            discovery,
            Objects(view, reconciler, entrances),
            Status(view, reconciler, discovery, entrances, source, egress),
            entrances,
            self._changes,
            self._ending,
        )
        await self._answer(operations)
        self._follow(source, reconciler)
        await self._publish(entrances)
        await discovery.wait_ready(_DISCOVERY_START)
        self._progress.say("discovery ready")
        reconciler.discovery_started()
        return Node(reconciler, self._changes)

    def _open_ports(self, exits: AsyncExitStack) -> tuple[Port, ...]:
        """Before anything is built, so that a port that is taken is known."""
        ports = []
        for publish in self._options.publish:
            ports.append(port := Port(publish))
            exits.callback(port.close)
        return tuple(ports)

    def _open_source(self, stdin: str | None) -> ObjectSource:
        options = self._options
        source = Files(
            options.sources,
            options.mesh_config,
            namespace=options.namespace,
            recursive=options.recursive,
            stdin=stdin,
        )
        self._parts.callback(source.close)
        return source

    async def _read(self, source: ObjectSource) -> Store:
        """All that was given."""
        options = self._options
        telling = asyncio.get_running_loop().call_later(LATE, lambda: self._progress.problems(source.problems()))
        news = (await source.next()).news
        telling.cancel()
        for note in source.notes():
            self._progress.say(note)
        for name in options.sources:
            inside = f"{name.rstrip('/')}/"
            if Path(name).is_dir() and not any(origin == name or origin.startswith(inside) for origin in news):
                what = f"{name} holds no manifest yet: no file there ends with .yaml, .yml or .json"
                self._progress.say(f"{what}; a file that is saved there, or 'pilotfish apply', adds some", "warning")
        preferred = (*([options.mesh_config] if options.mesh_config else []), APPLIED)
        store, _ = storing.follow(Store(desired=DesiredState(preferred=preferred)), news, time.time())
        self._progress.problems(store.desired.problems)
        if not store.objects and store.desired.problems:
            raise CannotStart(f"nothing in {', '.join(options.sources)} can be used; mend what is said above")
        return store

    async def _make_network(self) -> MeshNetwork:
        network = await MeshNetwork.create(self._options.name, self._options.subnets, self._options.service_cidr)
        self._parts.callback(self._progress.say, "all gone")
        self._parts.push_async_callback(network.delete)
        self._progress.say(f"network {network.subnets.v4} ready")
        return network

    async def _open_egress(self, network: MeshNetwork) -> Egress | None:
        if not self._options.egress:
            return None
        egress = Egress(network, self._changes.bump)
        self._parts.push_async_callback(egress.close)
        await egress.open()
        self._progress.say(f"pods reach what this machine reaches, by table inet {table_name(network.mesh)} on it")
        self._progress.problems(egress.problems)
        return egress

    async def _make_pods(
        self, store: Store, network: MeshNetwork, discovery: DiscoveryProcess, entrances: Entrances
    ) -> Reconciler:
        """And all that they need; they are being made when this returns."""
        own_names = {MACHINE_NAME: (str(network.subnets.machine),)}
        agents = AgentHost(resolvers=machine_resolvers(), own_names=own_names)
        machine = Machine(network)
        self._parts.push_async_callback(machine.close)
        self._parts.push_async_callback(agents.close)
        self._parts.push_async_callback(discovery.stop)
        limiter = Limiter(self._options.name)
        self._parts.callback(limiter.close)
        writable = make_writable(self._options.name)
        self._parts.callback(remove_writable, self._options.name)
        images = Images(self._options.name, self._progress.say)
        self._parts.push_async_callback(images.close)
        options = self._options
        place = Place(
            name_machine(os.uname().nodename), options.directory, network.subnets, ipv6_enabled(), options.proxy
        )
        tokens = TokenMaker(self._options.directory, discovery.xds)
        site = Site(place.node_name, place.directory, network, discovery.xds, discovery.monitoring, tokens)
        node_proxy = NodeProxy(site, agents, store.desired.mesh_config)
        self._parts.push_async_callback(node_proxy.close)
        ground = Ground(
            network=network,
            agents=agents,
            discovery=discovery.xds,
            monitoring=discovery.monitoring,
            tokens=tokens,
            discovery_ready=asyncio.Event(),
            starting=asyncio.Semaphore(max(_ENVOYS_AT_ONCE, 2 * len(os.sched_getaffinity(0)))),
            images=images,
            limiter=limiter,
            node_proxy=node_proxy,
            writable=writable,
            private=find_private(self._options.state_root),
        )
        reconciler = Reconciler(
            store, ground, place, discovery, self._progress, self._changes, self._ending, entrances, machine
        )
        self._parts.push_async_callback(reconciler.stop)
        asyncio.get_running_loop().set_exception_handler(partial(_note_failure, reconciler.faults))
        await reconciler.start()
        discovery.start(reconciler.discovery_moved)
        return reconciler

    async def _answer(self, operations: NodeOperations) -> None:
        """The command line's questions."""
        control = ControlServer(operations, self._options.directory / "control.sock")
        await control.start()
        self._answers.push_async_callback(control.stop)
        self._answers.callback(self._changes.close)

    def _follow(self, source: ObjectSource, reconciler: Reconciler) -> None:
        following = asyncio.ensure_future(_follow(source, reconciler))

        async def stop() -> None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

        self._parts.push_async_callback(stop)

    async def _publish(self, entrances: Entrances) -> None:
        await entrances.start()
        for each in entrances.chosen:
            self._progress.say(f"{each.publish.target} published on {each.address}")
        self._progress.problems(entrances.problems)


def _note_failure(faults: Faults, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What was raised in a callback or a task that nobody waits for. A peer that goes away is no fault."""
    error = context.get("exception") or RuntimeError(context.get("message"))
    if isinstance(error, OSError):
        _log.warning("%s: %s", context.get("message"), error)
    else:
        faults.note("something that this mesh should have done is left undone", error)


async def _follow(source: ObjectSource, reconciler: Reconciler) -> None:
    while True:
        try:
            batch = await source.next()
        except Exception as error:  # a bug: what is saved next is to count all the same
            reconciler.faults.note("files that were saved are not read", error)
            await asyncio.sleep(_PAUSE)
            continue
        reconciler.faults.clear("files that were saved are not read")
        with reconciler.faults.isolate("what was saved is not followed"):
            reconciler.follow(batch.news)
