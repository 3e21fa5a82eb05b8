"""A mesh in a cluster: of its API server, and by its port-forward of discovery and of Envoys."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import urlencode

import click

from pilotfish.cli.envoy_admin import CERTIFICATES
from pilotfish.cli.failure import Failure
from pilotfish.cli.mesh.cluster_pods import ClusterPods
from pilotfish.cli.mesh.cluster_proxies import describe_other, describe_proxy, has_proxy, with_certificate
from pilotfish.cli.mesh.protocol import LogRange, count_versions, is_over
from pilotfish.cli.target import find_container
from pilotfish.config.injection import DEFAULT_REVISION
from pilotfish.model import Kind
from pilotfish.model.kinds import CONFIG_MAP, ENDPOINT_SLICE, NAMESPACE, POD, SERVICE
from pilotfish.model.target import Target
from pilotfish.model.wellknown import PROXY_CONTAINER, ROOT_NAMESPACE
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.background import Background, at_most
from pilotfish.runtime.cluster.errors import ApiError, Forbidden
from pilotfish.runtime.cluster.exec import Done, run
from pilotfish.runtime.cluster.log import FollowedLog, WholeLog, log_params, log_path
from pilotfish.runtime.cluster.replicas import (
    AT_ONCE,
    ControlPlane,
    NoControlPlane,
    Said,
    ask_pod,
    find_control_plane,
    merge_problems,
    merge_syncs,
)
from pilotfish.runtime.control.client import Refused
from pilotfish.runtime.control.views import (
    ClusterView,
    ContainerView,
    PodsView,
    PodView,
    ProblemView,
    ProxyView,
)
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.http.message import AnswerError, Request

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet
    from pilotfish.cluster.kubeconfig import Access
    from pilotfish.config.desired import DesiredState
    from pilotfish.config.injection import Revision
    from pilotfish.explain.ask import Ask
    from pilotfish.model.frontend import Frontend
    from pilotfish.model.names import NameTable
    from pilotfish.runtime.control.client import Unstructured
    from pilotfish.runtime.control.views import CertificateView, IdentityView, OwnerView, VersionView
    from pilotfish.runtime.echo.calls import Result
    from pilotfish.runtime.http.message import Answer

T = TypeVar("T")
_DUMP: Final = 60.0
"""Seconds that an Envoy has for an answer: of a large mesh it has to write some dozen million bytes."""
_POLL: Final = 2.0
"""Seconds between looks at what nobody tells of."""
_CALL: Final = 12.0
"""Seconds for a request that is really sent."""
_MOST_LINES: Final = 10_000
_TRAFFIC: Final = (NAMESPACE, SERVICE, ENDPOINT_SLICE, POD)
"""What says where the nodes' kernels send what is for a Service."""


def open_cluster(kubeconfig: Path | None, context: str, revision: str, namespace: str = "") -> Cluster:
    """`namespace`: that the command works in; "" for the context's. Raises MachineError. Closed with the command."""
    access = find_access(kubeconfig, context)
    found = Cluster(access, revision, namespace or access.namespace)
    if command := click.get_current_context(silent=True):  # there is none while a shell completes
        command.call_on_close(found.close)
    return found


