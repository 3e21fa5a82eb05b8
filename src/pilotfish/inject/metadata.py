"""What a proxy says of its workload, in Istio's names."""

from __future__ import annotations

from pilotfish.config.kubernetes import Pod
from pilotfish.model import ObjectRef


def build_metadata(pod: Pod, workload: ObjectRef) -> dict[str, object]:
    api, plural = workload.kind.api_versions[0], workload.kind.plural
    return {
        "SERVICE_ACCOUNT": pod.spec.service_account_name or "default",
        "WORKLOAD_NAME": workload.name,
        "OWNER": f"kubernetes://apis/{api}/namespaces/{workload.namespace}/{plural}/{workload.name}",
        "ANNOTATIONS": dict(pod.metadata.annotations),
        "APP_CONTAINERS": ",".join(container.name for container in pod.spec.containers),
    }
