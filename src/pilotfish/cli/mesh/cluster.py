"""A mesh in a cluster: of its API server, and by its port-forward of discovery and of Envoys."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import urlencode

import click
import msgspec

from pilotfish.cli.envoy_admin import CERTIFICATES, read_certificate
from pilotfish.cli.failure import Failure
from pilotfish.cli.mesh.protocol import LogRange, count_versions, is_over
from pilotfish.cli.target import find_container
from pilotfish.cluster.paths import collection, item
from pilotfish.model import Kind
from pilotfish.model.kinds import CONFIG_MAP, ENDPOINT_SLICE, NAMESPACE, POD, SERVICE
from pilotfish.model.proxy import NodeId, ProxyType
from pilotfish.model.target import Target
from pilotfish.model.wellknown import PROXY_CONTAINER, ROOT_NAMESPACE, namespace_domain
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.background import Background, at_most
from pilotfish.runtime.cluster.describe import Pod, Service, describe_pod, describe_service, find_capture
from pilotfish.runtime.cluster.errors import ApiError, Forbidden
from pilotfish.runtime.cluster.exec import NOT_THERE, Done, run
from pilotfish.runtime.cluster.log import FollowedLog, log_params, log_path
from pilotfish.runtime.cluster.replicas import (
    AT_ONCE,
    DEFAULT,
    ControlPlane,
    NoControlPlane,
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
    SyncView,
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
    from pilotfish.runtime.control.views import IdentityView, OwnerView, VersionView
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
        self._known: dict[tuple[str, str], Pod] = {}
        """Pods as they were last seen."""
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
        plane, why = self._try_plane()
        said = self._run(plane.ask_all()) if plane is not None else []
        syncs, problems = merge_syncs(said), merge_problems(said)
        proxies = tuple(_describe_proxy(pod, syncs) for pod in view.pods if _has_proxy(pod))
        named = {f"{each.pod}.{each.namespace}" for each in proxies}
        # Machines have proxies that are no pods; and of pods that may not be read, it is known that they are there.
        proxies += tuple(_describe_other(name, *syncs[name]) for name in sorted(syncs.keys() - named))
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
            return PodsView(pods=tuple(self._run(self._list_pods(""))))
        except Forbidden as error:
            found = tuple(self._run(self._list_pods(self.namespace)))
            _say(f"only pods of namespace {self.namespace} are looked at: {error}")
            return PodsView(pods=found)

    def pods_of(self, target: Target) -> PodsView:
        async def find() -> PodsView:
            views = await at_most(AT_ONCE, lambda reading: self._find(target.kind, *reading), target.readings)
            found = [each for each in views if isinstance(each, PodsView)]
            if not any(each.pods or each.services for each in found):
                for each in views:
                    if isinstance(each, Exception):
                        raise each
            return PodsView(
                pods=tuple(pod for each in found for pod in each.pods),
                services=tuple(service for each in found for service in each.services),
            )

        return self._run(find())

    async def _find(self, kind: Kind | None, namespace: str, name: str) -> PodsView:
        if kind is None or kind is POD:
            return PodsView(pods=tuple(filter(None, [await self._get_pod(namespace, name)])))
        if kind is not SERVICE:
            return PodsView(pods=tuple(await self._list_pods(namespace)))
        try:
            found = msgspec.convert(await self._api.get(item(SERVICE, namespace, name)), Service, strict=False)
        except ApiError as error:
            if error.code != 404:
                raise
            return PodsView()
        labels = ",".join(f"{key}={value}" for key, value in (found.spec.selector or {}).items())
        pods = await self._list_pods(namespace, labelSelector=labels) if labels else []
        return PodsView(pods=tuple(pods), services=(describe_service(found),))

    async def _get_pod(self, namespace: str, name: str) -> PodView | None:
        try:
            found = msgspec.json.decode(await self._api.read(item(POD, namespace, name)), type=Pod)
        except ApiError as error:
            if error.code != 404:
                raise
            return None
        return self._keep(found)

    async def _list_pods(self, namespace: str, **params: Any) -> list[PodView]:
        pages = self._api.pages(collection(POD, namespace), shape=Pod, **params)
        return [self._keep(pod) async for page in pages for pod in page.items]

    def _keep(self, pod: Pod) -> PodView:
        self._known[pod.metadata.namespace, pod.metadata.name] = pod
        return describe_pod(pod)

    def changes(self, since: int, wait: float) -> int:
        """Nobody tells of a change of proxies there: it is looked again soon."""
        time.sleep(min(wait, _POLL))
        return since + 1

    # Its objects

    def problems(self) -> tuple[ProblemView, ...]:
        from pilotfish.cli.live_world import read_world

        of_objects = tuple(map(ProblemView.of, read_world(self, time.time()).problems))
        plane, why = self._try_plane()
        try:
            said = merge_problems(self._run(plane.ask_all())) if plane is not None else ()
        except (Failure, MachineError) as error:
            said, why = (), str(error)
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

    @property
    def _named(self) -> str:
        """The revision that is meant, where one is; the only one there is otherwise."""
        plane, _ = self._try_plane()
        return plane.revision if plane is not None else self._revision or DEFAULT

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

    def names(self, pod: PodView) -> NameTable:
        from pilotfish.model.names import NameTable

        target = f"/api/names?{urlencode({'proxyID': f'{pod.name}.{pod.namespace}'})}"
        return self._ask_plane(Request("GET", target), NameTable, f"which names {pod.name}.{pod.namespace} resolves")

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
        asked = [pod for pod in pods if _has_proxy(pod)]
        request = Request("GET", CERTIFICATES)
        found = self._run(at_most(AT_ONCE, lambda pod: ask_pod(self._api, pod, pod.admin_port, request), asked))
        return tuple(_with_certificate(pod, answer) for pod, answer in zip(asked, found, strict=True))

    def rules(self, pod: PodView, family: Literal[4, 6]) -> RuleSet:
        """As its own init container says: the kernel of its node is nobody's to ask from here."""
        from pilotfish.capture import RuleSet, parse_spec, rules
        from pilotfish.capture.flags import parse_flags

        if not self._has_said_rules:
            _say(
                "netfilter rules are told as the pods' init containers are called: no node's kernel is asked from here"
            )
            self._has_said_rules = True
        known = self._known.get((pod.namespace, pod.name))
        arguments = find_capture(known) if known is not None else None
        if arguments is None:
            return RuleSet()
        try:
            spec, problems = parse_spec(parse_flags(arguments))
        except ValueError as error:
            raise Failure(
                f"pod {pod.name}.{pod.namespace} says how it is captured in no way that is known: {error}"
            ) from error
        if spec is None:
            wrong = "; ".join(f"{each.field}: {each.message}" for each in problems)
            raise Failure(f"pod {pod.name}.{pod.namespace} can't be captured as it says: {wrong}")
        return rules(spec, family) if family == 4 or spec.enable_ipv6 else RuleSet()

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
        """By the Python of the pod's first container, else by its curl."""
        from pilotfish.runtime.echo.calls import command_with_calls, read_results
        from pilotfish.runtime.echo.curl import curl_command, read_curl

        container, place = find_container(pod, None), f"{pod.name}.{pod.namespace}"
        timeout = _CALL * (len(asks) + 1)

        def execute(command: Sequence[str]) -> Done:
            return self._run(run(self._api, pod.namespace, pod.name, container.name, command, timeout))

        done = execute(command_with_calls(asks))
        if not done.code:
            return read_results(done.output)
        by_curl = []
        for ask in asks:
            try:
                done = execute(curl_command(ask))
            except ValueError as error:
                raise Failure(f"nothing can be sent from {place}: it has no python3, and {error}") from error
            if done.code in (126, NOT_THERE):
                lacks = f"container {container.name} has neither python3 nor curl"
                raise Failure(f"nothing can be sent from {place}: {lacks} ({done.error})")
            by_curl.append(read_curl(done.code, done.output))
        return by_curl

    # Logs

    def logs_requests(self) -> bool:
        try:
            return bool(self._read(CONFIG_MAP).mesh_config.access_log_file)
        except Forbidden:
            return True  # it is not known that they do not

    def open_log(self, pod: PodView, container: ContainerView, which: LogRange) -> FollowedLog | _WholeLog:
        path = log_path(pod.namespace, pod.name)
        params = log_params(
            container.name,
            lines=which.lines,
            since=which.since,
            previous=which.previous,
            timestamps=which.timestamps,
        )
        if not which.follow:
            return _WholeLog(lambda: self._run(self._api.read(path, **params)))

        async def is_gone() -> bool:
            now = await self._get_pod(pod.namespace, pod.name)
            mine = next((each for each in now.containers if each.name == container.name), None) if now else None
            return now is None or mine is None or is_over(now, mine)

        return FollowedLog(self._background, self._api, path, params, is_gone)

    def proxy_logs(self, pods: Sequence[PodView], since: float | None = None) -> Iterator[Sequence[str]]:
        """The last ten thousand lines of each."""

        async def one(pod: PodView) -> Sequence[str]:
            if not _has_proxy(pod):
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


