"""Problems of AuthorizationPolicies: whom they are for, whom they ask, and how what they forbid may be had yet.

What a policy means is Istio's, so that one that was safe there is safe here; where that lets more pass, or less, than
its author may think, it is said of the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.config import istio
from pilotfish.config.checks.authorization_policy import Values, values_of
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.listeners.inbound import inbound_protocol, served_ports
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.visibility import visible
from pilotfish.mesh.registry.workloads import workload
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.providers import provider
from pilotfish.mesh.security.selection import subject_of
from pilotfish.mesh.security.trust_domains import fits
from pilotfish.mesh.security.workloads import covered, namespaces, policies_for, proxy_type
from pilotfish.mesh.settings import settings
from pilotfish.model import ObjectRef, Problem, Protocol, Severity
from pilotfish.model.authorization import Attribute, Unusable
from pilotfish.model.kinds import REQUEST_AUTHENTICATION
from pilotfish.model.proxy import ProxyType
from pilotfish.model.settings import PathNormalization

_OF_TOKENS: Final = (Attribute.REQUEST_PRINCIPAL, Attribute.AUDIENCE, Attribute.PRESENTER, Attribute.CLAIM)
_SPELLINGS: Final = {
    PathNormalization.NONE: "/x/../admin, //admin, /%61dmin or /admin%2F",
    PathNormalization.BASE: "//admin or %2Fadmin",
    PathNormalization.MERGE_SLASHES: "%2Fadmin",
}
"""Of one path, by what is done before it is looked at."""


@query
def authorization_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.AuthorizationPolicy)
    if found is None:
        return ()
    spec = found.spec
    values = [each for i, rule in enumerate(spec.rules) for each in values_of(rule, f"spec.rules[{i}]") if each[2]]
    return (
        *unselected_problems(db, ref),
        *_provider_problems(db, ref, spec),
        *_unknown_namespaces(db, ref, values),
        *_evadable(db, ref, spec.action, values),
        *_forgeable(db, ref, values),
        *_without_tokens(db, ref, values),
        *_on_connections(db, ref, spec),
    )


def unselected_problems(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """Of any policy that is for workloads."""
    if subject_of(db, ref).gateways == ():
        text = "there are no waypoints, which alone a Service is guarded by, so it has no effect; use selector"
        yield warning(db, ref, "spec.targetRefs", "NoWorkloads", text)
    elif not covered(db, ref):
        text = "no workload that there is has it, so it has no effect; correct the selector or the namespace"
        yield warning(db, ref, "spec.selector", "NoWorkloads", text)


def _provider_problems(db: Reads, ref: ObjectRef, spec: istio.AuthorizationPolicySpec) -> Iterator[Problem]:
    if spec.action != "CUSTOM" or spec.provider is None:
        return
    found = provider(db, visible(db, Scope(ref.namespace)), spec.provider.name)
    if isinstance(found, Unusable):
        text = f"nobody can be asked, so that what the policy covers is refused: {found.reason}; correct it"
        yield warning(db, ref, "spec.provider.name", "UnusableProvider", text)
    elif found.http is not None and (ports := _tcp_ports(db, ref)):
        text = (
            f"the provider is asked over HTTP, and so not of connections: {ports} lets pass all of them, as in Istio; "
            "use a provider with envoyExtAuthzGrpc"
        )
        yield warning(db, ref, "spec.provider.name", "UnaskedConnections", text)


def _unknown_namespaces(db: Reads, ref: ObjectRef, values: list[Values]) -> Iterator[Problem]:
    for attribute, field, listed in values:
        for index, value in enumerate(listed if attribute is Attribute.NAMESPACE else ()):
            if not any(fits(value, each) for each in namespaces(db)):
                text = f"no namespace is called {value}, so that nobody is meant by it; correct it"
                yield warning(db, ref, f"{field}[{index}]", "UnknownNamespace", text)


def _evadable(db: Reads, ref: ObjectRef, action: str, values: list[Values]) -> Iterator[Problem]:
    """What is forbidden for one spelling is not for another."""
    for attribute, field, listed in values:
        if _is_negated(field) == (action == "ALLOW") and action != "AUDIT":
            for index, value in enumerate(listed):
                if attribute is Attribute.PATH and value.startswith("/"):
                    yield _evadable_path(db, ref, f"{field}[{index}]")
                elif attribute is Attribute.HOST and not value.endswith("*") and f"{value}:*" not in listed:
                    yield _evadable_host(db, ref, f"{field}[{index}]", value)


def _evadable_host(db: Reads, ref: ObjectRef, field: str, value: str) -> Problem:
    """Only a `*` at one end counts: there is no `*.example.com:*`."""
    remedy = (
        "allow what is wanted instead" if value.startswith("*") else f"add {value}:*, or allow what is wanted instead"
    )
    text = f"a client who writes {value}:80, or a dot at the end, asks for another host, and evades it; {remedy}"
    return warning(db, ref, field, "EvadableHost", text)


def _evadable_path(db: Reads, ref: ObjectRef, field: str) -> Problem:
    spelled = _SPELLINGS.get(settings(db).paths)
    if spelled is None:
        text = "/ADMIN, /admin;x and /admin/ are other paths than /admin; if the app takes them, allow what is wanted"
        return warning(db, ref, field, "EvadablePath", text, Severity.INFO)
    text = (
        f"another spelling is another path, such as {spelled} for /admin, and evades it; write "
        "meshConfig.pathNormalization.normalization: DECODE_AND_MERGE_SLASHES, or allow what is wanted instead"
    )
    return warning(db, ref, field, "EvadablePath", text)


def _forgeable(db: Reads, ref: ObjectRef, values: list[Values]) -> Iterator[Problem]:
    fields = [field for attribute, field, _ in values if attribute is Attribute.REMOTE_IP]
    if fields and any(proxy_type(db, each) is ProxyType.SIDECAR for each in covered(db, ref)):
        for field in fields:
            text = (
                "beside an app, this is whatever the client writes into X-Forwarded-For; select the gateway, use "
                "ipBlocks, or take no plaintext (PeerAuthentication STRICT) and look at principals"
            )
            yield warning(db, ref, field, "ForgeableAddress", text)


def _without_tokens(db: Reads, ref: ObjectRef, values: list[Values]) -> Iterator[Problem]:
    fields = [field for attribute, field, _ in values if attribute in _OF_TOKENS]
    bare = (each for each in covered(db, ref) if not policies_for(db, REQUEST_AUTHENTICATION, each))
    first = next(bare, None) if fields else None
    if first is not None:
        text = f"no RequestAuthentication is for {first}, so that no request there has a token that counts; add one"
        yield warning(db, ref, fields[0], "NoTokens", text)


def _on_connections(db: Reads, ref: ObjectRef, spec: istio.AuthorizationPolicySpec) -> Iterator[Problem]:
    """A DENY rule's author is warned without a look at ports (`config.checks`)."""
    rules = [[each for each in values_of(rule, f"spec.rules[{i}]") if each[2]] for i, rule in enumerate(spec.rules)]
    looking = [next((field for attribute, field, _ in rule if attribute.is_of_requests), "") for rule in rules]
    if spec.action == "ALLOW" and looking and all(looking) and (ports := _tcp_ports(db, ref)):
        text = (
            f"{ports} has none of it, so that the policy lets no connection pass there, as in Istio; add a rule with "
            "ports for it"
        )
        yield warning(db, ref, looking[0], "DeniesConnections", text)


def _tcp_ports(db: Reads, ref: ObjectRef) -> str:
    """A TCP port of a workload that the policy is for, in words; "" if there is none."""
    for pod in covered(db, ref):
        found = workload(db, pod)
        if found is None or proxy_type(db, pod) is ProxyType.ROUTER:
            continue
        for port in served_ports(db, pod, found.labels, found.addresses):
            if _is_of_connections(inbound_protocol(db, port)):
                return f"TCP port {port.number} of {pod}"
    return ""


def _is_of_connections(protocol: Protocol) -> bool:
    return not (protocol.is_http or protocol.is_sniffed)


def _is_negated(field: str) -> bool:
    return field.rpartition(".")[2].startswith("not")
