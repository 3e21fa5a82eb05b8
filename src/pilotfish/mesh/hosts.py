"""Host names: how short ones are completed, and which wildcards match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.model.wellknown import SERVICE_DOMAIN


def service_host(name: str, namespace: str) -> str:
    """`calculator.vm.svc.cluster.local`."""
    return f"{name}.{namespace}.{SERVICE_DOMAIN}".lower()


def namespace_of(host: str) -> str:
    """That of a Kubernetes Service's host."""
    return host.removesuffix(f".{SERVICE_DOMAIN}").partition(".")[2]


def whole_name(host: str) -> str:
    """A host that is complete, as hosts are compared: letter case and a dot at the end mean nothing."""
    return host.lower().removesuffix(".")


def resolve(host: str, namespace: str) -> str:
    """The whole name of a host as an Istio object of `namespace` writes it.

    A name without dots is a Service of that namespace; any other is complete as it stands.
    Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Destination
    """
    host = whole_name(host)
    return host if "." in host or host == "*" else service_host(host, namespace)


def wildcards(host: str) -> Iterator[str]:
    """The wildcard names that match a host, the most specific first: `*.b.c`, `*.c`, `*`. Never the host itself."""
    rest = host.removeprefix("*.") if host.startswith("*.") else host
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    if host != "*":
        yield "*"


SERVER_NAME_PREFIX: Final = "outbound_."


def server_name(port: int, subset: str, host: str) -> str:
    """What a client's proxy asks for in TLS with one of the mesh: `outbound_.8080_.v1_.reviews.vm.svc.cluster.local`.

    Source: Istio's BuildDNSSrvSubsetKey, https://github.com/istio/istio/blob/master/pilot/pkg/model/service.go
    """
    return f"{SERVER_NAME_PREFIX}{port}_.{subset}_.{host}".lower()
