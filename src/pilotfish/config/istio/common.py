"""What several kinds of Istio's networking API say alike.

Source: https://istio.io/latest/docs/reference/config/networking/
"""

from __future__ import annotations

from pilotfish.config.kubernetes import Struct


class StringMatch(Struct):
    """Exactly one is set. `regex` is RE2 syntax and matches the whole value."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class PortSelector(Struct):
    number: int


class Destination(Struct):
    host: str
    subset: str = ""
    port: PortSelector | None = None
