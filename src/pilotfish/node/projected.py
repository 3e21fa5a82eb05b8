"""Files that the mesh itself writes into volumes: of ConfigMaps, Secrets, the pod's own fields, and tokens.

Source: https://kubernetes.io/docs/concepts/storage/projected-volumes/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotfish.config.kubernetes import (
    ConfigMapProjection,
    ConfigMapVolume,
    DownwardFile,
    KeyToPath,
    Projection,
    SecretProjection,
    SecretVolume,
    TokenProjection,
    Volume,
)
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import CONFIG_MAP, SECRET
from pilotfish.node.environment import field_value, object_data
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store

API_SERVER: Final = "https://kubernetes.default.svc.cluster.local"
"""The audience of a token that names none: in a cluster, its API server."""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int

    def __repr__(self) -> str:
        return f"File({len(self.content)} bytes, {self.mode:o})"


@dataclass(frozen=True, slots=True)
class TokenFile:
    """Whoever writes it makes the token, as that holds for a time."""

    audience: str
    seconds: int
    mode: int


Files = Mapping[str, File | TokenFile]
"""By path in the volume."""


def build_files(volume: Volume, pod: PodIdentity, store: Store) -> Files | str | None:
    """None for a volume that the mesh writes nothing into; else what is in it, or what lacks."""
    if volume.config_map:
        return _of_object(_config_map(volume.config_map, pod), volume.config_map, volume.config_map.default_mode, store)
    if volume.secret:
        ref = SECRET.ref(pod.namespace, volume.secret.secret_name)
        return _of_object(ref, volume.secret, volume.secret.default_mode, store)
    if volume.downward_api:
        return dict(_of_pod(volume.downward_api.items, volume.downward_api.default_mode, pod))
    if volume.projected:
        return _of_sources(volume.projected.sources, volume.projected.default_mode, pod, store)
    return None


def _of_sources(sources: Sequence[Projection], mode: int, pod: PodIdentity, store: Store) -> Files | str:
    files: dict[str, File | TokenFile] = {}
    for source in sources:
        found = _of_source(source, mode, pod, store)
        if isinstance(found, str):
            return found
        files |= found
    return files


def _of_source(source: Projection, mode: int, pod: PodIdentity, store: Store) -> Files | str:
    if source.config_map:
        return _of_object(_config_map(source.config_map, pod), source.config_map, mode, store)
    if source.secret:
        return _of_object(SECRET.ref(pod.namespace, source.secret.name), source.secret, mode, store)
    if source.downward_api:
        return dict(_of_pod(source.downward_api.items, mode, pod))
    token = source.service_account_token
    return {token.path: _token(token, mode)} if token is not None else {}


def _token(token: TokenProjection, mode: int) -> TokenFile:
    return TokenFile(token.audience or API_SERVER, token.expiration_seconds, mode)


def _config_map(source: ConfigMapVolume | ConfigMapProjection, pod: PodIdentity) -> ObjectRef:
    return CONFIG_MAP.ref(pod.namespace, source.name)


def _of_object(
    ref: ObjectRef,
    source: ConfigMapVolume | SecretVolume | ConfigMapProjection | SecretProjection,
    default_mode: int,
    store: Store,
) -> Files | str:
    data = object_data(ref, store)
    if isinstance(data, str):
        return {} if source.optional else data
    items = source.items or tuple(KeyToPath(key=key, path=key) for key in sorted(data))
    files: dict[str, File | TokenFile] = {}
    for item in items:
        if item.key in data:
            files[item.path] = File(data[item.key], default_mode if item.mode is None else item.mode)
        elif not source.optional:
            return f'{ref.kind} "{ref.name}" has no key "{item.key}"'
    return files


def _of_pod(items: Sequence[DownwardFile], default_mode: int, pod: PodIdentity) -> Iterator[tuple[str, File]]:
    for item in items:
        value = _field(item.field_ref.field_path, pod) if item.field_ref is not None else ""
        yield item.path, File(value.encode(), default_mode if item.mode is None else item.mode)


def _field(path: str, pod: PodIdentity) -> str:
    """All labels, or annotations, are a line each. Source: FormatMap in Kubernetes' pkg/fieldpath/fieldpath.go"""
    whole = {"metadata.labels": pod.labels, "metadata.annotations": pod.annotations}.get(path)
    if whole is None:
        return field_value(path, pod) or ""
    return "\n".join(f"{key}={_quote(value)}" for key, value in sorted(whole.items()))


def _quote(text: str) -> str:
    """As Go's %q has it, for what stands in labels and annotations."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )
    return f'"{escaped}"'
