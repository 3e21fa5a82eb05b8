"""Trust domains of principals: a workload of an alias of the mesh's own is meant wherever one of the mesh's is.

Source: https://github.com/istio/istio/blob/master/pkg/spiffe and pilot/pkg/security/trustdomain/bundle.go
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.model.identity import DEFAULT_TRUST_DOMAIN

Domains = tuple[str, ...]
"""The mesh's own, and then its aliases."""


def expand(principals: Iterable[str], domains: Domains) -> tuple[str, ...]:
    """Each whose trust domain is of the mesh stands once for every domain. `cluster.local` always is."""
    found: list[str] = []
    for principal in principals:
        own = domain_of(principal) if has_domain(principal) else ""
        if own == DEFAULT_TRUST_DOMAIN or (own and is_listed(own, domains)):
            found += dict.fromkeys(_in_domain(principal, own, each) for each in domains)
        else:
            found.append(principal)
    return tuple(found)


def has_domain(principal: str) -> bool:
    """Whether it is about one at all."""
    return principal.partition("/")[0] != "*"


def domain_of(principal: str) -> str:
    """`td/ns/shop/sa/web` → `td`; "" for any other form."""
    parts = principal.split("/")
    return parts[0] if len(parts) == 5 and parts[1] == "ns" and parts[3] == "sa" else ""


def is_listed(domain: str, domains: Domains) -> bool:
    """Either side may have a `*`, at its beginning or at its end."""
    return any(fits(domain, each) or fits(each, domain) for each in domains)


def with_domain(principal: str, domain: str) -> str | None:
    """None where there is none to take the place of."""
    old = domain_of(principal)
    return domain + principal.removeprefix(old) if old else None


def _in_domain(principal: str, own: str, domain: str) -> str:
    """`*-td` stays what it is for a domain that it is of."""
    if own.startswith("*") and domain.endswith(own[1:]):
        return principal
    return with_domain(principal, domain) or principal


def fits(pattern: str, text: str) -> bool:
    """`pattern` may have a `*` at its beginning or at its end."""
    if pattern in ("*", text):
        return True
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return pattern.endswith("*") and text.startswith(pattern[:-1])
