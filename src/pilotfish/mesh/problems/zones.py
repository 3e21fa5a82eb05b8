"""Problems of rules that compare zones, which only proxies can do that know their own workload's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.config import istio, kubernetes
from pilotfish.config.checks.pod import PROXY_CONFIG_ANNOTATION
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import mesh_config, refs, resource
from pilotfish.mesh.problems.routing import warning
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import POD, PROXY_CONFIG
from pilotfish.model.proxy import SELF_DISCOVERY

_ASKS: Final = f"ISTIO_META_{SELF_DISCOVERY}"
_NOBODY: Final = (
    "no pod's proxy is told to know its own workload, so that zones do not count: all endpoints of a client's region "
    f'are asked alike; write {_ASKS}: "true" into meshConfig.defaultConfig.proxyMetadata, for pods that start after it'
)


@query
def zone_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    rule = resource(db, ref, istio.DestinationRule)
    fields = tuple(_asking(rule.spec)) if rule is not None else ()
    if not fields or _some_compare(db):
        return ()
    return tuple(warning(db, ref, field, "NoZones", _NOBODY) for field in fields)


@query(index=True)
def _some_compare(db: Reads) -> bool:
    """Whether some proxy may have been told to; which, only itself knows."""
    if _asks(mesh_config(db).default_config.proxy_metadata):
        return True
    configs = (resource(db, ref, istio.ProxyConfig) for ref in refs(db, PROXY_CONFIG))
    if any(each is not None and _asks(each.spec.environment_variables) for each in configs):
        return True
    pods = (resource(db, ref, kubernetes.Pod) for ref in refs(db, POD))
    return any(
        each is not None and _ASKS in each.metadata.annotations.get(PROXY_CONFIG_ANNOTATION, "") for each in pods
    )


def _asks(environment: dict[str, str]) -> bool:
    return environment.get(_ASKS) == "true"


def _asking(spec: istio.DestinationRuleSpec) -> Iterator[str]:
    policies = [("spec.trafficPolicy", spec.traffic_policy)]
    policies += [(f"spec.subsets[{i}].trafficPolicy", subset.traffic_policy) for i, subset in enumerate(spec.subsets)]
    for field, policy in policies:
        if policy is None:
            continue
        parts = [(field, policy.load_balancer)]
        parts += [
            (f"{field}.portLevelSettings[{i}]", p.load_balancer) for i, p in enumerate(policy.port_level_settings)
        ]
        for where, balancer in parts:
            asked = balancer.zone_aware_lb_setting if balancer is not None else None
            if asked is not None and asked.enabled is not False:
                yield f"{where}.loadBalancer.zoneAwareLbSetting"
