"""What is done to headers, in neutral form.

The host is no header to Envoy: `Host` and `:authority` among those to be set are a rewrite of the host, as in Istio.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Headers
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import istio
from pilotfish.config.headers import is_host
from pilotfish.model.route import HeaderModifier, HeaderOperations


def lower_headers(source: istio.Headers) -> HeaderModifier:
    return HeaderModifier(_lower(source.request), _lower(source.response))


def host_of(source: istio.Headers) -> str:
    """The host that requests are to be sent for; "" leaves it as it is."""
    given = (*source.request.set.items(), *source.request.add.items())
    return next((value for name, value in given if is_host(name)), "")


def _lower(source: istio.HeaderOperations) -> HeaderOperations:
    remove = tuple(sorted({name.lower() for name in source.remove if not _is_internal(name)}))
    return HeaderOperations(_pairs(source.set), _pairs(source.add), remove)


def _pairs(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name.lower(), value) for name, value in values.items() if not _is_internal(name)))


def _is_internal(name: str) -> bool:
    return name.startswith(":") or is_host(name)
