"""Which filter chain a listener's matcher (`filter_chain_matcher`) takes, by what it may ask of a connection.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/matching/matching_listener
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import FilterStateInput
from google.protobuf.wrappers_pb2 import StringValue

from pilotfish.envoy.filter_state import NETNS
from pilotfish.explain.call import Failure
from pilotfish.explain.choice import Choice
from pilotfish.explain.extensions import type_of
from pilotfish.explain.filter_state import FilterState
from pilotfish.explain.match_branches import Value
from pilotfish.explain.match_tree import Decision, Leaf, decide

_INPUTS: Final = "envoy.extensions.matching.common_inputs.network.v3."
_NAMES: Final = {NETNS: "the network namespace"}


@dataclass(frozen=True, slots=True)
class Seen:
    """Of a connection, when its chain is chosen. None is not known; "" is none."""

    address: str | None = None
    """Where the client meant to go."""
    port: int | None = None
    source: str | None = None
    source_port: int | None = None
    is_local: bool | None = None
    server_name: str | None = None
    transport: str | None = None
    protocols: tuple[str, ...] | None = None
    state: FilterState = field(default_factory=dict)
    """What is noted down in all."""
    other_state: bool = False
    """More may be, by filters that are not read here."""


def choose_by_matcher(listener: Listener, seen: Seen) -> Choice[FilterChain]:
    found = decide(listener.filter_chain_matcher, _reader(seen), name_of)
    names = {name_of(leaf.action) for leaf in found.leaves}
    if not found.is_read or len(names) + found.may_miss > 1:
        why = f"which chain is taken depends on what is not known here: {'; '.join(found.doubts)}"
        return Choice(None, why, found.rejected, Failure.UNKNOWN)
    if not names:
        return _default(listener, "its matcher takes none", found)
    leaf = found.leaves[0]
    if not leaf.action.typed_config.Is(StringValue.DESCRIPTOR):
        why = f"its matcher's action {leaf.action.name} is not read here"
        return Choice(None, why, found.rejected, Failure.UNKNOWN)
    name = name_of(leaf.action)
    chain = next((each for each in listener.filter_chains if each.name == name), None)
    if chain is None:
        return Choice(None, f"its matcher takes {name}, which is no chain of its", found.rejected)
    lost = tuple(each for each in found.rejected if each.name != name)
    return Choice(chain, leaf.why or "its matcher takes nothing else", lost)


@dataclass(frozen=True, slots=True)
class Reachable:
    """A chain that a connection may come to."""

    chain: FilterChain
    asked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What its matcher asks for beside what is known: any of these values, by what they are of."""


def reachable(listener: Listener, state: FilterState) -> Iterator[Reachable]:
    """By a connection of which no more is known than what is noted down."""
    default = [Reachable(listener.default_filter_chain)] if listener.HasField("default_filter_chain") else []
    if not listener.HasField("filter_chain_matcher"):
        yield from (*map(Reachable, listener.filter_chains), *default)
        return
    found = decide(listener.filter_chain_matcher, _reader(Seen(state=state)), name_of)
    ways: dict[str, list[Leaf]] = {}
    for leaf in found.leaves:
        ways.setdefault(name_of(leaf.action), []).append(leaf)
    is_read = found.is_read and all(leaf.action.typed_config.Is(StringValue.DESCRIPTOR) for leaf in found.leaves)
    for chain in listener.filter_chains:
        if chain.name in ways or not is_read:
            asked = _asked(ways.get(chain.name, ()))
            told = {_NAMES.get(key, "") for key, value in state.items() if value.text is not None}
            yield Reachable(chain, {name: values for name, values in asked.items() if name not in told})
    if found.may_miss:
        yield from default


def _asked(leaves: Sequence[Leaf]) -> Mapping[str, tuple[str, ...]]:
    """What all ways to a chain ask for."""
    ways = [{each.name: each.value for each in leaf.way if each.name} for leaf in leaves]
    common = [name for name in ways[0] if all(name in way for way in ways)] if ways else []
    return {name: tuple(dict.fromkeys(way[name] for way in ways)) for name in common}


def name_of(action: Any) -> str:
    """The chain that an action names."""
    if action.typed_config.Is(StringValue.DESCRIPTOR):
        return StringValue.FromString(action.typed_config.value).value
    return str(action.name)


def _default(listener: Listener, why: str, found: Decision) -> Choice[FilterChain]:
    chain = listener.default_filter_chain if listener.HasField("default_filter_chain") else None
    return Choice(chain, why, found.rejected)


def _reader(seen: Seen) -> Callable[[Any], Value]:
    def read(asked: Any) -> Value:
        kind = type_of(asked.typed_config)
        if kind == f"{_INPUTS}FilterStateInput":
            return _noted(FilterStateInput.FromString(asked.typed_config.value).key, seen)
        found = _READ.get(kind.removeprefix(_INPUTS))
        if found is None:
            return Value(f"what {asked.name} finds", is_known=False)
        name, find = found
        text = find(seen)
        return Value(name, text or None, text is not None)

    return read


def _noted(key: str, seen: Seen) -> Value:
    name = _NAMES.get(key, f"what is noted down as {key}")
    found = seen.state.get(key)
    if found is None:
        return Value(name, None, not seen.other_state)
    return Value(name, found.text, found.text is not None)


def _number(value: int | None) -> str | None:
    return str(value) if value is not None else None


def _local(seen: Seen) -> str | None:
    return None if seen.is_local is None else "local" if seen.is_local else ""


def _protocols(seen: Seen) -> str | None:
    """`'h2','http/1.1'`: each in quotes, as Envoy writes them."""
    return None if seen.protocols is None else ",".join(f"'{each}'" for each in seen.protocols)


_READ: Final[dict[str, tuple[str, Callable[[Seen], str | None]]]] = {
    "DestinationIPInput": ("the destination address", lambda seen: seen.address),
    "DestinationPortInput": ("the destination port", lambda seen: _number(seen.port)),
    "SourceIPInput": ("the source address", lambda seen: seen.source),
    "DirectSourceIPInput": ("the direct source address", lambda seen: seen.source),
    "SourcePortInput": ("the source port", lambda seen: _number(seen.source_port)),
    "SourceTypeInput": ("the kind of source", _local),
    "ServerNameInput": ("the server name", lambda seen: seen.server_name),
    "TransportProtocolInput": ("the transport", lambda seen: seen.transport),
    "ApplicationProtocolInput": ("the protocol", _protocols),
    # The address that is asked has none where it was looked up (original_dst), or the listener is for any address.
    "NetworkNamespaceInput": ("the network namespace of its address", lambda seen: ""),
}
