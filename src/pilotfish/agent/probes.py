"""An app's probes, moved to the agent: the kubelet asks 15020, and the agent asks the app from inside its pod.

A probe from outside would be captured, and answered (or refused) by Envoy instead of the app. So each HTTP, TCP and
gRPC probe becomes an HTTP probe of `/app-health/CONTAINER/{livez,readyz,startupz}` on the agent's port; what it was is
kept in a table. An exec probe runs inside the container anyway, and stays.

So do the HTTP requests of a container's hooks, in a cluster: `/app-lifecycle/CONTAINER/{poststartz,prestopz}`.

Source: https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pilotfish.config.kubernetes import (
    Container,
    GRPCAction,
    HTTPGetAction,
    Lifecycle,
    Probe,
    ProbeKind,
    Struct,
    TCPSocketAction,
)
from pilotfish.config.values import IntOrString
from pilotfish.model.wellknown import STATUS_PORT

_KINDS: tuple[tuple[ProbeKind, str, str], ...] = (
    ("liveness", "liveness_probe", "livez"),
    ("readiness", "readiness_probe", "readyz"),
    ("startup", "startup_probe", "startupz"),
)
_PATHS = {kind: path for kind, _, path in _KINDS}
HEALTH_PREFIX: Final = "/app-health/"
HOOK_PREFIX: Final = "/app-lifecycle/"
_LONGEST_START: Final = 600
"""Seconds for a `postStart`, which Kubernetes does not bound."""


class AppProbe(Struct):
    """What the agent does to the app. Exactly one action is set, and its port is a number.

    The same form as the values of the environment variable ISTIO_KUBE_APP_PROBERS.
    """

    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    timeout_seconds: int = 1


ProbeTable = Mapping[str, AppProbe]
"""By path, such as `/app-health/webapp/readyz`."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    containers: tuple[Container, ...]
    """As given, but for the probes: those in `table` ask the agent."""
    table: ProbeTable


def probe_path(container: str, kind: ProbeKind) -> str:
    """`/app-health/webapp/readyz`."""
    return f"{HEALTH_PREFIX}{container}/{_PATHS[kind]}"


def hook_path(container: str, hook: str) -> str:
    """`postStart` or `preStop`: `/app-lifecycle/webapp/prestopz`."""
    return f"{HOOK_PREFIX}{container}/{hook.lower()}z"


def rewrite_probes(containers: Iterable[Container], status_port: int = STATUS_PORT) -> Rewritten:
    """Move every probe of `containers` that captured traffic would break to the agent.

    A probe whose named port the container does not declare stays as it is: it could only be answered by a failure that
    names the port, and whoever runs the probe says that better.
    """
    table: dict[str, AppProbe] = {}
    rewritten = tuple(_rewrite_container(container, status_port, table) for container in containers)
    return Rewritten(rewritten, table)


def read_hooks(containers: Iterable[Container], grace: int) -> ProbeTable:
    """The HTTP requests that `containers` are sent as they start and end. `grace`: seconds that a pod has to end in."""
    table: dict[str, AppProbe] = {}
    for container in containers:
        lifecycle = container.lifecycle or Lifecycle()
        for name, hook, longest in (
            ("postStart", lifecycle.post_start, _LONGEST_START),
            ("preStop", lifecycle.pre_stop, grace),
        ):
            get = hook.http_get if hook is not None else None
            if get is not None and (port := _number(get.port, container)) is not None:
                found = AppProbe(http_get=msgspec.structs.replace(get, port=port), timeout_seconds=max(1, longest))
                table[hook_path(container.name, name)] = found
    return table


def parse_probers(text: str) -> ProbeTable:
    """The table from ISTIO_KUBE_APP_PROBERS (JSON). Raises ValueError that says what is wrong with it."""
    try:
        return msgspec.json.decode(text, type=dict[str, AppProbe], dec_hook=_decode_value)
    except msgspec.DecodeError as error:
        raise ValueError(f"ISTIO_KUBE_APP_PROBERS is not a table of probes: {error}") from error


def port_number(port: IntOrString) -> int:
    """The number of a port in an AppProbe, whose ports are numbers. Raises ValueError for a name."""
    return int(port.value)


def _rewrite_container(container: Container, status_port: int, table: dict[str, AppProbe]) -> Container:
    for kind, field, _ in _KINDS:
        probe: Probe | None = getattr(container, field)
        app = _app_probe(probe, container) if probe else None
        if probe is None or app is None:
            continue
        path = probe_path(container.name, kind)
        table[path] = app
        get = HTTPGetAction(port=IntOrString(status_port), path=path)
        moved = msgspec.structs.replace(probe, http_get=get, tcp_socket=None, grpc=None)
        container = msgspec.structs.replace(container, **{field: moved})
    return container


def _app_probe(probe: Probe, container: Container) -> AppProbe | None:
    """None for an exec probe, and for a named port that the container lacks."""
    if probe.grpc is not None:
        return AppProbe(grpc=probe.grpc, timeout_seconds=probe.timeout_seconds)
    if (get := probe.http_get) is not None and (port := _number(get.port, container)) is not None:
        return AppProbe(http_get=msgspec.structs.replace(get, port=port), timeout_seconds=probe.timeout_seconds)
    if (tcp := probe.tcp_socket) is not None and (port := _number(tcp.port, container)) is not None:
        return AppProbe(tcp_socket=msgspec.structs.replace(tcp, port=port), timeout_seconds=probe.timeout_seconds)
    return None


def _number(port: IntOrString, container: Container) -> IntOrString | None:
    if isinstance(port.value, int):
        return port
    if port.value.isdecimal():
        return IntOrString(int(port.value))
    return next((IntOrString(p.container_port) for p in container.ports if p.name == port.value), None)


def to_document(probe: AppProbe) -> dict[str, object]:
    """The action alone, as a probe or a hook of a manifest has it."""
    action = msgspec.structs.replace(probe, timeout_seconds=1)
    found: dict[str, object] = msgspec.to_builtins(action, enc_hook=_encode_value)
    return found


def render_probers(table: ProbeTable) -> str:
    """What `parse_probers` reads: JSON, sorted by path."""
    return msgspec.json.encode(dict(table), enc_hook=_encode_value, order="sorted").decode()


def _encode_value(value: object) -> object:
    if isinstance(value, IntOrString):
        return value.value
    raise NotImplementedError(type(value))


def _decode_value(kind: type, value: object) -> object:
    if kind is IntOrString and isinstance(value, (int, str)):
        return IntOrString(int(value) if str(value).isdecimal() else value)
    raise ValueError(f"{value!r} is no {kind.__name__}")
