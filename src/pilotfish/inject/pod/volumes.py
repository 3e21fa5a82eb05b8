"""What the proxy has of files: its token, whom to trust, what its pod is called, and room to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.identity.tokens import AUDIENCE
from pilotfish.inject.own_annotations import USER_VOLUME, USER_VOLUME_MOUNT, read_objects
from pilotfish.inject.pod.installation import Document
from pilotfish.model.wellknown import (
    AUTHORITY_ROOTS,
    PODINFO_DIRECTORY,
    PROXY_DIRECTORY,
    ROOT_CONFIG_MAP,
    TOKEN_FILE,
)

_TOKEN_SECONDS: Final = 43200
"""As in Istio; the kubelet renews it when four fifths have passed."""


def proxy_mounts(annotations: Mapping[str, str]) -> list[Document]:
    return [
        {"name": "istiod-ca-cert", "mountPath": AUTHORITY_ROOTS.rpartition("/")[0]},
        {"name": "istio-data", "mountPath": "/var/lib/istio/data"},
        {"name": "istio-envoy", "mountPath": PROXY_DIRECTORY},
        {"name": "istio-token", "mountPath": TOKEN_FILE.rpartition("/")[0]},
        {"name": "istio-podinfo", "mountPath": PODINFO_DIRECTORY},
        *_stated(annotations, USER_VOLUME_MOUNT),
    ]


def build_volumes(annotations: Mapping[str, str]) -> list[Document]:
    token = {
        "path": TOKEN_FILE.rpartition("/")[2],
        "expirationSeconds": _TOKEN_SECONDS,
        "audience": AUDIENCE,
    }
    return [
        {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": {}},
        {
            "name": "istio-podinfo",
            "downwardAPI": {
                "items": [
                    {"path": each, "fieldRef": {"fieldPath": f"metadata.{each}"}} for each in ("labels", "annotations")
                ]
            },
        },
        {"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "istiod-ca-cert", "configMap": {"name": ROOT_CONFIG_MAP}},
        *_stated(annotations, USER_VOLUME),
    ]


def _stated(annotations: Mapping[str, str], name: str) -> list[Document]:
    """What the pod asks for itself, of whatever kind a cluster has."""
    return read_objects(annotations[name]) if name in annotations else []