class Cluster:
    tool = "kubectl"

    def __init__(self, access: Access, revision: str, namespace: str) -> None:
        self.namespace = namespace
        self._access = access
        self._revision = revision
        self._background = Background()
        self._api = Api(access)
        self._background.run(self._api.__aenter__())
        self._pods = ClusterPods(self._api)
        self._has_said_rules = False

    def close(self) -> None:
        if self._background.is_open:
            self._background.run(self._api.__aexit__())
            self._background.close()

    @property
    def title(self) -> str:
        return f"the cluster of {self._access.origin}"

    # What there is

    def status(self) -> ClusterView:
        view = self.pods()
        plane, said, why = self._ask_replicas()
        syncs, problems = merge_syncs(said), merge_problems(said)
        proxies = tuple(describe_proxy(pod, syncs) for pod in view.pods if has_proxy(pod))
        named = {f"{each.pod}.{each.namespace}" for each in proxies}
        # Machines have proxies that are no pods; and of pods that may not be read, it is known that they are there.
        proxies += tuple(describe_other(name, *syncs[name]) for name in sorted(syncs.keys() - named))
        serves = bool(said) and all(each.error is None for each in said)
        is_fine = serves and all(each.sync is not None and each.sync.synced for each in proxies)
        return ClusterView(
            origin=self._access.origin,
            server=self._access.server.url,
            namespace=self.namespace,
            revision=plane.revision if plane is not None else "",
            missing=why,
            root_namespace=ROOT_NAMESPACE,
            replicas=tuple(each.view for each in said),
            ready=is_fine and not any(each.severity == "error" for each in problems),
            pods=view.pods,
            proxies=proxies,
            problems=problems,
            access_log=self.logs_requests(),
        )

    def pods(self) -> PodsView:
        try:
            return PodsView(pods=tuple(self._run(self._pods.read())))
        except Forbidden as error:
            found = tuple(self._run(self._pods.read(self.namespace)))
            _say(f"only pods of namespace {self.namespace} are looked at: {error}")
            return PodsView(pods=found)

    def pods_of(self, target: Target) -> PodsView:
        return self._run(self._pods.find(target))

    def changes(self, since: int, wait: float) -> int:
        """Nobody tells of a change of proxies there: it is looked again soon."""
        time.sleep(min(wait, _POLL))
        return since + 1

    # Its objects

    def problems(self) -> tuple[ProblemView, ...]:
        from pilotfish.cli.live_world import read_world

        of_objects = tuple(map(ProblemView.of, read_world(self, time.time()).problems))
        _, replicas, why = self._ask_replicas()
        said = merge_problems(replicas)
        if why:
            _say(f"what proxies have refused is not known: {why}")
        known = set(map(_subject, of_objects))
        return (*of_objects, *(each for each in said if _subject(each) not in known))

    def objects(self, kind: Kind, namespace: str = "", name: str = "") -> list[Unstructured]:
        from pilotfish.runtime.cluster.stored import read_objects

        return self._run(read_objects(self._api, kind, namespace, name))

    def desired(self) -> DesiredState:
        return self._read()

    def _read(self, *kinds: Kind) -> DesiredState:
        # Here: who asks proxies needs nothing of what reads objects, which takes as long to load as all the rest.
        from pilotfish.runtime.cluster.stored import read_desired

        stored = self._run(read_desired(self._api, self._named, kinds, self.namespace))
        if stored.forbidden and not stored.desired.manifests:
            raise stored.forbidden[0]
        if stored.forbidden:
            told = f"of what this user may not list, no more than namespace {self.namespace} has is looked at"
            _say(f"{told}, so what seems to be missing may be there: {_gather(stored.forbidden)}; the verb is list")
        return stored.desired

    def injection(self) -> Revision:
        from pilotfish.config.injection import Revision

        return Revision(self._named)

    def proxying(self) -> str:
        return ""

    @property
    def _named(self) -> str:
        """The revision that is meant, where one is; the only one there is otherwise."""
        plane, _ = self._try_plane()
        return plane.revision if plane is not None else self._revision or DEFAULT_REVISION

    # Its control plane

    @cached_property
    def _plane(self) -> ControlPlane:
        return self._run(find_control_plane(self._api, self._revision))

    def _try_plane(self) -> tuple[ControlPlane | None, str]:
        """(it, why it is not known). That there are several is told: nobody chooses one of them."""
        try:
            return self._plane, ""
        except NoControlPlane as error:
            if self._revision or error.is_ambiguous:
                raise
            return None, str(error)
        except Forbidden as error:
            return None, str(error)

    def _ask_replicas(self) -> tuple[ControlPlane | None, list[Said], str]:
        """(the control plane, what its replicas say, why they say nothing)."""
        plane, why = self._try_plane()
        if plane is None:
            return None, [], why
        try:
            return plane, self._run(plane.ask_all()), ""
        except (Failure, MachineError) as error:
            return plane, [], str(error)

    def versions(self) -> list[VersionView]:
        from pilotfish.runtime.discovery.client import Connected

        plane = self._plane
        said = self._run(plane.ask_all())
        answers = self._run(plane.ask_each(Request("GET", "/debug/adsz")))
        try:
            envoys = [client.version for answer in answers for client in answer.read(Connected).clients]
        except AnswerError as error:
            raise Failure(f"discovery does not say which proxies there are: {error}") from error
        return [*count_versions("discovery", (each.version for each in said)), *count_versions("proxies", envoys)]

    def authority(self) -> IdentityView:
        from pilotfish.runtime.control.views import IdentityView

        return self._ask_plane(Request("GET", "/api/identity"), IdentityView, "what signs certificates")

    def rotate(self) -> tuple[CertificateView, float]:
        """Makes a new root, which all replicas follow. It, and when it begins to sign."""
        from pilotfish.identity.authority import load_all
        from pilotfish.install.names import OURS
        from pilotfish.runtime.certificates import describe
        from pilotfish.runtime.cluster.authority import SharedAuthority

        state = self._run(SharedAuthority(self._api, ROOT_NAMESPACE, OURS).rotate())
        return describe(load_all(state.wanted.certificate)[0]), state.next_at

    def names(self, pod: PodView) -> NameTable:
        from pilotfish.model.names import NameTable

        place = f"{pod.name}.{pod.namespace}"
        target = f"/api/names?{urlencode({'proxyID': place})}"
        try:
            return self._ask_plane(Request("GET", target), NameTable, f"which names {place} resolves")
        except (Failure, MachineError) as error:
            _say(f"names are told by the objects as they are: {error}")
        from pilotfish.cli.live_world import read_world
        from pilotfish.model import Proxy

        world = read_world(self)
        return world.mesh.names(world.proxies.get(place) or Proxy.of_pod(pod.name, pod.namespace, pod.addresses))

    def owners(self, trace: bytes) -> tuple[OwnerView, ...]:
        from pilotfish.runtime.control.views import OwnerView

        try:
            return self._ask_plane(Request("POST", "/api/owners", trace), tuple[OwnerView, ...], "whose a step is")
        except (Failure, MachineError) as error:
            raise Refused(str(error)) from error

    def _ask_plane(self, request: Request, shape: type[T], what: str) -> T:
        try:
            return self._run(self._plane.ask_any(request)).read(shape)
        except OSError as error:
            raise Failure(f"discovery does not say {what}: {error}; see 'pilotfish status'") from error

    # Its proxies

    def ask_envoy(self, pod: PodView, request: Request) -> Answer:
        return self._run(ask_pod(self._api, pod, pod.admin_port, request, _DUMP))

    def proxies_of(self, pods: Sequence[PodView]) -> tuple[ProxyView, ...]:
        asked = [pod for pod in pods if has_proxy(pod)]
        request = Request("GET", CERTIFICATES)
        found = self._run(at_most(AT_ONCE, lambda pod: ask_pod(self._api, pod, pod.admin_port, request), asked))
        return tuple(with_certificate(pod, answer) for pod, answer in zip(asked, found, strict=True))

    def rules(self, pod: PodView, family: Literal[4, 6]) -> RuleSet:
        """As its own init container says: the kernel of its node is nobody's to ask from here."""
        from pilotfish.cli.mesh.cluster_rules import read_rules

        if not self._has_said_rules:
            _say("netfilter rules are told as pods' init containers are called: no node's kernel is asked from here")
            self._has_said_rules = True
        return read_rules(f"{pod.name}.{pod.namespace}", self._pods.capture_of(pod), family)

    def frontends(self) -> tuple[Frontend, ...]:
        from pilotfish.offline.scene import build_scene
        from pilotfish.offline.world import build

        return build_scene(build(self._read(*_TRAFFIC), revision=self.injection())).frontends

    def listening(self, pod: PodView) -> None:
        return None

    def resolve(self, name: str) -> None:
        """A pod's resolver is not this machine's."""
        return

    def describe_closed(self, address: str) -> str:
        return ""

    def send(self, pod: PodView, asks: Sequence[Ask]) -> list[Result]:
        from pilotfish.cli.mesh.cluster_sending import send

        container, timeout = find_container(pod, None).name, _CALL * (len(asks) + 1)

        def execute(command: Sequence[str]) -> Done:
            return self._run(run(self._api, pod.namespace, pod.name, container, command, timeout))

        return send(f"container {container} of {pod.name}.{pod.namespace}", execute, asks)

    # Logs

    def logs_requests(self) -> bool:
        try:
            return bool(self._read(CONFIG_MAP).mesh_config.access_log_file)
        except Forbidden:
            return True  # it is not known that they do not

    def open_log(self, pod: PodView, container: ContainerView, which: LogRange) -> FollowedLog | WholeLog:
        path = log_path(pod.namespace, pod.name)
        params = log_params(
            container.name,
            lines=which.lines,
            since=which.since,
            previous=which.previous,
            timestamps=which.timestamps,
        )
        if not which.follow:
            return WholeLog(lambda: self._run(self._api.read(path, **params)))

        async def is_gone() -> bool:
            now = await self._pods.get(pod.namespace, pod.name)
            mine = next((each for each in now.containers if each.name == container.name), None) if now else None
            return now is None or mine is None or is_over(now, mine)

        return FollowedLog(self._background, self._api, path, params, is_gone)

    def proxy_logs(self, pods: Sequence[PodView], since: float | None = None) -> Iterator[Sequence[str]]:
        """The last ten thousand lines of each."""

        async def one(pod: PodView) -> Sequence[str]:
            if not has_proxy(pod):
                return ()
            params = log_params(PROXY_CONTAINER, lines=_MOST_LINES, since=since)
            text = await self._api.read(log_path(pod.namespace, pod.name), **params)
            return text.decode(errors="replace").splitlines()

        for each in self._run(at_most(AT_ONCE, one, pods)):
            if isinstance(each, ApiError) and each.code in (400, 404):
                yield ()  # it is not started, or gone
            elif isinstance(each, Exception):
                raise each
            else:
                yield each

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._background.run(work)
        except Forbidden as error:
            if error.asked.resource != "pods/portforward":
                raise
            without = "'analyze', 'diff', 'authz check' and 'logs' need no port of a pod"
            raise Failure(f"{error}; {without}") from error


def _gather(forbidden: Iterable[Forbidden]) -> str:
    """`pods, services, all of networking.istio.io`."""
    groups: dict[str, list[str]] = {}
    for each in forbidden:
        groups.setdefault(each.asked.group, []).append(each.asked.whole)
    return ", ".join(
        f"{len(names)} resources of {group}" if group and len(names) > 2 else ", ".join(dict.fromkeys(names))
        for group, names in groups.items()
    )


def _subject(problem: ProblemView) -> tuple[str, ...]:
    return problem.group, problem.kind, problem.namespace, problem.name, problem.field, problem.reason


def _say(text: str) -> None:
    click.echo(text, err=True)
