"""What a pod's volumes hold, and where its containers see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pilotfish.config.kubernetes import ConfigMapVolume, Container, KeyToPath, SecretVolume, Volume
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import CONFIG_MAP, SECRET
from pilotfish.model.wellknown import IDENTITY_FILES, IDENTITY_SOCKET, PROXY_CONTAINER
from pilotfish.node.environment import Missing, object_data
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int

    def __repr__(self) -> str:
        return f"File({len(self.content)} bytes, {self.mode:o})"


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """A ConfigMap's or Secret's files, by path in the volume."""

    name: str
    files: Mapping[str, File]


@dataclass(frozen=True, slots=True)
class EmptyDir:
    name: str


@dataclass(frozen=True, slots=True)
class HostPath:
    name: str
    path: str
    type: str


@dataclass(frozen=True, slots=True)
class Mount:
    source: str
    target: str
    read_only: bool
    root: str = ""
    """The volume, where the source is a part of it that a link could lead out of."""


VolumeContent = VolumeFiles | EmptyDir | HostPath


def build(pod: PodIdentity, store: Store) -> tuple[tuple[VolumeContent, ...], tuple[Missing, ...]]:
    """(each volume's content in order, what is missing)."""
    contents: list[VolumeContent] = []
    missing: list[Missing] = []
    for i, volume in enumerate(pod.spec.volumes):
        content = _content(volume, pod.namespace, store)
        if isinstance(content, str):
            missing.append(Missing(f"spec.volumes[{i}]", content))
        else:
            contents.append(content)
    return tuple(contents), tuple(missing)


def directory(pod: PodIdentity, volume: str) -> str:
    return f"{pod.directory}/volumes/{volume}"


def build_mounts(pod: PodIdentity, container: Container) -> tuple[tuple[Mount, ...], tuple[Missing, ...]]:
    """(the container's mounts, mounts of volumes that the pod does not have)."""
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    mounts: list[Mount] = []
    missing: list[Missing] = []
    for i, mount in enumerate(container.volume_mounts):
        volume = volumes.get(mount.name)
        if volume is None:
            missing.append(Missing(f"volumeMounts[{i}].name", f'the pod has no volume "{mount.name}"'))
            continue
        root = volume.host_path.path if volume.host_path else directory(pod, volume.name)
        source = f"{root}/{mount.sub_path}" if mount.sub_path else root
        fixed = volume.config_map is not None or volume.secret is not None
        mounts.append(Mount(source, mount.mount_path, mount.read_only or fixed, root if mount.sub_path else ""))
    return tuple(mounts), tuple(missing)


def build_proxy_mounts(pod: PodIdentity) -> tuple[Mount, ...]:
    """Those of a gateway's own container; no other proxy has any."""
    own = (container for container in pod.spec.containers if container.name == PROXY_CONTAINER)
    return tuple(mount for container in own for mount in build_mounts(pod, container)[0])


def build_identity_mounts(pod: PodIdentity) -> tuple[Mount, ...]:
    """Those by which another than the mesh gives the pod its certificate, whichever container has them."""
    places = {str(PurePosixPath(IDENTITY_SOCKET).parent), *(directory for directory, _ in IDENTITY_FILES)}
    mounts = (mount for container in pod.spec.containers for mount in build_mounts(pod, container)[0])
    found = (mount for mount in mounts if str(PurePosixPath(mount.target)) in places)
    return tuple({mount.target: mount for mount in found}.values())


def _content(volume: Volume, namespace: str, store: Store) -> VolumeContent | str:
    if volume.config_map:
        return _files(CONFIG_MAP.ref(namespace, volume.config_map.name), volume.name, volume.config_map, store)
    if volume.secret:
        return _files(SECRET.ref(namespace, volume.secret.secret_name), volume.name, volume.secret, store)
    if volume.host_path:
        return HostPath(volume.name, volume.host_path.path, volume.host_path.type)
    return EmptyDir(volume.name)


def _files(ref: ObjectRef, volume: str, source: ConfigMapVolume | SecretVolume, store: Store) -> VolumeFiles | str:
    data = object_data(ref, store)
    if isinstance(data, str):
        return VolumeFiles(volume, {}) if source.optional else data
    items = source.items or tuple(KeyToPath(key=key, path=key) for key in sorted(data))
    files = {}
    for item in items:
        if item.key in data:
            mode = source.default_mode if item.mode is None else item.mode
            files[item.path] = File(data[item.key], mode)
        elif not source.optional:
            return f'{ref.kind} "{ref.name}" has no key "{item.key}"'
    return VolumeFiles(volume, files)
