"""A VirtualService → routes in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.config import istio
from pilotfish.mesh.backends import Resolve
from pilotfish.mesh.cors import lower_cors
from pilotfish.mesh.faults import lower_fault
from pilotfish.mesh.header_operations import lower_headers
from pilotfish.mesh.http_actions import lower_action
from pilotfish.mesh.matches import lower_match
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.route import HTTPRoute

_EVERYTHING: Final = istio.HTTPMatchRequest()


def lower_http(
    ref: ObjectRef, spec: istio.VirtualServiceSpec, port: int, source: Scope, resolve: Resolve
) -> Iterator[HTTPRoute]:
    """The routes that hold on a port for a client, one for each alternative of a rule's matches.

    The last is the first that takes every request: what follows it is never reached.
    """
    for index, rule in enumerate(spec.http):
        matches = tuple(_matches_on(rule, f"spec.http[{index}]", port, source))
        if not matches:
            continue
        action, headers = lower_action(rule, port, resolve), lower_headers(rule.headers)
        fault, cors = lower_fault(rule.fault), lower_cors(rule.cors_policy)
        for field, written in matches:
            match, name = lower_match(written), ".".join(filter(None, (rule.name, written.name)))
            yield HTTPRoute(name, match, action, FieldRef(ref, field), headers, fault, cors, written.stat_prefix)
            if match.matches_everything:
                return


def _matches_on(
    rule: istio.HTTPRoute, field: str, port: int, source: Scope
) -> Iterator[tuple[str, istio.HTTPMatchRequest]]:
    """(field, match); a rule without any matches everything."""
    if not rule.match:
        yield field, _EVERYTHING
    for index, match in enumerate(rule.match):
        if match.port in (0, port) and _is_for(match, source):
            yield f"{field}.match[{index}]", match


def _is_for(match: istio.HTTPMatchRequest, source: Scope) -> bool:
    """Where gateways are named, neither labels nor namespace count."""
    if match.gateways:
        return "mesh" in match.gateways
    return (
        match.source_namespace in ("", source.namespace) and match.source_labels.items() <= dict(source.labels).items()
    )
