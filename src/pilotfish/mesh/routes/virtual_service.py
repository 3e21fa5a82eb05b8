"""A VirtualService's rules → routes in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pilotfish.config import istio
from pilotfish.mesh.routes.backends import Resolve
from pilotfish.mesh.routes.cors import lower_cors
from pilotfish.mesh.routes.delegates import Rule
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routes.faults import lower_fault
from pilotfish.mesh.routes.header_operations import lower_headers
from pilotfish.mesh.routes.http_actions import lower_action
from pilotfish.mesh.routes.matches import lower_match
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef
from pilotfish.model.route import HTTPRoute

_EVERYTHING: Final = istio.HTTPMatchRequest()


def lower_http(rules: Iterable[Rule], entrance: Entrance, source: Scope, resolve: Resolve) -> Iterator[HTTPRoute]:
    """The routes that hold at an entrance for a client, one for each alternative of a rule's matches.

    The last is the first that takes every request: what follows it is never reached.
    """
    for rule in rules:
        matches, route = tuple(_matches_at(rule, entrance, source)), rule.route
        if not matches:
            continue
        action, headers = lower_action(route, entrance, resolve), lower_headers(route.headers)
        fault, cors = lower_fault(route.fault), lower_cors(route.cors_policy)
        for field, written in matches:
            match, name = lower_match(written), ".".join(filter(None, (route.name, written.name)))
            ref = FieldRef(rule.ref, field)
            yield HTTPRoute(name, match, action, ref, headers, fault, cors, written.stat_prefix)
            if match.matches_everything:
                return


def _matches_at(rule: Rule, entrance: Entrance, source: Scope) -> Iterator[tuple[str, istio.HTTPMatchRequest]]:
    """(field, match); a rule without any matches everything."""
    if not rule.route.match:
        yield rule.field, _EVERYTHING
    for index, match in enumerate(rule.route.match):
        if entrance.is_open_to(match.port, match.gateways) and _is_for(match, source):
            yield rule.field if rule.is_merged else f"{rule.field}.match[{index}]", match


def _is_for(match: istio.HTTPMatchRequest, source: Scope) -> bool:
    """Where gateways are named, neither labels nor namespace count."""
    return bool(match.gateways) or source.is_source(match.source_namespace, match.source_labels)
