"""Which proxy a command means: a pod's own, as much of its machine's as the pod uses, or all of a machine's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pilotfish.cli.envoy_admin import read_json
from pilotfish.cli.failure import Failure
from pilotfish.cli.session import Reader
from pilotfish.runtime.control.views import PodView

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.cli.render.dump import Json

_DUMP: Final = "/config_dump?include_eds"
_CLUSTERS: Final = "/clusters?format=json"


@dataclass(frozen=True)
class MeantProxy:
    mesh: Mesh
    pod: PodView
    """That it serves."""
    machine: str = ""
    """Of which all is meant, whatever the pod is; "" for what is the pod's."""
    root: str = ""
    """The namespace of the machine's proxy."""

    @property
    def name(self) -> str:
        """As discovery calls it: `webapp-0.vm`, `box.istio-system`."""
        return f"{self.machine}.{self.root}" if self.machine else f"{self.pod.name}.{self.pod.namespace}"

    @property
    def title(self) -> str:
        return f"machine {self.machine}" if self.machine else self.name

    @property
    def netns(self) -> str:
        """By which a machine's proxy knows the pod; "" where that does not matter."""
        return self.pod.netns if self.pod.machine and not self.machine else ""

    @cached_property
    def dump(self) -> Json:
        """What it holds, in the form of /config_dump."""
        found = read_json(self.mesh, self.pod, _DUMP)
        if not self.netns:
            return found
        from pilotfish.explain.pod_view import narrow_dump

        return narrow_dump(found, self.netns)

    @cached_property
    def clusters(self) -> Json:
        """Its endpoints, in the form of /clusters."""
        found = read_json(self.mesh, self.pod, _CLUSTERS)
        if not self.netns:
            return found
        from pilotfish.explain.pod_view import narrow_clusters

        return narrow_clusters(found, dict(self.dump))


def find_proxy(reader: Reader, target: str) -> MeantProxy:
    """`target`: a pod, or a machine's name as `proxy-status` has it. Raises Failure where it is neither."""
    try:
        return MeantProxy(reader.mesh, reader.find_pod(target))
    except Failure:
        view = reader.mesh.pods()
        for each in view.proxies:
            served = next((pod for pod in view.pods if f"{pod.name}.{pod.namespace}" in each.serves), None)
            if served is not None and target in (each.pod, f"{each.pod}.{each.namespace}"):
                return MeantProxy(reader.mesh, served, each.pod, each.namespace)
        raise
