"""What a pod's volumes hold, and where its containers see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from pilotfish.config.kubernetes import Container, HostPathVolume, Volume
from pilotfish.model.kinds import PERSISTENT_VOLUME_CLAIM
from pilotfish.model.wellknown import IDENTITY_PLACES, PROXY_CONTAINER
from pilotfish.node import claims
from pilotfish.node.environment import Missing
from pilotfish.node.identity import PodIdentity
from pilotfish.node.projected import Files, build_files
from pilotfish.node.store import Store


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """What the mesh writes, by path in the volume: of a ConfigMap, a Secret, the pod itself."""

    name: str
    files: Files


@dataclass(frozen=True, slots=True)
class EmptyDir:
    name: str


@dataclass(frozen=True, slots=True)
class HostPath:
    name: str
    path: str
    type: str
    otherwise: str = ""
    """What stands for it where the machine lacks it: a directory of the mesh's state. "": nothing does."""


@dataclass(frozen=True, slots=True)
class Mount:
    source: str
    target: str
    read_only: bool
    root: str = ""
    """The volume, where the source is a part of it that a link could lead out of."""
    otherwise: str = ""
    """What stands for the volume where the machine lacks it."""


@dataclass(frozen=True, slots=True)
class ClaimedDir:
    """A claim's directory, in the mesh's state; or a link there to the directory that a PersistentVolume names."""

    name: str
    path: str
    bound: HostPath | None = None


VolumeContent = VolumeFiles | EmptyDir | HostPath | ClaimedDir


def build(pod: PodIdentity, store: Store) -> tuple[tuple[VolumeContent, ...], tuple[Missing, ...]]:
    """(each volume's content in order, what is missing)."""
    contents: list[VolumeContent] = []
    missing: list[Missing] = []
    for i, volume in enumerate(pod.spec.volumes):
        content = _content(volume, pod, store)
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
        root = _root(volume, pod)
        source = f"{root}/{mount.sub_path}" if mount.sub_path else root
        read_only = mount.read_only or _is_fixed(volume)
        otherwise = _stand_in(volume, volume.host_path, pod) if volume.host_path else ""
        mounts.append(Mount(source, mount.mount_path, read_only, root if mount.sub_path else "", otherwise))
    return tuple(mounts), tuple(missing)


def build_proxy_mounts(pod: PodIdentity) -> tuple[Mount, ...]:
    """Those of a gateway's own container, and what the pod's annotations ask for."""
    own = [container for container in pod.spec.containers if container.name == PROXY_CONTAINER]
    asked = [Container(name=PROXY_CONTAINER, volume_mounts=pod.proxy_mounts)]
    return tuple(mount for container in (*own, *asked) for mount in build_mounts(pod, container)[0])


def build_identity_mounts(pod: PodIdentity) -> tuple[Mount, ...]:
    """Those by which another than the mesh gives the pod its certificate, whichever container has them."""
    mounts = (mount for container in pod.spec.containers for mount in build_mounts(pod, container)[0])
    found = (mount for mount in mounts if str(PurePosixPath(mount.target)) in IDENTITY_PLACES)
    return tuple({mount.target: mount for mount in found}.values())


def _root(volume: Volume, pod: PodIdentity) -> str:
    """Where it lies on the machine."""
    if volume.host_path:
        return volume.host_path.path
    if volume.persistent_volume_claim:
        return claims.path(pod, volume.persistent_volume_claim.claim_name)
    return directory(pod, volume.name)


def _stand_in(volume: Volume, host: HostPathVolume | claims.Bound, pod: PodIdentity) -> str:
    """Without a type, a cluster's node makes the directory; here nothing is made on the machine unasked. Whoever gives
    the pod its certificate is waited for."""
    mounts = (mount for container in pod.spec.containers for mount in container.volume_mounts)
    waited_for = any(mount.name == volume.name and mount.mount_path in IDENTITY_PLACES for mount in mounts)
    return "" if host.type or waited_for else claims.stand_in(pod, host.path)


def _is_fixed(volume: Volume) -> bool:
    """Nobody in the pod writes it."""
    claim = volume.persistent_volume_claim
    written_by_mesh = (volume.config_map, volume.secret, volume.projected, volume.downward_api)
    return any(written_by_mesh) or (claim is not None and claim.read_only)


def _content(volume: Volume, pod: PodIdentity, store: Store) -> VolumeContent | str:
    if volume.host_path:
        host = volume.host_path
        return HostPath(volume.name, host.path, host.type, _stand_in(volume, host, pod))
    if volume.persistent_volume_claim:
        return _claimed(volume, volume.persistent_volume_claim.claim_name, pod, store)
    files = build_files(volume, pod, store)
    if files is None:
        return EmptyDir(volume.name)
    return files if isinstance(files, str) else VolumeFiles(volume.name, files)


def _claimed(volume: Volume, claim: str, pod: PodIdentity, store: Store) -> ClaimedDir | str:
    ref = PERSISTENT_VOLUME_CLAIM.ref(pod.namespace, claim)
    if ref not in store.objects:
        return f'{ref.kind} "{claim}" not found'
    bound = claims.bind(store).get(ref)
    if isinstance(bound, str):
        return bound
    shown = HostPath(volume.name, bound.path, bound.type, _stand_in(volume, bound, pod)) if bound is not None else None
    return ClaimedDir(volume.name, claims.path(pod, claim), shown)
