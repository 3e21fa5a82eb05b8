"""Put discovery together, run it, and end it."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
from aiohttp import web

from pilotfish.cluster.kubeconfig import Access
from pilotfish.config.desired import DesiredState, update
from pilotfish.config.injection import revised
from pilotfish.discovery.admission import Door
from pilotfish.discovery.plane import ControlPlane
from pilotfish.model.wellknown import DISCOVERY_ACCOUNT, MESH_CONFIG_MAP, ROOT_NAMESPACE
from pilotfish.runtime.closing import stop_serving
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.admissions import Admissions
from pilotfish.runtime.discovery.ads_server import bind, make_server
from pilotfish.runtime.discovery.authority import AuthorityKeeper
from pilotfish.runtime.discovery.callers import Callers, TokenKeys
from pilotfish.runtime.discovery.certificate_server import CertificateServer
from pilotfish.runtime.discovery.driver import Driver
from pilotfish.runtime.discovery.front import Front
from pilotfish.runtime.discovery.keys import REFRESH, KeyKeeper
from pilotfish.runtime.discovery.listening import open_listening, port_of
from pilotfish.runtime.discovery.metrics import Metrics
from pilotfish.runtime.discovery.monitoring import Monitoring
from pilotfish.runtime.discovery.state import StateFile
from pilotfish.runtime.discovery.webhooks import Webhooks
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.garbage import look_seldom
from pilotfish.runtime.http.served import LOG
from pilotfish.runtime.memory import keep_little
from pilotfish.runtime.source import Batch, ObjectSource
from pilotfish.runtime.source.files import Files

if TYPE_CHECKING:
    from pilotfish.runtime.discovery.in_cluster import InCluster

_log = logging.getLogger(__name__)
_PATIENCE = 5.0
"""Seconds for which keys of issuers are waited for before proxies are served: those that come back have some."""
_DRAIN = 1.0
"""Seconds for responses that are being written when discovery is told to end."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which Kubernetes cluster the objects are of, and what in it concerns this discovery."""

    access: Access
    revision: str = ""
    root_namespace: str = ROOT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Options:
    paths: tuple[str | Path, ...]
    """Files and directories of manifests, and `-`. None where the objects are a cluster's."""
    xds: Address
    monitoring: Address
    mesh_config: str | Path | None = None
    recursive: bool = False
    """Directories count with what is below them."""
    allow_plaintext: bool = False
    """Serve others than this machine's processes without TLS."""
    secure: Address | None = None
    """Where xDS and certificates are served over TLS; None for nowhere."""
    webhook: Address | None = None
    """Where API servers ask about pods and objects, over TLS; None for nowhere."""
    authority: Path | None = None
    """A directory with Istio's four files of a certificate authority; None: the Secret `cacerts`, or one of our own."""
    token_keys: tuple[Path, ...] = ()
    """Files with the public keys of who makes service-account tokens, PEM."""
    only_pods: bool = False
    """Serve the pods among the objects alone, each from its own address."""
    operators: tuple[str, ...] = ()
    """Addresses from which, as from loopback, everything may be asked where only pods are served."""
    state: Path | None = None
    """A directory for what is to outlive a restart; None to forget it."""
    key_refresh: float = REFRESH
    """Seconds after which keys of issuers are fetched again."""
    cluster: ClusterOptions | None = None
    """Whose objects are read instead of manifests."""
    connection_age: float = 0.0
    """Seconds after which a proxy's connection is ended, so that proxies spread over replicas; 0 for never."""

    @property
    def revision(self) -> str:
        return self.cluster.revision if self.cluster is not None else ""

    def check(self) -> None:
        """Raises MachineError where serving would be unsafe, or could never serve anything."""
        # In a cluster the monitoring port tells a pod no more than is about itself.
        others = {} if self.cluster is not None else {"--monitoring-address": self.monitoring}
        for flag, address in {"--xds-address": self.xds, **others}.items():
            if not address.is_loopback and not self.allow_plaintext:
                raise MachineError(
                    f"{flag} {address} would serve the mesh's configuration in plaintext to all who can reach it",
                    "give a loopback address, or --allow-plaintext where the network is trusted",
                )
        if self.secure is not None and self.state is None and self.authority is None and self.cluster is None:
            raise MachineError(
                f"--secure-address {self.secure} would sign with a root that is forgotten at the next start",
                "give --state DIR to keep it, or --ca DIR with your own",
            )
        if self.webhook is not None and self.secure is None:
            raise MachineError(
                f"--webhook-address {self.webhook} would have no certificate: it is of the mesh's authority",
                "give --secure-address, which proxies get theirs from",
            )


