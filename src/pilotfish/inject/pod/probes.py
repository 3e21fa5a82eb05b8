"""What the kubelet asks a pod's containers, sent by way of the agent; and back, where an injection has done so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pilotfish.agent.probes import (
    HEALTH_PREFIX,
    HOOK_PREFIX,
    AppProbe,
    ProbeTable,
    hook_path,
    parse_probers,
    probe_path,
    to_document,
)
from pilotfish.config.kubernetes import ProbeKind
from pilotfish.inject.pod.installation import Document
from pilotfish.model.wellknown import PROXY_CONTAINER

_PROBES: Final[tuple[ProbeKind, ...]] = ("startup", "liveness", "readiness")
_HOOKS: Final = ("postStart", "preStop")
_ACTIONS: Final = ("httpGet", "tcpSocket", "grpc")
LISTS: Final = ("initContainers", "containers")


def without_proxy(table: ProbeTable) -> ProbeTable:
    """Those of the app: what the proxy is asked itself goes to no other."""
    own = (f"{HEALTH_PREFIX}{PROXY_CONTAINER}/", f"{HOOK_PREFIX}{PROXY_CONTAINER}/")
    return {path: probe for path, probe in table.items() if not path.startswith(own)}


def rewrite(spec: Document, table: ProbeTable, status_port: int) -> None:
    """Changes `spec`: what is in the table is asked of the agent. What an API server has filled in stays."""
    for path, holder in _asked(spec):
        if path not in table:
            continue
        get = holder.get("httpGet") or {}
        for action in _ACTIONS:
            holder.pop(action, None)
        is_done = (get.get("path"), get.get("port")) == (path, status_port)
        holder["httpGet"] = get if is_done else {"path": path, "port": status_port}


def restore(spec: Document, text: str) -> None:
    """Changes `spec`, as `rewrite` has left it, to what its author wrote. `text`: of the variable with the table."""
    try:
        table: Mapping[str, AppProbe] = parse_probers(text)
    except ValueError:
        return
    for path, holder in _asked(spec):
        get = holder.get("httpGet")
        if path in table and isinstance(get, dict) and get.get("path") == path:
            del holder["httpGet"]
            holder.update(to_document(table[path]))


def _asked(spec: Document) -> Iterator[tuple[str, Document]]:
    """(path at the agent, what holds the action) of each probe and hook of the app's containers."""
    for container in (each for name in LISTS for each in spec.get(name) or ()):
        name = container.get("name")
        if name == PROXY_CONTAINER:
            continue
        for kind in _PROBES:
            if isinstance(probe := container.get(f"{kind}Probe"), dict):
                yield probe_path(name, kind), probe
        for hook in _HOOKS:
            lifecycle = container.get("lifecycle")
            if isinstance(lifecycle, dict) and isinstance(handler := lifecycle.get(hook), dict):
                yield hook_path(name, hook), handler
