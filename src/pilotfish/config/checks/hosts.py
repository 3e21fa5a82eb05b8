"""Host names as Istio's kinds take them, with and without wildcards.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService
"""

from __future__ import annotations

import re
from ipaddress import ip_network

from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip, is_ipv4

_DOMAIN_LABEL = re.compile(r"[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?")
_WILDCARD_LABEL = re.compile(r"\*[-A-Za-z0-9_]{0,62}")


_SPECIAL = re.compile(r"0\.|127\.|169\.254\.|2(?:2[4-9]|3[0-9])\.")


def is_ip_or_network(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_network(text, strict=False))
    except ValueError:
        return False


def describe_special(text: str) -> str:
    """What an address or a network is that nobody in a network has for himself; "" for any other, and for none.

    As Kubernetes' ValidateNonSpecialIP.
    """
    if is_ipv4(text) and not _SPECIAL.match(text):
        return ""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return ""
    if network.prefixlen == 0 or network.is_unspecified:
        return "no one's"
    if network.is_loopback:
        return "each pod's own loopback"
    if network.is_link_local:
        return "of one link alone"
    return "a multicast address" if network.is_multicast else ""


def is_domain(text: str) -> bool:
    """A name in full or in short. Underscores pass, as SNI names of the mesh itself have them."""
    labels = text.removesuffix(".").split(".")
    return 0 < len(text) <= 255 and all(map(_DOMAIN_LABEL.fullmatch, labels))


def is_wildcard_domain(text: str) -> bool:
    """A domain, whose first label may also be `*` or begin with it: `*.foo.com`, `*foo.com`, `*-foo.com`, `*`."""
    if not text.startswith("*"):
        return is_domain(text)
    first, dot, rest = text.partition(".")
    return len(text) <= 255 and bool(_WILDCARD_LABEL.fullmatch(first)) and (not dot or is_domain(rest))


def overlap(one: str, other: str) -> bool:
    """Whether some host name matches both."""
    if one.startswith("*") and other.startswith("*"):
        a, b = one[1:], other[1:]
        return a.endswith(b) or b.endswith(a)
    if one.startswith("*"):
        return other.endswith(one[1:])
    return one.endswith(other[1:]) if other.startswith("*") else one == other


def check_host(host: str, field: str, report: Report) -> None:
    """An address, or a name with or without a wildcard, but not all names."""
    if not host:
        report.missing(field, "name a host")
    elif host == "*":
        report.invalid(field, "'*' would match every host", "name a host, or a wildcard such as *.example.com")
    elif not is_ip(host) and not is_wildcard_domain(host):
        report.invalid(field, f"{host!r} is no host", "write a name such as reviews, *.example.com, or an address")
