"""A mesh as commands that look know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet
    from pilotfish.config.desired import DesiredState
    from pilotfish.config.injection import Revision
    from pilotfish.explain.ask import Ask
    from pilotfish.model import Kind
    from pilotfish.model.frontend import Frontend
    from pilotfish.model.names import NameTable
    from pilotfish.model.target import Target
    from pilotfish.runtime.control.client import Unstructured
    from pilotfish.runtime.control.views import (
        ClusterView,
        ContainerView,
        IdentityView,
        OwnerView,
        PodsView,
        PodView,
        ProblemView,
        ProxyView,
        StatusView,
        VersionView,
    )
    from pilotfish.runtime.echo.calls import Result
    from pilotfish.runtime.http.message import Answer, Request


@dataclass(frozen=True, slots=True)
class LogRange:
    """Which part of a container's log is meant."""

    lines: int | None = None
    """The last so many; None: all."""
    since: float | None = None
    """Nothing older: seconds since the epoch."""
    previous: bool = False
    """Of the container's run before this one."""
    timestamps: bool = False
    """Each line behind its time."""
    follow: bool = False


class Log(Protocol):
    """One container's log, being read."""

    def read(self) -> bytes:
        """What is new. The first time, all that is there."""

    @property
    def is_empty(self) -> bool:
        """Nothing was written at all."""

    @property
    def is_over(self) -> bool:
        """Nothing will follow but what `read` gives once more: the container is gone, and no other comes in its place.
        Cheap to ask often."""

    def close(self) -> None: ...


def is_over(pod: PodView, container: ContainerView) -> bool:
    """An init container that completed, or a pod that did, does not start again."""
    completed = container.kind == "init" and container.state == "terminated" and container.exit_code == 0
    return completed or pod.phase in ("Succeeded", "Failed")


def count_versions(what: Literal["discovery", "proxies"], versions: Iterable[str]) -> list[VersionView]:
    from pilotfish.runtime.control.views import VersionView

    return [VersionView(what=what, version=each, count=n) for each, n in sorted(Counter(versions).items())]


class Mesh(Protocol):
    """Every method blocks, may be called from any thread, and raises Failure, or what `failure.expected` knows."""

    @property
    def title(self) -> str:
        """`mesh demo`, `the cluster of context prod`."""

    @property
    def tool(self) -> str:
        """Whose `get pods`, `exec` and the like hold there: pilotfish or kubectl."""

    def close(self) -> None:
        """Nothing is asked any more. The end of a command closes its mesh."""

    def status(self) -> StatusView | ClusterView: ...

    def pods(self) -> PodsView:
        """All that there are, without asking discovery more than it takes."""

    def pods_of(self, target: Target) -> PodsView:
        """The pods and Services among which those are that are meant."""

    def changes(self, since: int, wait: float) -> int:
        """A counter that has another value than `since` when something may have changed, after `wait` seconds at the
        latest."""

    def problems(self) -> tuple[ProblemView, ...]:
        """All that is wrong within and between objects, and what proxies refused of them."""

    def objects(self, kind: Kind, namespace: str = "", name: str = "") -> list[Unstructured]:
        """As they are stored; "" selects all."""

    def desired(self) -> DesiredState:
        """All that the mesh is made of, as discovery reads it, with what makes pods."""

    def injection(self) -> Revision | None:
        """Which pods have a sidecar: in a cluster those that hold one, and of those that are to come, those of which
        this revision is asked; None on one machine, where all have that do not refuse it."""

    def proxying(self) -> str:
        """Whose Envoy pods have that don't say it (`config.proxying`); "" leaves it to the meshConfig."""

    def versions(self) -> list[VersionView]:
        """Of discovery, and of the Envoys that are connected to it."""

    def authority(self) -> IdentityView:
        """What signs certificates."""

    def proxies_of(self, pods: Sequence[PodView]) -> tuple[ProxyView, ...]:
        """Those of these pods that have one, with their certificates."""

    def ask_envoy(self, pod: PodView, request: Request) -> Answer:
        """Of its admin interface. Raises OSError where it does not answer."""

    def open_log(self, pod: PodView, container: ContainerView, which: LogRange) -> Log:
        """Raises Failure where there is none."""

    def logs_requests(self) -> bool:
        """Proxies write an access log, as far as the meshConfig says it."""

    def proxy_logs(self, pods: Sequence[PodView], since: float | None = None) -> Iterable[Sequence[str]]:
        """The lines that each pod's proxy wrote, in their order; none of one without a proxy. What is older than
        `since` (seconds since the epoch) may be left out."""

    def rules(self, pod: PodView, family: Literal[4, 6]) -> RuleSet:
        """The packet filter's in the pod's namespace; with counters where the kernel was asked."""

    def names(self, pod: PodView) -> NameTable:
        """What answers the DNS questions of the pod."""

    def frontends(self) -> tuple[Frontend, ...]:
        """Services as the nodes' kernels serve them."""

    def listening(self, pod: PodView) -> Set[tuple[str, int]] | None:
        """Where its apps listen; None where nobody can tell."""

    def resolve(self, name: str) -> tuple[str, ...] | None:
        """What the resolvers beyond the mesh answer a pod; None where they can't be asked."""

    def describe_closed(self, address: str) -> str:
        """Why nothing leads from pods to an address that is nobody's here; "" where it is not known that it is so."""

    def owners(self, trace: bytes) -> tuple[OwnerView, ...]:
        """Whose the steps of a request's way are (`explain.wire`). Raises Refused where discovery does not say."""

    def send(self, pod: PodView, asks: Sequence[Ask]) -> list[Result]:
        """Really, from the pod's first container: one after the other, each over a connection of its own."""
