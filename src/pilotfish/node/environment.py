"""A container's environment, in the order of Kubernetes: Services, envFrom, env; later ones win.

Source: https://kubernetes.io/docs/tasks/inject-data-application/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.config.kubernetes import ConfigMap, Container, EnvFromSource, EnvVar, KeySelector, Secret, Service
from pilotfish.config.values import decode_base64
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import CONFIG_MAP, SECRET, SERVICE
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps a container from starting, until the user's objects change."""

    field: str
    """The path in the container, such as `env[2].valueFrom.configMapKeyRef`."""
    message: str
    remedy: str = "it starts when that appears"


def build(
    pod: PodIdentity, container: Container, store: Store, cluster_ips: Mapping[str, str], base: Mapping[str, str]
) -> tuple[dict[str, str], tuple[Missing, ...]]:
    """(environment, what is missing). `cluster_ips`: Service name → address, of the pod's namespace; `base`: what every
    container has, such as PATH and HOME."""
    values = {**base, "HOSTNAME": pod.spec.hostname or pod.name, **service_variables(pod.namespace, store, cluster_ips)}
    missing: list[Missing] = []
    for i, source in enumerate(container.env_from):
        found = _from_object(source, pod.namespace, store)
        if isinstance(found, str):
            missing.append(Missing(f"envFrom[{i}]", found))
        else:
            values |= {source.prefix + key: value for key, value in found.items()}
    for i, variable in enumerate(container.env):
        value, lack = _value(variable, pod, store, values)
        if lack:
            missing.append(Missing(f"env[{i}].valueFrom", lack))
        elif value is not None:
            values[variable.name] = value
    return values, tuple(missing)


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` → its value, `$$(NAME)` → `$(NAME)`; a name that nobody set stays as it was written."""

    def put(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return values.get(found[1], found[0])

    return _REFERENCE.sub(put, text)


def service_variables(namespace: str, store: Store, cluster_ips: Mapping[str, str]) -> dict[str, str]:
    """`CALCULATOR_SERVICE_HOST` and its family, for the Services of the namespace that have a cluster IP.

    Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    values: dict[str, str] = {}
    for stored in store.of_kind(SERVICE):
        service = stored.manifest.resource
        if stored.ref.namespace != namespace or not isinstance(service, Service) or not service.spec.ports:
            continue
        address = cluster_ips.get(stored.ref.name)
        if not address:
            continue
        name = stored.ref.name.upper().replace("-", "_")
        first = service.spec.ports[0]
        values[f"{name}_SERVICE_HOST"] = address
        values[f"{name}_SERVICE_PORT"] = str(first.port)
        values[f"{name}_PORT"] = f"{first.protocol.lower()}://{address}:{first.port}"
        for port in service.spec.ports:
            if port.name:
                values[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
            prefix = f"{name}_PORT_{port.port}_{port.protocol}"
            values[prefix] = f"{port.protocol.lower()}://{address}:{port.port}"
            values |= {
                f"{prefix}_PROTO": port.protocol.lower(),
                f"{prefix}_PORT": str(port.port),
                f"{prefix}_ADDR": address,
            }
    return values


def field_value(path: str, pod: PodIdentity) -> str | None:
    """The downward API's `fieldRef`; None for a path that it does not have."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return (pod.labels if subscript[1] == "labels" else pod.annotations).get(subscript[2], "")
    values = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": pod.node_name,
        "spec.serviceAccountName": pod.service_account,
        "status.podIP": pod.addresses[0],
        "status.podIPs": ",".join(pod.addresses),
        "status.hostIP": pod.host_ip,
        "status.hostIPs": pod.host_ip,
    }
    return values.get(path)


def object_data(ref: ObjectRef, store: Store) -> dict[str, bytes] | str:
    """A ConfigMap's or Secret's keys, or the reason why there are none."""
    stored = store.objects.get(ref)
    resource = stored.manifest.resource if stored else None
    if isinstance(resource, ConfigMap):
        text, encoded = resource.data, resource.binary_data
    elif isinstance(resource, Secret):
        text, encoded = resource.string_data, resource.data
    else:
        return f'{ref.kind} "{ref.name}" not found'
    try:
        decoded = {key: decode_base64(value) for key, value in encoded.items()}
    except ValueError:
        return f'{ref.kind} "{ref.name}" has a value that is not base64'
    try:
        return {**decoded, **{key: value.encode() for key, value in text.items()}}
    except UnicodeEncodeError:
        return f'{ref.kind} "{ref.name}" has a value that is no Unicode text'


def _from_object(source: EnvFromSource, namespace: str, store: Store) -> dict[str, str] | str:
    kind, named = (CONFIG_MAP, source.config_map_ref) if source.config_map_ref else (SECRET, source.secret_ref)
    if named is None:
        return {}
    data = object_data(kind.ref(namespace, named.name), store)
    if isinstance(data, str):
        return {} if named.optional else data
    return {key: value.decode(errors="replace") for key, value in data.items()}


def _value(variable: EnvVar, pod: PodIdentity, store: Store, values: Mapping[str, str]) -> tuple[str | None, str]:
    """(the value, or None to leave the variable out; what is missing, or "")."""
    source = variable.value_from
    if source is None:
        return expand(variable.value, values), ""
    if source.config_map_key_ref:
        return _key(CONFIG_MAP, source.config_map_key_ref, pod.namespace, store)
    if source.secret_key_ref:
        return _key(SECRET, source.secret_key_ref, pod.namespace, store)
    if source.field_ref is None:
        return "", ""
    value = field_value(source.field_ref.field_path, pod)
    return (value, "") if value is not None else (None, f"there is no field {source.field_ref.field_path}")


def _key(kind: Kind, selector: KeySelector, namespace: str, store: Store) -> tuple[str | None, str]:
    data = object_data(kind.ref(namespace, selector.name), store)
    if isinstance(data, dict) and selector.key in data:
        return data[selector.key].decode(errors="replace"), ""
    if selector.optional:
        return None, ""
    return None, data if isinstance(data, str) else f'{kind} "{selector.name}" has no key "{selector.key}"'
