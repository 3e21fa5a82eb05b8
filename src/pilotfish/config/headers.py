"""Headers that are none to Envoy."""

from __future__ import annotations


def is_host(name: str) -> bool:
    """What the request is for, by either of its names."""
    return name.lower() in (":authority", "host")
