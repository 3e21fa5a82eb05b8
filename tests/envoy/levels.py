"""A traffic policy at each level where a DestinationRule takes one: it must do there what it does at every other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

RULE, PORT, SUBSET, SUBSET_PORT = "rule", "port", "subset", "subset-port"
LEVELS: Final = (RULE, PORT, SUBSET, SUBSET_PORT)
NOT_OF_PORTS: Final = ("tunnel", "proxyProtocol", "retryBudget")
"""Fields that `portLevelSettings` lack."""


_SERVICE: Final = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{host}]
  addresses: [{address}]
  resolution: STATIC
  ports: [{{number: 80, name: port, protocol: {protocol}, targetPort: 8080}}]
  endpoints: [{endpoints}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {host}, {rule}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: vm}}
spec: {{hosts: [{host}], {routes}}}
---
"""


def service(
    level: str,
    name: str,
    address: str,
    policy: str,
    endpoints: Iterable[str],
    *,
    protocol: str = "HTTP",
    retries: str = "attempts: 0",
) -> str:
    """NAME.example.com, at port 80 of an address, with the fields of a traffic policy at a level.

    Policy, endpoints and retries are in YAML's flow style; an endpoint's port is called `port`, and is 8080.
    """
    host = f"{name}.example.com"
    subset = f", subset: {subset_of(level)}" if subset_of(level) else ""
    route = f"route: [{{destination: {{host: {host}{subset}}}}}]"
    return _SERVICE.format(
        name=name,
        host=host,
        address=address,
        protocol=protocol,
        endpoints=", ".join(f"{{{each}}}" for each in endpoints),
        rule=_stated(level, policy),
        routes=f"tcp: [{{{route}}}]" if protocol == "TCP" else f"http: [{{retries: {{{retries}}}, {route}}}]",
    )


def subset_of(level: str) -> str:
    """The subset that has the policy."""
    return "own" if level in (SUBSET, SUBSET_PORT) else ""


def _stated(level: str, policy: str) -> str:
    if level in (PORT, SUBSET_PORT):
        policy = f"portLevelSettings: [{{port: {{number: 80}}, {policy}}}]"
    policy = f"trafficPolicy: {{{policy}}}"
    return f"subsets: [{{name: {subset_of(level)}, {policy}}}]" if subset_of(level) else policy
