"""The control plane of a cluster as commands ask it: which replicas there are, and what all of them say, as one.

Proxies are spread over the replicas, and each knows its own: what is asked of a mesh is asked of all, and merged. What
follows from the objects alone, each of them says alike: the first that answers is as good as any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from pilotfish.cluster.paths import collection
from pilotfish.config.injection import DEFAULT_REVISION, REVISION
from pilotfish.install.names import APP, TAG
from pilotfish.model.kinds import POD
from pilotfish.model.wellknown import MONITORING_PORT, ROOT_NAMESPACE
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.background import at_most
from pilotfish.runtime.cluster.describe import Pod, describe_pod
from pilotfish.runtime.cluster.errors import Forbidden, Unreachable
from pilotfish.runtime.control.views import DiscoveryReplicaView, PodView, ProblemView, SyncView
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.http.message import Answer, Request

AT_ONCE: Final = 16
"""Pods that are asked at a time: each question is a stream of its own through the API server and a kubelet."""
_SELECTOR: Final = f"app={APP}"
_WEBHOOKS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_TIMEOUT: Final = 10.0
T = TypeVar("T")


class NoControlPlane(MachineError):
    """There is none, or not the one that is meant; `is_ambiguous`: there are several."""

    def __init__(self, message: str, remedy: str, is_ambiguous: bool = False) -> None:
        super().__init__(message, remedy)
        self.is_ambiguous = is_ambiguous


@dataclass(frozen=True, slots=True)
class Said:
    """What one replica says of what it has; `error`: why it says nothing."""

    pod: PodView
    version: str = ""
    syncs: tuple[SyncView, ...] = ()
    problems: tuple[ProblemView, ...] = ()
    error: Exception | None = None

    @property
    def view(self) -> DiscoveryReplicaView:
        return DiscoveryReplicaView(
            pod=f"{self.pod.name}.{self.pod.namespace}",
            ready=self.pod.ready,
            version=self.version,
            proxies=len(self.syncs),
            error=str(self.error) if self.error is not None else "",
        )


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One revision's."""

    api: Api
    revision: str
    namespace: str
    pods: tuple[PodView, ...]

    async def ask_all(self) -> list[Said]:
        """All that serve; of the others, that they do not. Forbidden where no port may be forwarded: that is no
        replica's fault."""
        found = await at_most(AT_ONCE, self._ask_one, self.pods)
        for each in found:
            if isinstance(each, Forbidden):
                raise each
        return [
            each if isinstance(each, Said) else Said(pod, error=each)
            for pod, each in zip(self.pods, found, strict=True)
        ]

    async def ask_each(self, request: Request) -> list[Answer]:
        """Of those that answer."""
        ready = [pod for pod in self.pods if pod.ready]
        found = await at_most(AT_ONCE, lambda pod: ask_pod(self.api, pod, MONITORING_PORT, request), ready)
        return [each for each in found if isinstance(each, Answer)]

    async def ask_any(self, request: Request) -> Answer:
        """The first that answers. Raises what the last of them raised."""
        last: Exception = Unreachable(
            f"no replica of the control plane {self.revision} is ready in namespace {self.namespace}",
            f"kubectl -n {self.namespace} get pods says why",
        )
        for pod in self.pods:
            if not pod.ready:
                continue
            try:
                return await ask_pod(self.api, pod, MONITORING_PORT, request)
            except Forbidden:
                raise
            except (MachineError, OSError) as error:
                last = error
        raise last

    async def _ask_one(self, pod: PodView) -> Said:
        if not pod.ready:
            return Said(pod, error=Unreachable(f"it is {pod.reason or pod.phase}"))
        try:
            version, syncs, problems = await at_most(
                3,
                lambda path: ask_pod(self.api, pod, MONITORING_PORT, Request("GET", path)),
                ("/version", "/api/syncs", "/api/problems"),
            )
            return Said(
                pod,
                _answered(version).body.decode(errors="replace").strip(),
                _answered(syncs).read(tuple[SyncView, ...]),
                _answered(problems).read(tuple[ProblemView, ...]),
            )
        except Forbidden:
            raise
        except (MachineError, OSError) as error:
            return Said(pod, error=error)


async def ask_pod(api: Api, pod: PodView, port: int, request: Request, timeout: float = _TIMEOUT) -> Answer:
    """Over a forwarded port. Raises OSError, MachineError."""
    async with await api.port_forward(pod.namespace, pod.name, port) as stream:
        return await stream.ask(request, timeout)


async def find_control_plane(api: Api, revision: str = "", namespace: str = ROOT_NAMESPACE) -> ControlPlane:
    """`revision`: a revision's or a tag's name; "" for the only one. Raises NoControlPlane."""
    found: dict[str, list[PodView]] = {}
    async for page in api.pages(collection(POD, namespace), shape=Pod, labelSelector=_SELECTOR):
        for pod in page.items:
            its_revision = (pod.metadata.labels or {}).get(REVISION) or DEFAULT_REVISION
            found.setdefault(its_revision, []).append(describe_pod(pod))
    if not found:
        remedy = "install one with 'pilotfish install'"
        raise NoControlPlane(f"no control plane runs in namespace {namespace}", remedy)
    if revision and revision not in found:
        revision = await _find_tagged(api, revision) or revision
    chosen = revision or next(iter(found))
    if chosen not in found:
        raise NoControlPlane(f"no control plane has the revision {chosen}", f"there is {', '.join(sorted(found))}")
    if len(found) > 1 and not revision:
        several = f"{len(found)} control planes run in namespace {namespace}: {', '.join(sorted(found))}"
        raise NoControlPlane(several, "say which one is meant with --revision", is_ambiguous=True)
    # Those that serve first, as the first that answers is asked.
    pods = sorted(found[chosen], key=lambda pod: (not pod.ready, pod.phase == "Terminating", pod.name))
    return ControlPlane(api, chosen, namespace, tuple(pods))


class _Webhooks(msgspec.Struct):
    metadata: _Labelled


class _Labelled(msgspec.Struct):
    labels: dict[str, str] | None = None


async def _find_tagged(api: Api, tag: str) -> str:
    """The revision that a tag stands for; "" if there is no such tag."""
    try:
        async for page in api.pages(_WEBHOOKS, shape=_Webhooks, labelSelector=f"{TAG}={tag}"):
            for each in page.items:
                return str((each.metadata.labels or {}).get(REVISION, ""))
    except Forbidden:
        return ""  # then it is no revision's name, and that is what is said
    return ""


def merge_syncs(said: Iterable[Said]) -> Mapping[str, tuple[SyncView, str]]:
    """By proxy (`name.namespace`): where it stands, and the replica that it is connected to. What moves from one to
    another may be known to both for a moment: what is not in step is told."""
    found: dict[str, tuple[SyncView, str]] = {}
    for each in said:
        for sync in each.syncs:
            if sync.proxy not in found or not sync.synced:
                found[sync.proxy] = sync, each.pod.name
    return found


def merge_problems(said: Sequence[Said]) -> tuple[ProblemView, ...]:
    """Each once, with the proxies of all replicas that refused the object."""
    found: dict[ProblemView, tuple[str, ...]] = {}
    for each in said:
        for problem in each.problems:
            plain = msgspec.structs.replace(problem, proxies=())
            found[plain] = (*found.get(plain, ()), *problem.proxies)
    return tuple(msgspec.structs.replace(each, proxies=tuple(sorted(set(found[each])))) for each in found)


def _answered(found: Answer | Exception) -> Answer:
    if isinstance(found, Exception):
        raise found
    return found
