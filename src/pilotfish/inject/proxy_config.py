"""A pod's proxy configuration, of all that may say something of it; what comes later goes before what came earlier:

    defaultConfig, ProxyConfigs of the root namespace, of the pod's own, its annotation, ProxyConfigs that select it

Of several in one place each says what older ones leave open. Source: Istio's EffectiveProxyConfig,
https://github.com/istio/istio/blob/master/pilot/pkg/model/proxy_config.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pilotfish.config import istio
from pilotfish.config.injection import COUNTED
from pilotfish.config.kubernetes import Pod
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.config.meshconfig import proxy_config
from pilotfish.model import ObjectRef, Problem, Source

ANNOTATION = "proxy.istio.io/config"


def effective_proxy_config(
    pod: Pod, mesh: MeshConfig, objects: Sequence[istio.ProxyConfig], workload: ObjectRef, source: Source | None
) -> tuple[ProxyConfig, tuple[Problem, ...]]:
    """`objects`: all ProxyConfigs of the mesh, the oldest first. The Problems are those of the annotation."""
    namespace, root = pod.metadata.namespace, mesh.root_namespace
    config = mesh.default_config
    for place in dict.fromkeys((root, namespace)):
        config = _laid_over(
            config, (each for each in objects if each.metadata.namespace == place and not _selector(each))
        )
    problems: tuple[Problem, ...] = ()
    if ANNOTATION in pod.metadata.annotations:
        text = pod.metadata.annotations[ANNOTATION]
        config, problems = proxy_config(text, config, workload, source or Source("-", 1))
    labels = pod.metadata.labels.items()
    own = (each for each in objects if each.metadata.namespace == namespace and (s := _selector(each)) and s <= labels)
    return _laid_over(config, own), problems


def by_age(resources: Iterable[object]) -> tuple[istio.ProxyConfig, ...]:
    """The ProxyConfigs among them, the oldest first."""
    found = (each for each in resources if isinstance(each, istio.ProxyConfig))
    return tuple(sorted(found, key=_age))


def _age(each: istio.ProxyConfig) -> tuple[str, str, str]:
    metadata = each.metadata
    return metadata.creation_timestamp or "", metadata.namespace, metadata.name


def with_counted(annotations: Mapping[str, str], config: ProxyConfig) -> ProxyConfig:
    stated = {field: tuple(annotations[name].split(",")) for name, field in COUNTED.items() if annotations.get(name)}
    matcher = msgspec.structs.replace(config.proxy_stats_matcher, **stated)
    return msgspec.structs.replace(config, proxy_stats_matcher=matcher) if stated else config


def _selector(each: istio.ProxyConfig) -> set[tuple[str, str]]:
    return set(each.spec.selector.match_labels.items()) if each.spec.selector is not None else set()


def _laid_over(config: ProxyConfig, objects: Iterable[istio.ProxyConfig]) -> ProxyConfig:
    for each in reversed(tuple(objects)):
        spec = each.spec
        config = msgspec.structs.replace(
            config,
            concurrency=config.concurrency if spec.concurrency is None else spec.concurrency,
            proxy_metadata={**config.proxy_metadata, **spec.environment_variables},
        )
    return config
