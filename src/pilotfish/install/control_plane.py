"""Discovery: its Deployment, how it is reached, how many there are, and what may be taken away at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pilotfish.config.injection import REVISION
from pilotfish.install.names import APP, VALUES, Names, Object
from pilotfish.install.pods import CONFINED, autoscaler, budget, image, placement, pull
from pilotfish.install.values import Values, chosen
from pilotfish.model.wellknown import (
    MONITORING_PORT,
    MONITORING_PORT_NAME,
    PROXY_GID,
    PROXY_UID,
    SECURE_XDS_PORT,
    WEBHOOK_PORT,
    XDS_PORT,
)

_GRACE: Final = 30
"""Seconds in which streams move to other replicas."""


def workload(values: Values, names: Names, labels: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.own,
            "namespace": names.namespace,
            "labels": {**labels, "app": APP},
            "annotations": {VALUES: msgspec.json.encode(chosen(values)).decode()},
        },
        "spec": {
            "replicas": values.discovery.autoscale.min,
            "selector": {"matchLabels": selector(names)},
            # One more before one less: there are always as many as asked for that answer.
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {**labels, **selector(names), "sidecar.istio.io/inject": "false"},
                    "annotations": {
                        "prometheus.io/port": str(MONITORING_PORT),
                        "prometheus.io/scrape": "true",
                        **values.discovery.pod_annotations,
                    },
                },
                "spec": _pod(values, names),
            },
        },
    }


def selector(names: Names) -> dict[str, str]:
    return {"app": APP, REVISION: names.label}


def service(values: Values, names: Names, labels: Mapping[str, str]) -> Object:
    ports = [
        *([_port("grpc-xds", XDS_PORT)] if values.discovery.plaintext else []),
        _port("https-dns", SECURE_XDS_PORT),
        _port(MONITORING_PORT_NAME, MONITORING_PORT),
        {"name": "https-webhook", "port": 443, "targetPort": WEBHOOK_PORT, "protocol": "TCP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": names.service, "namespace": names.namespace, "labels": {**labels, "app": APP}},
        "spec": {"selector": selector(names), "ports": ports},
    }


def disruption(names: Names, labels: Mapping[str, str]) -> Object:
    return budget(names.own, names.namespace, labels, selector(names))


def scaling(values: Values, names: Names, labels: Mapping[str, str]) -> tuple[Object, ...]:
    return autoscaler(names.own, names.namespace, labels, values.discovery.autoscale)


def _port(name: str, number: int) -> Object:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}


def _pod(values: Values, names: Names) -> Object:
    spread = {
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(names)},
        "matchLabelKeys": ["pod-template-hash"],
    }
    return {
        "serviceAccountName": names.service,
        **pull(values),
        **placement(values.discovery),
        "topologySpreadConstraints": [
            {"topologyKey": key, **spread} for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": PROXY_UID,
            "runAsGroup": PROXY_GID,
            "fsGroup": PROXY_GID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": _GRACE,
        "containers": [_container(values, names)],
        "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
    }


def _container(values: Values, names: Names) -> Object:
    ready = {"httpGet": {"path": "/ready", "port": MONITORING_PORT}}
    return {
        "name": "discovery",
        **image(values),
        "args": _arguments(values, names),
        "env": [
            _from_field("POD_NAME", "metadata.name"),
            _from_field("POD_NAMESPACE", "metadata.namespace"),
        ],
        "ports": [
            *([_container_port("grpc-xds", XDS_PORT)] if values.discovery.plaintext else []),
            _container_port("https-dns", SECURE_XDS_PORT),
            _container_port(MONITORING_PORT_NAME, MONITORING_PORT),
            _container_port("https-webhook", WEBHOOK_PORT),
        ],
        # Ready is who has read all that there is, which the first time may take a while in a large cluster.
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": {**ready, "periodSeconds": 3, "timeoutSeconds": 5},
        "livenessProbe": {
            "tcpSocket": {"port": MONITORING_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": _amounts(values),
        "securityContext": CONFINED,
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }


def _amounts(values: Values) -> Object:
    resources = values.discovery.resources
    return {"requests": resources.requests, "limits": resources.limits}


def _arguments(values: Values, names: Names) -> list[str]:
    plaintext = ["--allow-plaintext", f"--xds-address=:{XDS_PORT}"] if values.discovery.plaintext else []
    return [
        "discovery",
        "--cluster",
        *([f"--revision={names.revision}"] if names.revision else []),
        f"--secure-address=:{SECURE_XDS_PORT}",
        f"--webhook-address=:{WEBHOOK_PORT}",
        f"--monitoring-address=:{MONITORING_PORT}",
        *plaintext,
        *values.discovery.args,
    ]


def _from_field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _container_port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}
