"""A traffic policy at each level where a DestinationRule takes one: it must do there what it does at every other.

A service of port 80 whose clients go by `destination` has the policy, whichever the level.
"""

from __future__ import annotations

from typing import Final

RULE, PORT, SUBSET, SUBSET_PORT = "rule", "port", "subset", "subset-port"
LEVELS: Final = (RULE, PORT, SUBSET, SUBSET_PORT)
NOT_OF_PORTS: Final = ("tunnel", "proxyProtocol", "retryBudget")
"""Fields that `portLevelSettings` lack."""


def stated(level: str, policy: str) -> str:
    """Of a DestinationRule's spec, beside its host. `policy` is the fields of a traffic policy, in flow style."""
    if level in (PORT, SUBSET_PORT):
        policy = f"portLevelSettings: [{{port: {{number: 80}}, {policy}}}]"
    policy = f"trafficPolicy: {{{policy}}}"
    return f"subsets: [{{name: own, {policy}}}]" if level in (SUBSET, SUBSET_PORT) else policy


def destination(level: str, host: str) -> str:
    """Of a VirtualService's route."""
    subset = ", subset: own" if level in (SUBSET, SUBSET_PORT) else ""
    return f"{{destination: {{host: {host}{subset}}}}}"


def subset_of(level: str) -> str:
    return "own" if level in (SUBSET, SUBSET_PORT) else ""