class DiscoveryServer:
    """One discovery in this process. `async with` starts it; `run` serves until it is cancelled."""

    def __init__(self, options: Options) -> None:
        self.xds = options.xds
        """With the port that was chosen, once started."""
        self.monitoring = options.monitoring
        self._options = options
        self._state = StateFile(options.state)
        # Where only pods are served, discovery is where their machine's proxy is, and where no pod is.
        machine = options.secure.host if options.only_pods and options.secure is not None else ""
        door = Door(only_pods=options.only_pods, in_cluster=options.cluster is not None, machine=machine)
        self.plane = ControlPlane(self._state.read(), door)
        self._cluster = _in_cluster(options.cluster)
        remember = self._cluster.memory.keep if self._cluster is not None else self._state.keep
        self.driver = Driver(self.plane, Metrics(self.plane.mesh.graph.stats), remember)
        self.secure = options.secure
        """With the port that was chosen, once started."""
        self.authority: AuthorityKeeper | None = None
        self._front: Front | None = None
        if options.secure is not None:
            directory = options.state / "ca" if options.state is not None else None
            shared = self._cluster.authority if self._cluster is not None else None
            service = revised(DISCOVERY_ACCOUNT, options.revision)
            self.authority = AuthorityKeeper(directory, options.authority, shared, service)
            self._front = Front(self.authority.server_context, self.plane.door.pace)
        self.webhook = options.webhook
        """With the port that was chosen, once started."""
        self._webhooks: Webhooks | None = None
        if options.webhook is not None and self.authority is not None:
            admissions = Admissions(self.driver.metrics.registry)
            config_map = revised(MESH_CONFIG_MAP, options.revision)
            self._webhooks = Webhooks(self.authority.web_context, admissions, config_map)
        own = self.authority.client_context if self.authority is not None else None
        self._keys = KeyKeeper(
            self.driver.supply, self.plane.mesh.key_host, own, options.state, refresh=options.key_refresh
        )
        tokens = self._cluster.tokens if self._cluster is not None else TokenKeys(options.token_keys)
        self._callers = Callers(self.plane, self._front, tokens)
        self._source = _source_of(options)
        self._pages = Monitoring(self.driver, self.authority, self._source, options.operators, self._cluster)
        self._desired = DesiredState(preferred=() if options.mesh_config is None else (str(options.mesh_config),))
        self._runner = web.AppRunner(self._pages.application(), access_log=None, logger=LOG, shutdown_timeout=0.5)
        self._listener: asyncio.Server | None = None
        """Of the monitoring port."""
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> DiscoveryServer:
        """Raises MachineError if a port can't be had. The xDS port opens when the first configuration is read; until
        then, /ready says what is waited for."""
        try:
            self._options.check()
            self._state.prepare()
            await self._keys.__aenter__()
            if self._cluster is not None:
                await self._cluster.__aenter__()
            self.monitoring = await self._listen_http()
            batch = await self._source.next()
            self._take(batch)
            if self._cluster is not None:
                self.plane.recall(await self._cluster.memory.open())
            if self.authority is not None:
                await self.authority.load(self._desired)
            self._apply(batch.since)
            await self._keys.wait(_PATIENCE)
            self._server = make_server(self.driver, self._callers, self._options.connection_age)
            self.xds = self._listen_xds(self._server)
            if self._front is not None and self.authority is not None:
                self._listen_secure(self._server, self._front, self.authority)
            await self._server.start()
            if self._front is not None:
                self._front.start()
            if self._webhooks is not None and self.webhook is not None:
                self.webhook = await self._listen_webhooks(self._webhooks, self.webhook)
        except BaseException:
            await self.__aexit__()
            raise
        if self._cluster is not None:
            self._cluster.take_up(self.driver, self.authority, self._pages.findings)
        self._pages.ready = True
        secure = f"{self.secure} (TLS), " if self.secure is not None else ""
        _log.info("serving xDS on %s%s, monitoring on %s", secure, self.xds, self.monitoring)
        return self

    async def __aexit__(self, *_: object) -> None:
        """What is being written is written; then the proxies are disconnected, and keep what they have."""
        self._pages.ready = False
        self._source.close()
        await self._keys.__aexit__()
        if self._server is not None:
            await self.driver.drain(_DRAIN)
            await self._server.stop(None)
        if self._webhooks is not None:
            await self._webhooks.close()
        if self._front is not None:
            await self._front.close()
        if self.authority is not None:
            self.authority.close()
        if self._cluster is not None:
            await self._cluster.__aexit__()
        if self._listener is not None:
            await stop_serving(self._listener)
        await self._runner.cleanup()
        await self._state.close()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.driver.run())
            tasks.create_task(self._follow())
            if self.authority is not None:
                tasks.create_task(self.authority.run())
                tasks.create_task(self._follow_domains(self.authority))
            if self._cluster is not None:
                tasks.create_task(self._cluster.run())

    async def _follow(self) -> None:
        while True:
            batch = await self._source.next()
            self._take(batch)
            if self.authority is not None:
                self.authority.follow(self._desired)
            self._apply(batch.since)

    async def _follow_domains(self, authority: AuthorityKeeper) -> None:
        while True:
            known = authority.trust_domains
            await authority.moved.wait_for(lambda: authority.trust_domains != known)  # noqa: B023
            self._apply(asyncio.get_running_loop().time())

    def _take(self, batch: Batch) -> None:
        before, self._desired = self._desired, update(self._desired, batch.news)
        for problem in self._desired.problems:
            if problem not in before.problems:
                _log.warning("%s", problem)

    def _apply(self, since: float) -> None:
        """`since`: when the change came."""
        desired = self._desired
        if self.authority is not None:
            desired = replace(desired, mesh_config=desired.mesh_config.with_aliases(self.authority.trust_domains))
        self.driver.change(desired, since)
        if self._webhooks is not None:
            self._webhooks.follow(desired)
        self._keys.look(self.plane.mesh.wanted_keys)

    async def _listen_http(self) -> Address:
        await self._runner.setup()
        try:
            listening = open_listening(self.monitoring)
        except OSError as error:
            raise _unavailable("--monitoring-address", self.monitoring, error) from error
        # Not by a site of aiohttp's, which closes as `stop_serving` should not.
        self._listener = await asyncio.get_running_loop().create_server(
            cast(web.Server, self._runner.server), sock=listening
        )
        return Address(self.monitoring.host, port_of(listening))

    def _listen_secure(self, server: grpc.aio.Server, front: Front, authority: AuthorityKeeper) -> None:
        address = self._options.secure
        if address is None:
            return
        server.add_generic_rpc_handlers(CertificateServer(self.driver, authority, self._callers).handlers())
        try:
            bind(server, front.inner)
            self.secure = front.listen(address)
        except OSError as error:
            raise _unavailable("--secure-address", address, error) from error

    async def _listen_webhooks(self, webhooks: Webhooks, address: Address) -> Address:
        try:
            return await webhooks.listen(address)
        except OSError as error:
            raise _unavailable("--webhook-address", address, error) from error

    def _listen_xds(self, server: grpc.aio.Server) -> Address:
        try:
            # gRPC keeps the reason to itself. `[::]` is to it both families, or the one that there is.
            open_listening(self.xds).close()
            where = f"[::]:{self.xds.port}" if self.xds.is_every else str(self.xds)
            return Address(self.xds.host, bind(server, where))
        except OSError as error:
            raise _unavailable("--xds-address", self.xds, error) from error


