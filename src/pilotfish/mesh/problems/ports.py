"""Ports that an HTTP route or a DestinationRule names, and no service has."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.problems.connections import routed_services
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.visibility import seen_service
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.service import ServicePort


@query
def http_port_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.VirtualService)
    if found is None or not found.spec.http or found.spec.gateways not in ((), ("mesh",)):
        return ()
    return tuple(_unused(db, ref, found.spec))


@query
def rule_port_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    rule = resource(db, ref, istio.DestinationRule)
    host = resolve(rule.spec.host, ref.namespace) if rule is not None else ""
    found = seen_service(db, Scope(ref.namespace), host)
    if rule is None or found is None:
        return ()
    known = {port.number for port in found.ports}
    numbers = ", ".join(str(port.number) for port in found.ports)
    text = f"{found.host} has no such port, so these settings have no effect; write one of its ports ({numbers})"
    return tuple(
        warning(db, ref, field, "UnknownPort", text) for field, port in _settings(rule.spec) if port not in known
    )


def _settings(spec: istio.DestinationRuleSpec) -> Iterator[tuple[str, int]]:
    policies = [("spec.trafficPolicy", spec.traffic_policy)]
    policies += [(f"spec.subsets[{i}].trafficPolicy", subset.traffic_policy) for i, subset in enumerate(spec.subsets)]
    for field, policy in policies:
        for index, settings in enumerate(policy.port_level_settings if policy is not None else ()):
            yield f"{field}.portLevelSettings[{index}].port.number", settings.port.number


def _unused(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[Problem]:
    """Rules for which no port of a service of these hosts has requests. A host that only this object knows has any."""
    services = routed_services(db, ref, spec)
    if not services or (len(services) < len(set(spec.hosts)) and not any(host.startswith("*") for host in spec.hosts)):
        return
    ports = {port.number for found in services for port in found.ports if _has_requests(port)}
    if not ports and any(found.ports for found in services):
        text = (
            "every port of its hosts declares TCP or TLS, so these routes have no effect; write them under spec.tcp or "
            "spec.tls, or begin the name of the Service's port with http-"
        )
        yield warning(db, ref, "spec.http", "UnusedRoute", text)
        return
    for index, rule in enumerate(spec.http):
        asked = [match.port for match in rule.match]
        if asked and not any(port == 0 or port in ports for port in asked):
            listed = ", ".join(map(str, sorted(ports)))
            text = (
                f"no host of it has such a port for HTTP, so the rule has no effect; write one that is called "
                f"({listed}), which is the Service's and not the pod's"
            )
            yield warning(db, ref, f"spec.http[{index}].match", "UnusedRoute", text)


def _has_requests(port: ServicePort) -> bool:
    return port.protocol.is_http or port.protocol.is_sniffed
