"""Which pods the node captures for, what, and which of them run without it.

The injector has said it: such a pod has an init container `istio-validation`, which looks whether the node has set up
what its flags say. There stands all that the mesh's configuration, the namespace and the pod's annotations come to.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pilotfish.capture import CaptureSpec, parse_spec
from pilotfish.capture.flags import parse_flags
from pilotfish.model.struct import Frozen
from pilotfish.model.wellknown import VALIDATION_CONTAINER

UNCAPTURED: Final = 126
"""The exit code of a container that finds nothing set up: `capture check`'s, and that of Istio's `istio-validation`."""
_OF_NO_FLAG: Final = frozenset(("capture", "check", "istio-iptables"))
"""What stands before the flags."""


class _Part(Frozen, rename="camel"):
    """There is more in a Pod than is looked at."""


class _Ended(_Part):
    exit_code: int = 0


class _State(_Part):
    running: dict[str, str] | None = None
    terminated: _Ended | None = None


class _ContainerStatus(_Part):
    name: str = ""
    state: _State = _State()
    last_state: _State = _State()


class _Container(_Part):
    name: str = ""
    args: tuple[str, ...] = ()


class _Address(_Part):
    ip: str = ""


class _Metadata(_Part):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    deletion_timestamp: str = ""


class _Spec(_Part):
    host_network: bool = False
    restart_policy: str = "Always"
    init_containers: tuple[_Container, ...] = ()


class _Status(_Part):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[_Address, ...] = msgspec.field(default=(), name="podIPs")
    init_container_statuses: tuple[_ContainerStatus, ...] = ()


class NodePod(_Part):
    """As much of a Pod as the node looks at."""

    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(each.ip for each in self.status.pod_ips) or ((self.status.pod_ip,) if self.status.pod_ip else ())

    def __str__(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"


def find_capture(pod: NodePod) -> CaptureSpec | None:
    """What the node is to capture; None for a pod of which it is not asked. Raises ValueError that names the flag: the
    pod is not to run with less."""
    if pod.spec.host_network or (validation := _validation(pod)) is None:
        return None
    words = [word for word in validation.args if word not in _OF_NO_FLAG]
    spec, problems = parse_spec(parse_flags(words))
    if spec is None:
        raise ValueError("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
    return spec


def find_broken(pod: NodePod) -> Literal["", "waits", "failed"]:
    """`waits`: its validation looks for rules, or has found none and is tried again; `failed`: it is not tried again.
    "" for a pod that is well, ends, or has no address yet."""
    is_over = pod.metadata.deletion_timestamp or pod.status.phase == "Succeeded"
    if is_over or not pod.addresses or pod.spec.host_network or _validation(pod) is None:
        return ""
    status = next((each for each in pod.status.init_container_statuses if each.name == VALIDATION_CONTAINER), None)
    if status is None:
        return ""
    state, last = status.state, status.last_state
    if state.running is not None:
        return "waits"
    if state.terminated is not None:
        if state.terminated.exit_code != UNCAPTURED:
            return ""
        return "failed" if pod.status.phase == "Failed" else "waits"
    return "waits" if last.terminated is not None and last.terminated.exit_code == UNCAPTURED else ""


def _validation(pod: NodePod) -> _Container | None:
    return next((each for each in pod.spec.init_containers if each.name == VALIDATION_CONTAINER), None)
