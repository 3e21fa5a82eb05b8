"""What the installation's workloads have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.install.injection import image_name
from pilotfish.install.names import Object
from pilotfish.install.values import Autoscale, Placement, Values

CONFINED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def image(values: Values) -> Object:
    policy = {"imagePullPolicy": values.pull_policy} if values.pull_policy else {}
    return {"image": image_name(values), **policy}


def pull(values: Values) -> Object:
    return {"imagePullSecrets": [{"name": name} for name in values.pull_secrets]} if values.pull_secrets else {}


def placement(source: Placement) -> Object:
    stated = {
        "nodeSelector": source.node_selector,
        "tolerations": list(source.tolerations),
        "affinity": source.affinity,
        "priorityClassName": source.priority_class_name,
    }
    return {name: value for name, value in stated.items() if value}


def budget(name: str, namespace: str, labels: Mapping[str, str], selector: Mapping[str, str]) -> Object:
    """One at a time may be taken away. Also of a single one: else its node could never be emptied."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(selector)}},
    }


def autoscaler(name: str, namespace: str, labels: Mapping[str, str], autoscale: Autoscale) -> tuple[Object, ...]:
    """Of the Deployment of that name. Where the cluster measures nothing, it sees to the least number alone."""
    if not autoscale.enabled:
        return ()
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": autoscale.cpu}}
    return (
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
            "spec": {
                "minReplicas": autoscale.min,
                "maxReplicas": autoscale.max,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "metrics": [{"type": "Resource", "resource": metric}],
            },
        },
    )
