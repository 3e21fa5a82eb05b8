"""Who a sidecar is: from what its agent is told to the bootstrap's spec, and from Istio's environment to its metadata.

Source: https://istio.io/latest/docs/reference/commands/pilot-agent/ (POD_NAME, ISTIO_META_*, ...)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from pilotfish.config.mesh import ProxyConfig
from pilotfish.envoy.bootstrap import BootstrapSpec, Counted
from pilotfish.model import Proxy
from pilotfish.model.proxy import SELF_DISCOVERY

_META: Final = "ISTIO_META_"
_META_JSON: Final = "ISTIO_METAJSON_"


def build_bootstrap_spec(
    proxy: Proxy,
    discovery: tuple[str, int],
    config: ProxyConfig,
    metadata: Mapping[str, Any],
    version: str,
    ipv6: bool,
    memory_limit: int | None = None,
) -> BootstrapSpec:
    """`metadata` has Istio's names; those that the spec has a field for (OWNER, ANNOTATIONS, ...) fill it."""
    rest = node_metadata(config, metadata)
    known = {field: rest.pop(key) for key, field in _FIELDS.items() if key in rest}
    return BootstrapSpec(
        proxy=replace(proxy, discovers_itself=rest.pop(SELF_DISCOVERY, "") == "true"),
        discovery_address=discovery[0],
        discovery_port=discovery[1],
        version=version,
        proxy_config=msgspec.to_builtins(config, enc_hook=str),
        metadata=rest,
        counted=Counted(
            config.proxy_stats_matcher.inclusion_prefixes,
            config.proxy_stats_matcher.inclusion_suffixes,
            config.proxy_stats_matcher.inclusion_regexps,
        ),
        connection_limit=config.connection_settings.global_downstream_connection_limit,
        runtime=config.runtime_values,
        admin_port=config.proxy_admin_port,
        status_port=config.status_port,
        ipv6=ipv6,
        memory_limit=memory_limit,
        **known,
    )


_FIELDS: Final = {
    "ANNOTATIONS": "annotations",
    "SERVICE_ACCOUNT": "service_account",
    "WORKLOAD_NAME": "workload_name",
    "OWNER": "owner",
    "CLUSTER_ID": "cluster_id",
    "INTERCEPTION_MODE": "interception_mode",
}


def node_metadata(config: ProxyConfig, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """`proxyMetadata`, whose names may begin with `ISTIO_META_`, and over it what is said of the workload."""
    stated = {name.removeprefix(_META): text for name, text in config.proxy_metadata.items()}
    return {**stated, **metadata}


def in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether this is a container of a Kubernetes pod, each of which is told where its API server is."""
    return "KUBERNETES_SERVICE_HOST" in environment


def worker_limit(environment: Mapping[str, str]) -> int | None:
    """How many cores the container may use, from ISTIO_CPU_LIMIT; None where it does not say so."""
    text = environment.get("ISTIO_CPU_LIMIT", "")
    return int(text) if text.isdecimal() and int(text) else None


_AGENT_SHARE: Final = 48 * 2**20
"""Bytes that this process takes of its container's memory."""
_LEAST_HEAP: Final = 16 * 2**20


def envoy_share(limit: int | None) -> int | None:
    """Of a container's memory, in bytes, what is left for Envoy; None without a limit."""
    return None if limit is None else max(_LEAST_HEAP, limit - _AGENT_SHARE)


def metadata_from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """ISTIO_META_NAME=text, ISTIO_METAJSON_NAMES={...} whose members are each a piece of metadata, and SERVICE_ACCOUNT.

    Raises ValueError for an ISTIO_METAJSON_* that is no JSON object.
    """
    found: dict[str, Any] = {name: environment[name] for name in ("SERVICE_ACCOUNT",) if environment.get(name)}
    for key, value in sorted(environment.items()):
        if key.startswith(_META_JSON):
            found |= _json_object(key, value)
        elif key.startswith(_META):
            found[key.removeprefix(_META)] = value
    return found


def _json_object(key: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{key} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not a JSON object")
    return value
