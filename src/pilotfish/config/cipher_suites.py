"""The cipher suites of Envoy's TLS library, up to TLS 1.2; those of 1.3 can't be chosen.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/transport_sockets/tls/v3/common.proto
"""

from __future__ import annotations

from typing import Final

_SUITES: Final = frozenset(
    {
        "AES128-GCM-SHA256",
        "AES128-SHA",
        "AES256-GCM-SHA384",
        "AES256-SHA",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-SHA",
        "ECDHE-RSA-CHACHA20-POLY1305",
    }
)


def is_cipher_suite(text: str) -> bool:
    """One, or one that is taken from the list: `-AES128-SHA`."""
    return text.lstrip("+-!") in _SUITES


def usable(suites: tuple[str, ...]) -> tuple[str, ...]:
    """Those that Envoy knows, each once; none if no suite would be left."""
    known = tuple(dict.fromkeys(filter(is_cipher_suite, suites)))
    left: dict[str, None] = {}
    for suite in known:
        if suite[0] in "-!":
            left.pop(suite.lstrip("-!"), None)
        else:
            left[suite.lstrip("+")] = None
    return known if left else ()
