"""Which object and field of the user's an Envoy resource says that it comes from.

Istio's proxies say the object (`filter_metadata.istio.config`), ours of routes the field as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

_MATCH: Final = re.compile(r"\.match\[\d+\]$")


@dataclass(frozen=True, slots=True)
class Written:
    config: str = ""
    """The object's path (`config_path`); "" where the resource says none."""
    field: str = ""
    """`spec.http[1].match[0]`; "" where it says none."""
    destinations: tuple[int, ...] = ()
    """The indices of a route's destinations that get requests, where others get none."""

    def rule(self, below: str) -> Written:
        """A field of the rule whose match this is."""
        rule = _MATCH.sub("", self.field)
        return replace(self, field=f"{rule}.{below}" if rule else "")

    def destination(self, number: int) -> Written:
        """Of those that get requests, counted from 0."""
        index = self.destinations[number] if number < len(self.destinations) else number
        return self.rule(f"route[{index}]")


NOWHERE: Final = Written()


def written(message: Any) -> Written:
    """Of a route, chain or cluster."""
    if "istio" not in message.metadata.filter_metadata:
        return NOWHERE
    fields = message.metadata.filter_metadata["istio"].fields
    used = (
        tuple(int(each.number_value) for each in fields["destinations"].list_value.values)
        if "destinations" in fields
        else ()
    )
    return Written(_text(fields, "config"), _text(fields, "field"), used)


def _text(fields: Any, name: str) -> str:
    return str(fields[name].string_value) if name in fields else ""
