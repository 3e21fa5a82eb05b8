"""A cluster's proxies, of what their pods and the replicas of discovery say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pilotfish.cli.envoy_admin import read_certificate
from pilotfish.model.proxy import NodeId, ProxyType
from pilotfish.model.wellknown import namespace_domain
from pilotfish.runtime.control.views import PodView, ProxyView, SyncView
from pilotfish.runtime.http.message import Answer, AnswerError


def has_proxy(pod: PodView) -> bool:
    """That runs, or is to."""
    return pod.captured and pod.phase not in ("Succeeded", "Failed")


def describe_proxy(pod: PodView, syncs: Mapping[str, tuple[SyncView, str]]) -> ProxyView:
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


def describe_other(proxy: str, sync: SyncView, replica: str) -> ProxyView:
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


def with_certificate(pod: PodView, answer: Answer | Exception) -> ProxyView:
    found, error = None, ""
    try:
        found = read_certificate(answer.read(dict[str, Any])) if not isinstance(answer, Exception) else None
        error = "" if found is not None else str(answer) if isinstance(answer, Exception) else "it has none"
    except AnswerError as wrong:
        error = str(wrong)
    view = describe_proxy(pod, {})
    return msgspec.structs.replace(view, certificate=found, certificate_error=error)
