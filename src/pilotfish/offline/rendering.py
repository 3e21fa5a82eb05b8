"""What a proxy is sent, for people and programs."""

from __future__ import annotations

from typing import Any, Final

from pilotfish.envoy.printing import to_json
from pilotfish.envoy.types import SERVED, XdsType
from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.pod_view import narrow

SHOWN: Final[dict[str, XdsType]] = {f"{row.noun}s": row for row in SERVED}
"""By what `--type` calls them: listeners, routes, clusters, endpoints, secrets."""
ALL: Final = "all"


def render(resources: ResourceSet, chosen: str = ALL, netns: str = "") -> dict[str, list[dict[str, Any]]]:
    """The chosen types' resources, each in Envoy's own form, by name. Secrets keep what they hold.

    `netns`: of a machine's, as much as the pod uses whose network namespace has this file.
    """
    kinds = SHOWN if chosen == ALL else {chosen: SHOWN[chosen]}
    asked = SHOWN if netns else kinds
    found = {
        row.url: [to_json(each) for each in sorted(resources.resources(row.url), key=lambda r: r.name)]
        for row in asked.values()
    }
    found = narrow(found, netns) if netns else found
    return {plural: found[row.url] for plural, row in kinds.items()}
