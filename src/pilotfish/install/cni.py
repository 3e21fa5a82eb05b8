"""The DaemonSet of the node's plugin, which sets capture up in a pod's network namespace before the pod runs.

It is on the node's own network, as no pod has another before it answers.

Source: https://istio.io/latest/docs/setup/additional-setup/cni/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.install.names import CNI, Names, Object
from pilotfish.install.pods import image, placement, pull
from pilotfish.install.values import Values
from pilotfish.model.wellknown import CNI_PORT

_SOCKETS: Final = "/var/run/pilotfish-cni"
"""Where the plugin asks the DaemonSet's process."""
_NETWORK_NAMESPACES: Final = "/var/run/netns"
_POWERS: Final = ("NET_ADMIN", "NET_RAW", "SYS_ADMIN")
"""To enter a pod's network namespace, and write rules there."""


def daemon(values: Values, names: Names, labels: Mapping[str, str]) -> Object:
    selector = {"k8s-app": CNI}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": CNI, "namespace": names.namespace, "labels": {**labels, **selector}},
        "spec": {
            "selector": {"matchLabels": selector},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {**labels, **selector, "sidecar.istio.io/inject": "false"}},
                "spec": _pod(values),
            },
        },
    }


def _pod(values: Values) -> Object:
    volumes = {
        "bin": (values.cni.bin_dir, "/host/opt/cni/bin", False),
        "conf": (values.cni.conf_dir, "/host/etc/cni/net.d", False),
        "sockets": (_SOCKETS, _SOCKETS, False),
        "netns": (_NETWORK_NAMESPACES, _NETWORK_NAMESPACES, True),
    }
    return {
        "serviceAccountName": CNI,
        "hostNetwork": True,
        **pull(values),
        **placement(values.cni),
        "nodeSelector": {"kubernetes.io/os": "linux", **values.cni.node_selector},
        "terminationGracePeriodSeconds": 10,
        "containers": [
            {
                "name": "install-cni",
                **image(values),
                "args": ["cni", "install"],
                "env": [
                    {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "EXCLUDE_NAMESPACES", "value": ",".join(values.cni.exclude_namespaces)},
                    {"name": "REPAIR", "value": values.cni.repair},
                ],
                "readinessProbe": {"httpGet": _of_node("/readyz"), "periodSeconds": 5},
                "livenessProbe": {"httpGet": _of_node("/healthz"), "periodSeconds": 10, "failureThreshold": 6},
                "resources": {"requests": values.cni.resources.requests, "limits": values.cni.resources.limits},
                "securityContext": {
                    "runAsUser": 0,
                    "runAsGroup": 0,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"], "add": list(_POWERS)},
                },
                "volumeMounts": [
                    {
                        "name": name,
                        "mountPath": inside,
                        **({"mountPropagation": "HostToContainer"} if follows else {}),
                    }
                    for name, (_, inside, follows) in volumes.items()
                ],
            }
        ],
        "volumes": [
            {"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}
            for name, (path, _, _) in volumes.items()
        ],
    }


def _of_node(path: str) -> Object:
    return {"host": "127.0.0.1", "path": path, "port": CNI_PORT}
