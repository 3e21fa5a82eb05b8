from __future__ import annotations

import pytest

from pilotfish.discovery.findings import words_about

PRINTED = 'name: "web"\nconnect_timeout {\n' + "}\n" * 170
WORDS = {
    "a line": ("no such filter", "no such filter"),
    "a printed resource": (
        "Proto constraint validation failed (ClusterValidationError.ConnectTimeout: must be greater than 0s): "
        + PRINTED,
        "Proto constraint validation failed (ClusterValidationError.ConnectTimeout: must be greater than 0s)",
    ),
    "a chain of causes": (
        "Proto constraint validation failed (RouteConfigurationValidationError.VirtualHosts[0]: embedded "
        "message failed validation | caused by VirtualHostValidationError.Name: it is too short): " + PRINTED,
        "Proto constraint validation failed (VirtualHostValidationError.Name: it is too short)",
    ),
    "of several resources": (
        "Error adding/updating listener(s)\nother: bad\nweb: address in use\n",
        "web: address in use",
    ),
    "a resource without a reason": (
        "goo.gle/debugproto   \n" + PRINTED + "...(truncated)",
        "a value is out of its bounds; Envoy prints all of it, and is cut off before it says which",
    ),
    "nothing": ("", "it does not say why"),
    "a very long line": ("x" * 5_000, "x" * 300 + "…"),
}


@pytest.mark.parametrize(("message", "expected"), WORDS.values(), ids=WORDS)
def test_a_line_of_envoys_words_is_quoted(message: str, expected: str) -> None:
    assert words_about("web", message) == expected
