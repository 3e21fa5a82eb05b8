"""Headers that are none to Envoy."""

from __future__ import annotations

from typing import Final

from pilotfish.config.conditions import claim_path

_CLAIMS: Final = "@request.auth.claims"


def is_host(name: str) -> bool:
    """What the request is for, by either of its names."""
    return name.lower() in (":authority", "host")


def is_claim(name: str) -> bool:
    """Written where a header's name stands, and meant for a claim of the request's token.

    Source: https://istio.io/latest/docs/tasks/security/authentication/jwt-route/
    """
    return name.lower().startswith(_CLAIMS)


def claim_of(name: str) -> tuple[str, ...] | None:
    """`@request.auth.claims.a.b` and `@request.auth.claims[a][b]` → (a, b); None for a claim without a name."""
    rest = name[len(_CLAIMS) :]
    found = tuple(rest[1:].split(".")) if rest.startswith(".") else claim_path(rest)
    return found if found and all(found) else None
