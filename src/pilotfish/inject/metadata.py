"""What a proxy says of its workload, in Istio's names."""

from __future__ import annotations

from pilotfish.agent.identity import metadata_from_environment
from pilotfish.config.kubernetes import Pod
from pilotfish.model import ObjectRef
from pilotfish.model.wellknown import PROXY_CONTAINER


def build_metadata(pod: Pod, workload: ObjectRef) -> dict[str, object]:
    api, plural = workload.kind.api_versions[0], workload.kind.plural
    return {
        "SERVICE_ACCOUNT": pod.spec.service_account_name or "default",
        "WORKLOAD_NAME": workload.name,
        "OWNER": f"kubernetes://apis/{api}/namespaces/{workload.namespace}/{plural}/{workload.name}",
        "ANNOTATIONS": dict(pod.metadata.annotations),
        "APP_CONTAINERS": ",".join(c.name for c in pod.spec.containers if c.name != PROXY_CONTAINER),
    }


def build_gateway_metadata(pod: Pod, workload: ObjectRef) -> dict[str, object]:
    """With what the gateway's own container says (ISTIO_META_ROUTER_MODE, ...)."""
    own = (container for container in pod.spec.containers if container.name == PROXY_CONTAINER)
    written = {variable.name: variable.value for container in own for variable in container.env if variable.value}
    # Nothing is captured, whatever bootstraps say where they are not told.
    return {**metadata_from_environment(written), **build_metadata(pod, workload), "INTERCEPTION_MODE": ""}
