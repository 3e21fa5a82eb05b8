"""What the keys and values of an AuthorizationPolicy mean.

Source: https://istio.io/latest/docs/reference/config/security/conditions/
"""

from __future__ import annotations

import re
from typing import Final

from pilotfish.model.authorization import Attribute

_PLAIN: Final = {
    "source.ip": Attribute.SOURCE_IP,
    "remote.ip": Attribute.REMOTE_IP,
    "source.namespace": Attribute.NAMESPACE,
    "source.principal": Attribute.PRINCIPAL,
    "source.serviceAccount": Attribute.SERVICE_ACCOUNT,
    "source.trustDomain": Attribute.TRUST_DOMAIN,
    "request.auth.principal": Attribute.REQUEST_PRINCIPAL,
    "request.auth.audiences": Attribute.AUDIENCE,
    "request.auth.presenter": Attribute.PRESENTER,
    "destination.ip": Attribute.DESTINATION_IP,
    "destination.port": Attribute.PORT,
    "connection.sni": Attribute.SERVER_NAME,
}
_HEADERS: Final = "request.headers"
_CLAIMS: Final = "request.auth.claims"
_EXPERIMENTAL: Final = "experimental."
_FILTERS: Final = f"{_EXPERIMENTAL}envoy.filters."
_SEGMENT: Final = re.compile(r"[-A-Za-z0-9._~%!$&'()+,;:@=]*")
"""What Envoy's templates take for text: https://www.envoyproxy.io/docs/envoy/v1.40.0, uri_template_lib."""


def parse_key(key: str) -> tuple[Attribute, tuple[str, ...]] | None:
    """The attribute, and the way into it: a header's name, a claim's keys, a filter and its key. None for no key."""
    if key in _PLAIN:
        return _PLAIN[key], ()
    if key.startswith(_HEADERS):
        name = in_brackets(key.removeprefix(_HEADERS))
        return (Attribute.HEADER, (name,)) if name else None
    if key.startswith(_CLAIMS):
        claim = claim_path(key.removeprefix(_CLAIMS))
        return (Attribute.CLAIM, claim) if claim and all(claim) else None
    if key.startswith(_FILTERS):
        found = filter_key(key.removeprefix(_EXPERIMENTAL))
        return (Attribute.METADATA, found) if found and all(found) else None
    return None


def in_brackets(text: str) -> str | None:
    """`[name]` → `name`; None for anything else."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") and len(text) > 1 else None


def claim_path(text: str) -> tuple[str, ...] | None:
    """`[a][b]` → (a, b). What is nested otherwise is one key: `[[a]` → (`[a`,)."""
    inner = in_brackets(text)
    if inner is None:
        return None
    keys = tuple(inner.split("]["))
    return (inner,) if any(sign in key for key in keys for sign in "[]") else keys


def filter_key(text: str) -> tuple[str, str] | None:
    """`envoy.filters.a.b[c]` → (`envoy.filters.a.b`, `c`)."""
    name, bracket, rest = text.partition("[")
    key = in_brackets(f"{bracket}{rest}")
    return (name, key) if key is not None and "]" not in name else None


def parse_port(text: str) -> int | None:
    """From 0 to 65535."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else -1
    return number if 0 <= number <= 65535 else None


def is_template(path: str) -> bool:
    """It has a `{*}` or a `{**}`."""
    return "{*}" in path or "{**}" in path


def find_path_fault(path: str) -> str:
    """What is wrong with a path as a template; "" for a good one, and for a path that is none."""
    if "{" not in path and "}" not in path:
        return ""
    if not path.startswith("/"):
        return "a template begins with /"
    any_number = False
    for segment in path[1:].split("/"):
        if segment in ("{*}", "{**}"):
            if any_number:
                return "nothing but text comes after {**}"
            any_number = segment == "{**}"
        elif not _SEGMENT.fullmatch(segment):
            return f"{segment!r} is no segment of a template: {{*}}, {{**}} or text alone"
    return ""


def is_trust_domain(text: str) -> bool:
    """With one `*` at most, at one of its ends."""
    return bool(text) and "*" not in text[1:-1] and text.count("*") <= 1


def split_account(text: str) -> tuple[str, str] | None:
    """`NAMESPACE/ACCOUNT`, or an account alone, whose namespace is ""; None for neither."""
    namespace, slash, account = text.rpartition("/")
    return (namespace, account) if account and bool(slash) == bool(namespace) and "/" not in namespace else None
