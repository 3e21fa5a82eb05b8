"""The init container that leads a pod's traffic through its proxy: `istio-init`, or, where the node's plugin does that,
`istio-validation`, which needs no privileges and looks whether it has been done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.capture import CaptureSpec
from pilotfish.capture.flags import render_flags
from pilotfish.inject.pod.installation import Document, Installation
from pilotfish.inject.pod.proxy import image_of, pull_policy, resources_of
from pilotfish.model.wellknown import INIT_CONTAINER, PROXY_GID, PROXY_UID, VALIDATION_CONTAINER

CAPTURE_CONTAINERS: Final = (INIT_CONTAINER, VALIDATION_CONTAINER)


def build_capture(capture: CaptureSpec, annotations: Mapping[str, str], installation: Installation) -> Document:
    by_node = installation.values.cni
    return {
        "name": VALIDATION_CONTAINER if by_node else INIT_CONTAINER,
        "image": image_of(annotations, installation),
        **pull_policy(installation),
        "args": ["capture", "check" if by_node else "apply", *render_flags(capture)],
        "resources": resources_of(annotations, installation),
        "securityContext": _unprivileged(installation) if by_node else _privileged(installation),
    }


def _privileged(installation: Installation) -> Document:
    privileged = installation.values.proxy.privileged
    return {
        "allowPrivilegeEscalation": privileged,
        "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        "privileged": privileged,
        "readOnlyRootFilesystem": False,
        "runAsGroup": 0,
        "runAsNonRoot": False,
        "runAsUser": 0,
        **_seccomp(installation),
    }


def _unprivileged(installation: Installation) -> Document:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": PROXY_GID,
        "runAsNonRoot": True,
        "runAsUser": PROXY_UID,
        **_seccomp(installation),
    }


def _seccomp(installation: Installation) -> Document:
    profile = installation.values.proxy.seccomp_profile
    return {"seccompProfile": profile} if profile else {}


def with_user(container: Document, user: object, group: object) -> Document:
    """As a pod's own container `istio-proxy` has them: whose traffic is the proxy's, and who looks whether it is
    captured. Traffic of root is never let pass by user, as apps are root, too."""
    arguments = list(container["args"])
    if isinstance(user, int) and user and (at := arguments.index("-u")):
        arguments[at + 1] = str(user)
    if isinstance(group, int) and group and (at := arguments.index("-g")):
        arguments[at + 1] = str(group)
    changed = {**container, "args": arguments}
    if container["name"] == VALIDATION_CONTAINER:
        own = {"runAsUser": user, "runAsGroup": group}
        stated = {name: value for name, value in own.items() if isinstance(value, int)}
        changed["securityContext"] = {**container["securityContext"], **stated}
    return changed
