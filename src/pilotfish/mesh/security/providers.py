"""Providers of the meshConfig → whom to ask for authorization, as a client's scope sees them."""

from __future__ import annotations

from typing import Final

from pilotfish.config.checks.extension_provider import find_faults, parse_status
from pilotfish.config.mesh import ExtAuthzGrpc, ExtAuthzHttp, RequestBodyCheck
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import mesh_config
from pilotfish.mesh.registry.services import claimants, home_in, service_at
from pilotfish.mesh.registry.visibility import home, ports_seen
from pilotfish.mesh.scope import Scope
from pilotfish.model import Duration
from pilotfish.model.authorization import BodyCheck, HttpCheck, Provider, Unusable
from pilotfish.model.service import Resolution

_NO_END: Final = Duration(600 * 10**9)
"""Ten minutes, as in Istio: a DestinationRule's timeout is the one that counts."""


@query
def provider(db: Reads, scope: Scope, name: str) -> Provider | Unusable:
    """`scope`: the widest that sees the same hosts (`visibility.visible`)."""
    listed = mesh_config(db).extension_providers
    found = next((each for each in listed if each.name == name), None)
    if found is None:
        return Unusable(name, f"meshConfig.extensionProviders has no {name!r}")
    fault = next(find_faults(found, listed), None)
    if fault is not None:
        return Unusable(name, fault[1])
    asked = found.envoy_ext_authz_grpc or found.envoy_ext_authz_http
    if asked is None:
        return Unusable(name, f"the provider {name!r} is none for authorization")
    host = asked.service.rpartition("/")[2]
    if reason := _find_reason(db, scope, asked):
        return Unusable(name, reason)
    return Provider(
        name=name,
        host=host,
        port=asked.port,
        timeout=asked.timeout or _NO_END,
        fail_open=asked.fail_open,
        status_on_error=parse_status(asked.status_on_error) or 0,
        body=_body(asked.include_request_body_in_check),
        clear_route_cache=asked.clear_route_cache,
        http=_http(asked) if isinstance(asked, ExtAuthzHttp) else None,
    )


def _find_reason(db: Reads, scope: Scope, asked: ExtAuthzGrpc | ExtAuthzHttp) -> str:
    """Why the service can't be asked; "" if it can."""
    namespace, _, host = asked.service.rpartition("/")
    owners = {ref.namespace for ref in claimants(db).get(host, ())}
    if not owners or (namespace and namespace not in owners):
        return f"there is no service {asked.service}"
    if not namespace and len(owners) > 1:
        return f"{host} is of several namespaces ({', '.join(sorted(owners))}): write NAMESPACE/{host}"
    seen = home(db, scope, host)
    if seen is None or (namespace and seen != home_in(db, host, namespace)):
        return f"the workload does not see {asked.service}: its Sidecar or exportTo hides it"
    found, ports = service_at(db, host, seen), ports_seen(db, scope, host)
    if found is None or found.port(asked.port) is None or (ports and asked.port not in ports):
        return f"{host} has no port {asked.port}"
    is_led = found.resolution in (Resolution.PASSTHROUGH, Resolution.DYNAMIC_DNS)
    return f"calls to {host} go where their clients say, and this one can't" if is_led else ""


def _body(source: RequestBodyCheck | None) -> BodyCheck | None:
    if source is None:
        return None
    return BodyCheck(source.max_request_bytes, source.allow_partial_message, source.pack_as_bytes)


def _http(source: ExtAuthzHttp) -> HttpCheck:
    return HttpCheck(
        path_prefix=source.path_prefix,
        shown_headers=source.include_request_headers_in_check or source.include_headers_in_check,
        added_headers=tuple(sorted(source.include_additional_headers_in_check.items())),
        to_upstream=source.headers_to_upstream_on_allow,
        to_client_allowed=source.headers_to_downstream_on_allow,
        to_client_denied=source.headers_to_downstream_on_deny,
    )
