"""RequestAuthentication: whose tokens a workload believes.

Source: https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from typing import Literal

from pilotfish.config.istio.selector import PolicyTargetReference, WorkloadSelector
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import Duration, kinds


class JWTHeader(Struct):
    name: str = ""
    prefix: str = ""


class ClaimToHeader(Struct):
    header: str = ""
    claim: str = ""
    """`a.b` is the claim b inside of a."""


class JWTRule(Struct):
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    """A token is for one of them; none: for anybody."""
    jwks: str = ""
    """The issuer's keys."""
    jwks_uri: str = ""
    """Where they are; discovery fetches them. With neither, the issuer's OpenID configuration says it."""
    from_headers: tuple[JWTHeader, ...] = ()
    """Where tokens are looked for; if no place is said, in `Authorization: Bearer` and the parameter `access_token`."""
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    forward_original_token: bool = False
    timeout: Duration = Duration(5 * 10**9)
    """Of fetching the keys."""
    presence: Literal["UNSPECIFIED", "OPTIONAL", "REQUIRED"] = "UNSPECIFIED"
    """REQUIRED: a request without such a token is answered 401. OPTIONAL is also what is meant by UNSPECIFIED."""
    space_delimited_claims: tuple[str, ...] = ()
    """Claims that are lists in one text, beside `scope` and `permission`."""


class RequestAuthenticationSpec(Struct):
    selector: WorkloadSelector | None = None
    """None: every workload of the namespace; of the root namespace, every workload of the mesh."""
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    jwt_rules: tuple[JWTRule, ...] = ()


class RequestAuthentication(Resource):
    kind = kinds.REQUEST_AUTHENTICATION
    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()
