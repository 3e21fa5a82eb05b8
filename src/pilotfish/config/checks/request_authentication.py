"""Source: https://istio.io/latest/docs/reference/config/security/request_authentication/"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import urlsplit

from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.http_match import check_header_name
from pilotfish.config.checks.selector import check_selection
from pilotfish.config.istio.authorization_policy import DRY_RUN
from pilotfish.config.istio.request_authentication import JWTRule, RequestAuthentication
from pilotfish.config.report import Report

_CLAIM_HEADER: Final = re.compile(r"[-_A-Za-z0-9]+")
_COOKIE: Final = re.compile(r"[^\s;,=\"\\]+")
_PRIVATE: Final = ("d", "p", "q", "k")
"""Of a JWK: what is not for others. RFC 7518."""


def check_request_authentication(policy: RequestAuthentication, report: Report) -> None:
    spec = policy.spec
    check_selection(spec.selector, spec.target_ref, spec.target_refs, report)
    if DRY_RUN in policy.metadata.annotations:
        report.invalid(f"metadata.annotations[{DRY_RUN}]", "who sends a token can't be checked on trial", "remove it")
    for index, rule in enumerate(spec.jwt_rules):
        _check_rule(rule, f"spec.jwtRules[{index}]", report)


def _check_rule(rule: JWTRule, field: str, report: Report) -> None:
    if not (rule.issuer or rule.jwks_uri or rule.jwks):
        report.missing(f"{field}.issuer", "say whose tokens these are", of=field)
    _check_keys(rule, field, report)
    check_duration(rule.timeout, f"{field}.timeout", report)
    _check_filled(rule.audiences, f"{field}.audiences", "an audience", report)
    _check_filled(rule.from_params, f"{field}.fromParams", "a parameter", report)
    _check_filled(rule.space_delimited_claims, f"{field}.spaceDelimitedClaims", "a claim", report)
    for i, header in enumerate(rule.from_headers):
        check_header_name(header.name, f"{field}.fromHeaders[{i}].name", report)
    for i, cookie in enumerate(rule.from_cookies):
        if not _COOKIE.fullmatch(cookie):
            report.invalid(f"{field}.fromCookies[{i}]", f"{cookie!r} is no cookie's name", "write one")
    if rule.output_payload_to_header:
        check_header_name(rule.output_payload_to_header, f"{field}.outputPayloadToHeader", report)
    for i, each in enumerate(rule.output_claim_to_headers):
        inner = f"{field}.outputClaimToHeaders[{i}]"
        if not _CLAIM_HEADER.fullmatch(each.header):
            report.invalid(f"{inner}.header", f"{each.header!r} is no header", "use letters, digits and dashes")
        if not each.claim:
            report.missing(f"{inner}.claim", "name the claim")


def _check_keys(rule: JWTRule, field: str, report: Report) -> None:
    if rule.jwks and rule.jwks_uri:
        what = "jwks has the keys already, and nothing is fetched; keep one of the two"
        report.warning(f"{field}.jwksUri", "UnusedField", what)
    if rule.jwks_uri and (fault := find_uri_fault(rule.jwks_uri)):
        report.invalid(f"{field}.jwksUri", fault, "write one such as https://example.com/jwks.json")
    if rule.jwks:
        keys = parse_keys(rule.jwks)
        if keys is None:
            report.invalid(f"{field}.jwks", "it is no JSON Web Key Set", 'write {"keys": [...]}, as RFC 7517 has it')
        elif any(name in key for key in keys for name in _PRIVATE):
            what = "it holds a private key, which everybody who reads the object can sign with; keep the public part"
            report.warning(f"{field}.jwks", "PrivateKey", what)


def find_uri_fault(uri: str) -> str:
    """Why keys can't be fetched from there; "" where they can."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return f"{uri!r} is no URL"
    if parts.scheme not in ("http", "https"):
        return f"{uri!r} is neither http:// nor https://"
    if any(sign.isspace() or not sign.isprintable() for sign in uri):
        return f"{uri!r} is no URL"
    return "" if parts.hostname else f"{uri!r} names no host"


def parse_keys(text: str) -> tuple[dict[str, Any], ...] | None:
    """The keys of a JSON Web Key Set; None for what is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) and isinstance(key.get("kty"), str) for key in keys):
        return None
    return tuple(keys)


def _check_filled(values: tuple[str, ...], field: str, what: str, report: Report) -> None:
    for index, value in enumerate(values):
        if not value:
            report.missing(f"{field}[{index}]", f"{what} has a name; write it, or remove this")
