"""An ingress gateway: a pod that is injected whole, so that it follows the control plane's revision.

Source: https://istio.io/latest/docs/setup/additional-setup/gateway/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.config.injection import REVISION
from pilotfish.install.names import Names, Object
from pilotfish.install.pods import autoscaler, budget, placement, pull
from pilotfish.install.values import Values
from pilotfish.model.wellknown import PROXY_CONTAINER, PROXY_GID, PROXY_UID

NAME: Final = "istio-ingressgateway"


def gateway(values: Values, names: Names, labels: Mapping[str, str]) -> tuple[Object, ...]:
    source = values.gateway
    head = {"name": NAME, "namespace": names.namespace}
    selector = {"app": NAME, "istio": "ingressgateway"}
    named = {**labels, **selector}
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**head, "labels": named}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                **head,
                "labels": named,
                **({"annotations": source.annotations} if source.annotations else {}),
            },
            "spec": {"type": source.type, "selector": selector, "ports": list(source.ports)},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**head, "labels": named},
            "spec": {
                "replicas": source.autoscale.min,
                "selector": {"matchLabels": selector},
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": _template(values, names, named),
            },
        },
        budget(NAME, names.namespace, named, selector),
        *autoscaler(NAME, names.namespace, named, source.autoscale),
    )


def _template(values: Values, names: Names, labels: Mapping[str, str]) -> Object:
    """The injector fills in the container, by its name. With a revision, the label says whose."""
    source = values.gateway
    asked = {"sidecar.istio.io/inject": "true"}
    labels = {name: value for name, value in labels.items() if name != REVISION}
    asked |= {REVISION: names.revision} if names.revision else {}
    amounts = {"requests": source.resources.requests, "limits": source.resources.limits}
    return {
        "metadata": {"labels": {**labels, **asked}, "annotations": {"inject.istio.io/templates": "gateway"}},
        "spec": {
            "serviceAccountName": NAME,
            **pull(values),
            **placement(source),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": PROXY_UID,
                "runAsGroup": PROXY_GID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{"name": PROXY_CONTAINER, "image": "auto", "resources": amounts}],
        },
    }
