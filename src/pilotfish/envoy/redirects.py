"""Answers that Envoy gives itself: redirects and direct responses.

Source: Envoy 1.40, RedirectAction in api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from typing import Final

from envoy.config.route.v3.route_components_pb2 import DirectResponseAction, RedirectAction

from pilotfish.model.route import DirectResponse, PathModifierType, Redirect

_CODES: Final = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}


def build_redirect(source: Redirect) -> RedirectAction:
    action = RedirectAction(host_redirect=source.host, response_code=_CODES[source.code])
    if source.scheme:
        action.scheme_redirect = source.scheme
    if source.port is not None:
        action.port_redirect = source.port
    if source.path is not None and source.path.type is PathModifierType.PREFIX:
        action.prefix_rewrite = source.path.value
    elif source.path is not None:
        action.path_redirect = source.path.value
    return action


def build_direct_response(source: DirectResponse) -> DirectResponseAction:
    action = DirectResponseAction(status=source.status)
    if source.body:
        action.body.inline_bytes = source.body
    return action
