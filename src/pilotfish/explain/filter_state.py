"""What Envoy notes down of a connection, by key: what filters write, and what its choices read.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/advanced/well_known_filter_state
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.explain.extensions import fields_of, type_of

_FILTER: Final = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_LISTENER_FILTER: Final = "envoy.extensions.filters.listener.set_filter_state.v3.Config"
_READ: Final = re.compile(r"%FILTER_STATE\(([^:()%]+):PLAIN\)%")

FilterState = Mapping[str, "StateValue"]


@dataclass(frozen=True, slots=True)
class StateValue:
    text: str | None
    """None: what it is is not known."""
    is_shared: bool = False
    """What is opened for the connection has it, too."""


def apply_filter(config: Any, state: FilterState) -> FilterState:
    """Behind a filter: with what it writes."""
    if type_of(config) not in (_FILTER, _LISTENER_FILTER):
        return state
    fields = fields_of(config)
    found = dict(state)
    for each in (*fields.get("on_new_connection", ()), *fields.get("on_accept", ())):
        text = _text(each.get("format_string", {}), found)
        if text or not each.get("skip_if_empty"):
            found[str(each.get("object_key", ""))] = StateValue(
                text, each.get("shared_with_upstream") not in (None, "NONE")
            )
    return found


def shared(state: FilterState, key: str) -> StateValue | None:
    found = state.get(key)
    return found if found is not None and found.is_shared else None


def unknown_writers(listener_filters: Iterable[Any]) -> Iterator[str]:
    """The names of those that may write what is not known here."""
    yield from (each.name for each in listener_filters if type_of(each.typed_config) not in _WRITE_NOTHING)


_WRITE_NOTHING: Final = (
    _LISTENER_FILTER,
    *(
        f"envoy.extensions.filters.listener.{name}.v3.{message}"
        for name, message in (
            ("original_dst", "OriginalDst"),
            ("tls_inspector", "TlsInspector"),
            ("http_inspector", "HttpInspector"),
        )
    ),
)


def _text(format_: Mapping[str, Any], state: FilterState) -> str | None:
    """None where a part of it is not known. What is not noted down is a `-`, or nothing."""
    source = format_.get("text_format_source", {}).get("inline_string")
    absent = "" if format_.get("omit_empty_values") else "-"
    if source is None:
        return None
    parts: list[str] = []
    at = 0
    for match in _READ.finditer(source):
        value = state.get(match[1], StateValue(absent))
        if value.text is None:
            return None
        parts += [source[at : match.start()], value.text]
        at = match.end()
    rest = (*parts, source[at:])
    return None if any("%" in part for part in rest[::2]) else "".join(rest)
