"""Where a container without an image and a workingDir begins: in the folder of its manifest, unless one of its mounts
hides that."""

from __future__ import annotations

from pathlib import PurePosixPath

from pilotfish.config.kubernetes import Container
from pilotfish.model import Problem, Severity, Source
from pilotfish.node import volumes
from pilotfish.node.identity import PodIdentity
from pilotfish.node.images import names_image

_ROOT = "/"


def find_working_directory(pod: PodIdentity, container: Container) -> str:
    return pod.folder if _find_hiding(pod, container) is None else _ROOT


def describe_hidden(pod: PodIdentity) -> tuple[Problem, ...]:
    """What the user is told, once of all pods of one template."""
    prefix = "spec.template.spec" if pod.owner else "spec"
    lists = (("initContainers", pod.spec.init_containers), ("containers", pod.spec.containers))
    found = []
    for name, containers in lists:
        for index, container in enumerate(containers):
            told = container.working_dir or names_image(pod, container)
            at = None if told else _find_hiding(pod, container)
            if at is not None:
                path = container.volume_mounts[at].mount_path
                message = (
                    f"the mount at {path} hides the manifest's folder {pod.folder}, where a container begins "
                    f"without a workingDir, so it begins in {_ROOT}; write a workingDir, or mount it elsewhere"
                )
                field = f"{prefix}.{name}[{index}].volumeMounts[{at}].mountPath"
                source = Source.parse(pod.source)
                found.append(Problem(pod.owner or pod.ref, field, "HiddenFolder", message, Severity.WARNING, source))
    return tuple(found)


def _find_hiding(pod: PodIdentity, container: Container) -> int | None:
    """Which of its mounts lies over the folder, and shows another one there."""
    folder = PurePosixPath(pod.folder)
    mounts, _ = volumes.build_mounts(pod, container)
    sources = {mount.target: mount.source for mount in mounts}
    for index, mount in enumerate(container.volume_mounts):
        target = PurePosixPath(mount.mount_path)
        if mount.mount_path in sources and folder.is_relative_to(target):
            shown = PurePosixPath(sources[mount.mount_path], folder.relative_to(target))
            if shown != folder:
                return index
    return None