class _WholeLog:
    """All of a log, as it is now."""

    is_over = True

    def __init__(self, ask: Callable[[], bytes]) -> None:
        self._ask: Callable[[], bytes] | None = ask
        self.is_empty = True

    def read(self) -> bytes:
        content = self._ask() if self._ask is not None else b""
        self._ask = None
        self.is_empty = self.is_empty and not content
        return content

    def close(self) -> None:
        pass


def _has_proxy(pod: PodView) -> bool:
    """That runs, or is to."""
    return pod.captured and pod.phase not in ("Succeeded", "Failed")


def _describe_proxy(pod: PodView, syncs: Mapping[str, tuple[SyncView, str]]) -> ProxyView:
    sync, replica = syncs.get(f"{pod.name}.{pod.namespace}", (None, ""))
    container = next((each for each in pod.containers if each.kind == "proxy"), None)
    type_ = ProxyType.ROUTER if pod.gateway else ProxyType.SIDECAR
    address = pod.addresses[0] if pod.addresses else ""
    return ProxyView(
        namespace=pod.namespace,
        pod=pod.name,
        node_id=str(NodeId(address, pod.name, pod.namespace, namespace_domain(pod.namespace), type_)),
        ready=container is not None and container.ready,
        restarts=container.restarts if container is not None else 0,
        pid=None,
        sync=sync,
        discovery=replica,
    )


def _describe_other(proxy: str, sync: SyncView, replica: str) -> ProxyView:
    name, _, namespace = proxy.rpartition(".")
    return ProxyView(
        namespace=namespace,
        pod=name,
        node_id="",
        ready=sync.connected,
        restarts=0,
        pid=None,
        sync=sync,
        discovery=replica,
    )


def _with_certificate(pod: PodView, answer: Answer | Exception) -> ProxyView:
    found, error = None, ""
    try:
        found = read_certificate(answer.read(dict[str, Any])) if not isinstance(answer, Exception) else None
        error = "" if found is not None else str(answer) if isinstance(answer, Exception) else "it has none"
    except AnswerError as wrong:
        error = str(wrong)
    view = _describe_proxy(pod, {})
    return msgspec.structs.replace(view, certificate=found, certificate_error=error)


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
