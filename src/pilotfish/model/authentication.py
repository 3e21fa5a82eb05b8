"""Whose tokens a workload believes: what RequestAuthentications come to.

The words are Istio's: https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilotfish.model.ref import FieldRef
from pilotfish.model.values import Duration

DEFAULT_TIMEOUT: Final = Duration(5 * 10**9)


@dataclass(frozen=True, slots=True, order=True)
class KeySource:
    """Where the keys of an issuer are fetched from."""

    url: str
    """Of a JSON Web Key Set; or of the issuer, whose OpenID configuration says where that is."""
    is_issuer: bool = False
    timeout: Duration = DEFAULT_TIMEOUT


@dataclass(frozen=True, slots=True)
class KeyHost:
    """Where the mesh has the host of a KeySource, and how it proves to be that."""

    host: str
    """The whole name."""
    addresses: tuple[str, ...]
    server_name: str = ""
    """What to ask for in mutual TLS; "" where its port does not speak it."""
    identities: tuple[str, ...] = ()
    """Of those who may answer then: `spiffe://...`."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What was fetched. A fault beside keys is that of renewing them."""

    text: str = ""
    """A JSON Web Key Set; "" if there was never one."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class TokenRule:
    """One issuer's tokens: where they are looked for, how they are verified, and what the app is told of them."""

    ref: FieldRef
    issuer: str
    """"" is any."""
    keys: str | KeySource
    """A JSON Web Key Set, or where it is."""
    audiences: tuple[str, ...] = ()
    from_headers: tuple[tuple[str, str], ...] = ()
    """(name, what stands before the token)."""
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    payload_header: str = ""
    claim_headers: tuple[tuple[str, str], ...] = ()
    """(header, claim)."""
    forwarded: bool = False
    """The app sees the token."""
    required: bool = False
    """Requests without such a token are refused."""
    list_claims: tuple[str, ...] = ()
    """Those that are lists, separated by spaces; sorted."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A rule, and the keys to it."""

    rule: TokenRule
    keys: str
    """A JSON Web Key Set; "" where there is none: no token is believed then."""


Authentication = tuple[Verified, ...]
"""Of a workload, by issuer. A token must be right if there is one."""
