"""What becomes of requests, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pilotfish.config import istio
from pilotfish.config.values import decode_base64
from pilotfish.mesh.routes.backends import Resolve, weigh
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routes.faults import share_of
from pilotfish.mesh.routes.header_operations import host_of, lower_headers
from pilotfish.mesh.routes.retries import lower_retries
from pilotfish.model import Duration
from pilotfish.model.route import (
    MILLION,
    Action,
    DirectResponse,
    Forward,
    Mirror,
    PathModifier,
    PathModifierType,
    Redirect,
    Rewrite,
    Timeouts,
    WeightedBackend,
)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MATCHED_PREFIX: Final = "%PREFIX()%"
"""At the beginning of a redirect's `uri`: what is behind it is put in the place of the prefix that matched."""


def lower_action(rule: istio.HTTPRoute, entrance: Entrance, resolve: Resolve) -> Action:
    """`entrance` is where the requests come in."""
    if rule.redirect is not None:
        return _redirect(rule.redirect, entrance)
    if rule.direct_response is not None:
        return _direct_response(rule.direct_response)
    return _forward(rule, resolve)


def _forward(rule: istio.HTTPRoute, resolve: Resolve) -> Forward:
    rewrite = _rewrite(rule)
    retries = lower_retries(rule.retries)
    each = rule.retries.per_try_timeout if rule.retries is not None and retries is not None else None
    return Forward(
        backends=tuple(_backends(rule, rewrite, resolve)),
        timeouts=Timeouts(_limit(rule.timeout), _limit(each)),
        retries=retries,
        rewrite=rewrite,
        mirrors=tuple(_mirrors(rule, resolve)),
    )


def _backends(rule: istio.HTTPRoute, rewrite: Rewrite, resolve: Resolve) -> Iterator[WeightedBackend]:
    """The route's host comes before a destination's."""
    for weighted, source in zip(weigh(rule.route, resolve), rule.route, strict=True):
        host = "" if rewrite.host else host_of(source.headers)
        yield replace(weighted, headers=lower_headers(source.headers), host=host)


def _rewrite(rule: istio.HTTPRoute) -> Rewrite:
    """A host that is set as a header is one to rewrite to, too."""
    source = rule.rewrite or istio.HTTPRewrite()
    return Rewrite(_new_path(source), source.authority or host_of(rule.headers))


def _new_path(source: istio.HTTPRewrite) -> PathModifier | None:
    if source.uri_regex_rewrite is not None:
        regex = source.uri_regex_rewrite
        return PathModifier(PathModifierType.REGEX, regex.rewrite, regex.match)
    return PathModifier(PathModifierType.PREFIX, source.uri) if source.uri else None


def _mirrors(rule: istio.HTTPRoute, resolve: Resolve) -> Iterator[Mirror]:
    """None that gets no share."""
    otherwise = MILLION if rule.mirror_percent is None else rule.mirror_percent * MILLION // 100
    one = [(rule.mirror, share_of(rule.mirror_percentage, otherwise))] if rule.mirror is not None else []
    more = [(mirror.destination, share_of(mirror.percentage, MILLION)) for mirror in rule.mirrors]
    yield from (Mirror(resolve(destination), share) for destination, share in (*one, *more) if share)


def _redirect(source: istio.HTTPRedirect, entrance: Entrance) -> Redirect:
    return Redirect(
        code=source.redirect_code or 301,
        scheme=source.scheme,
        host=source.authority,
        port=_new_port(source, entrance),
        path=_redirected_path(source),
    )


def _new_port(source: istio.HTTPRedirect, entrance: Entrance) -> int | None:
    """A scheme's own port is not written out."""
    number = entrance.port if source.derive_port == "FROM_REQUEST_PORT" else source.port
    return None if number == _DEFAULT_PORTS[source.scheme or entrance.scheme] else number


def _redirected_path(source: istio.HTTPRedirect) -> PathModifier | None:
    if source.prefix_rewrite:
        return PathModifier(PathModifierType.PREFIX, source.prefix_rewrite)
    if source.uri.startswith(_MATCHED_PREFIX):
        return PathModifier(PathModifierType.PREFIX, source.uri.removeprefix(_MATCHED_PREFIX))
    return PathModifier(PathModifierType.FULL, source.uri) if source.uri else None


def _direct_response(source: istio.HTTPDirectResponse) -> DirectResponse:
    body = source.body or istio.HTTPBody()
    return DirectResponse(source.status, decode_base64(body.encoded) if body.encoded else (body.string or "").encode())


def _limit(timeout: Duration | None) -> Duration | None:
    """Zero, too, is no limit."""
    return timeout if timeout is not None and timeout.nanos else None
