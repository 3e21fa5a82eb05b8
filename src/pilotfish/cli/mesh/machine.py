"""A mesh that runs on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence, Set
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from pilotfish.cli.failure import Failure
from pilotfish.cli.mesh.protocol import LogRange, count_versions, is_over
from pilotfish.runtime.control.client import Client, Unreachable, process_started
from pilotfish.runtime.control.views import (
    ContainerView,
    MeshView,
    PodView,
    ProblemView,
    ProxyView,
    StatusView,
    VersionView,
)
from pilotfish.runtime.http import blocking
from pilotfish.runtime.linux.netns import NetNs

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet
    from pilotfish.cli.follow import LogReader
    from pilotfish.config.desired import DesiredState
    from pilotfish.explain.ask import Ask
    from pilotfish.model import Kind
    from pilotfish.model.frontend import Frontend
    from pilotfish.model.names import NameTable
    from pilotfish.model.target import Target
    from pilotfish.runtime.control.client import Unstructured
    from pilotfish.runtime.control.views import IdentityView, OwnerView
    from pilotfish.runtime.discovery.client import DiscoveryClient
    from pilotfish.runtime.echo.calls import Result
    from pilotfish.runtime.http.message import Answer, Request

T = TypeVar("T")
_TIMEOUT: Final = 10.0
"""Seconds that an Envoy has for an answer."""
_ASK_AGAIN: Final = 0.5
"""Seconds between questions to the mesh while a container does not run."""
_RUN: Final = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"


class Machine:
    tool = "pilotfish"

    def __init__(self, view: MeshView) -> None:
        self._view = view
        self._client = Client(view.directory)

    @property
    def title(self) -> str:
        return f"mesh {self._view.name}"

    def close(self) -> None:
        pass

    def status(self) -> StatusView:
        return self._client.status()

    def pods(self) -> StatusView:
        return self._client.status()

    def pods_of(self, target: Target) -> StatusView:
        return self._client.status()

    def changes(self, since: int, wait: float) -> int:
        return self._client.events(since, wait)

    def problems(self) -> tuple[ProblemView, ...]:
        return self._client.status().problems

    def objects(self, kind: Kind, namespace: str = "", name: str = "") -> list[Unstructured]:
        return self._client.objects(kind, namespace, name)

    def desired(self) -> DesiredState:
        from pilotfish.offline.reading import read_list

        listed = {"apiVersion": "v1", "kind": "List", "items": self._client.objects()}
        mesh_config = Path(self._view.directory) / "config" / "mesh.yaml"
        config = (str(mesh_config), mesh_config.read_text() if mesh_config.exists() else "")
        return read_list(msgspec.json.encode(listed), config)

    def injection(self) -> None:
        return None

    def proxying(self) -> str:
        return self._view.proxy

    def versions(self) -> list[VersionView]:
        async def ask(client: DiscoveryClient) -> tuple[str, list[str]]:
            return await client.version(), await client.envoys()

        discovery, envoys = self._ask_discovery(ask, "its version")
        return [VersionView(what="discovery", version=discovery, count=1), *count_versions("proxies", envoys)]

    def authority(self) -> IdentityView:
        return self._ask_discovery(lambda client: client.identity(), "what signs certificates")

    def _ask_discovery(self, work: Callable[[DiscoveryClient], Coroutine[Any, Any, T]], what: str) -> T:
        import asyncio

        from pilotfish.runtime.discovery.client import DiscoveryClient

        address = self._client.status().discovery.monitoring_address
        try:
            return asyncio.run(work(DiscoveryClient(address)))
        except OSError as error:
            raise Failure(f"discovery does not say {what}: {error}; see 'pilotfish status'") from error

    def proxies_of(self, pods: Sequence[PodView]) -> tuple[ProxyView, ...]:
        wanted = {(pod.namespace, pod.name) for pod in pods}
        return tuple(each for each in self._client.status().proxies if (each.namespace, each.pod) in wanted)

    def ask_envoy(self, pod: PodView, request: Request) -> Answer:
        # A socket belongs to the namespace that it was made in, wherever the process is when it connects.
        stream = NetNs(Path(pod.admin_netns or pod.netns)).socket()
        return blocking.ask(stream, ("127.0.0.1", pod.admin_port), request, _TIMEOUT)

    def open_log(self, pod: PodView, container: ContainerView, which: LogRange) -> _FileLog:
        from pilotfish.cli.follow import LogReader

        place = f"{pod.name}.{pod.namespace}"
        path = Path(container.log + ".1" if which.previous else container.log)
        if which.previous and not path.exists():
            raise Failure(
                f"previous terminated container {container.name} in pod {place} not found: it has not restarted"
            )
        if not (path.exists() or which.follow):
            state = container.reason or container.state
            raise Failure(f"container {container.name} in pod {place} has written no log yet: it is {state}")
        return _FileLog(self, pod, container, LogReader(path, which.lines, which.since, which.timestamps))

    def pods_now(self) -> tuple[PodView, ...]:
        """None where the mesh has been taken down meanwhile: that ends a log as the end of its pod does."""
        try:
            return self._client.status().pods
        except Unreachable:
            return ()

    def logs_requests(self) -> bool:
        return self._client.status().access_log

    def proxy_logs(self, pods: Sequence[PodView], since: float | None = None) -> Iterator[Sequence[str]]:
        for pod in pods:
            log = next((Path(each.log) for each in pod.containers if each.kind == "proxy"), None)
            yield log.read_text(errors="replace").splitlines() if log is not None and log.exists() else ()

    def rules(self, pod: PodView, family: Literal[4, 6]) -> RuleSet:
        return self._client.rules(pod.namespace, pod.name, family)

    def names(self, pod: PodView) -> NameTable:
        return self._client.names(pod.namespace, pod.name)

    def frontends(self) -> tuple[Frontend, ...]:
        return tuple(self._client.frontends())

    def listening(self, pod: PodView) -> Set[tuple[str, int]] | None:
        """Of the pod's network namespace, whose every process shows the same."""
        from pilotfish.node.listening import parse_proc_net

        for pid in NetNs(Path(pod.netns)).pids():
            try:
                texts = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
            except OSError:
                continue
            return {(str(address), port) for text in texts for address, port in parse_proc_net(text)}
        return None

    def resolve(self, name: str) -> tuple[str, ...]:
        try:
            found = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            return ()
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))

    def describe_closed(self, address: str) -> str:
        """It is neither the node's nor the machine's: without a way out, pods reach nothing else."""
        from pilotfish.runtime.net.subnets import Subnets

        mesh = self._view
        v4, v6 = (ip_network(each) for each in mesh.pod_subnets)
        subnets = Subnets(IPv4Network(v4), IPv6Network(v6), IPv4Network(mesh.service_subnet))
        asked = ip_address(address)
        if address in {subnets.dns, str(subnets.machine), *map(str, (*subnets.node, *subnets.host))}:
            return ""
        if not mesh.egress:
            return "it is no pod's, and pods reach nothing outside of the mesh unless it is started with `up --egress`"
        is_own = any(asked in network for network in (subnets.v4, subnets.v6, subnets.services))
        return "it is an address of the mesh, and nobody's" if is_own else ""

    def owners(self, trace: bytes) -> tuple[OwnerView, ...]:
        return self._client.owners(trace)

    def send(self, pod: PodView, asks: Sequence[Ask]) -> list[Result]:
        from pilotfish.runtime.echo.calls import build_calls, client_command, read_results

        place = f"{pod.name}.{pod.namespace}"
        command = [sys.executable, "-c", _RUN, "exec", "--name", self._view.name, place, "--", *client_command()]
        done = subprocess.run(command, input=build_calls(asks), capture_output=True, check=False)
        if done.returncode:
            raise Failure(f"nothing can be sent from {place}: {done.stderr.decode(errors='replace').strip()}")
        return read_results(done.stdout)


class _FileLog:
    """A log file, and the process that writes it."""

    def __init__(self, mesh: Machine, pod: PodView, container: ContainerView, reader: LogReader) -> None:
        self._mesh = mesh
        self._pod = pod
        self._name = container.name
        self._reader = reader
        self._pid = container.pid
        self._asked = 0.0

    def read(self) -> bytes:
        return self._reader.read()

    @property
    def is_empty(self) -> bool:
        return self._reader.is_empty

    @property
    def is_over(self) -> bool:
        if self._pid is not None and process_started(self._pid) is not None:
            return False
        # A process that has ended is the sign to ask the mesh whether another will come.
        if time.monotonic() - self._asked < _ASK_AGAIN:
            return False
        pods = self._mesh.pods_now()
        self._asked = time.monotonic()
        pod = next((p for p in pods if (p.namespace, p.name) == (self._pod.namespace, self._pod.name)), None)
        now = next((c for c in pod.containers if c.name == self._name), None) if pod else None
        self._pid = now.pid if now else None
        return pod is None or now is None or is_over(pod, now)

    def close(self) -> None:
        self._reader.close()