def _unavailable(flag: str, address: Address, error: OSError) -> MachineError:
    taken = error.errno == errno.EADDRINUSE
    why = "another process listens there" if taken else (error.strerror or str(error))
    remedy = f"stop it, or give another {flag}" if taken else f"give an address of this machine as {flag}"
    return MachineError(f"{flag} {address} can't be listened on: {why}", remedy)


def _source_of(options: Options) -> ObjectSource:
    if options.cluster is None:
        return Files(options.paths, options.mesh_config, recursive=options.recursive)
    # Imported here: it is not used on one machine.
    from pilotfish.runtime.source.cluster import Cluster

    cluster = options.cluster
    return Cluster(cluster.access, revision=cluster.revision, root_namespace=cluster.root_namespace)


def _in_cluster(options: ClusterOptions | None) -> InCluster | None:
    if options is None:
        return None
    # Imported here: it is not used on one machine.
    from pilotfish.runtime.discovery.in_cluster import InCluster

    return InCluster(options.access, options.root_namespace, options.revision)


async def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT, also while nothing can be served yet. Raises MachineError."""
    look_seldom()
    keep_little()
    loop = asyncio.get_running_loop()
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    serving, ending = loop.create_task(_serve(options)), loop.create_task(told_to_end.wait())
    try:
        await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _serve(options: Options) -> None:
    async with DiscoveryServer(options) as discovery:
        await discovery.run()
