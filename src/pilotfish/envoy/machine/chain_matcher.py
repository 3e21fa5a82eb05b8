"""Filter chains of several clients in one listener, told apart by a matcher.

Envoy takes either a matcher or what the chains themselves say (`filter_chain_match`). So what the chains of one client
say becomes a matcher of its own, which decides as Envoy does: by destination range, then server name, then what was
sniffed; what a step has chosen it does not take back; what no chain says is for the rest.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/listener/v3/listener_components.proto and
https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/matching/matching_api
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import (
    ApplicationProtocolInput,
    DestinationIPInput,
    FilterStateInput,
    ServerNameInput,
    TransportProtocolInput,
)
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from xds.core.v3.cidr_pb2 import CidrRange as XdsCidrRange
from xds.core.v3.extension_pb2 import TypedExtensionConfig
from xds.type.matcher.v3.domain_pb2 import ServerNameMatcher
from xds.type.matcher.v3.ip_pb2 import IPMatcher
from xds.type.matcher.v3.matcher_pb2 import Matcher

from pilotfish.envoy.filter_state import NETNS
from pilotfish.envoy.message import pack

K = TypeVar("K", str, tuple[str, int])

_TOLD_BY: Final = frozenset({"prefix_ranges", "server_names", "transport_protocol", "application_protocols"})
_IN_THE_CLEAR: Final = "raw_buffer"


def _extension(name: str, message: Message) -> TypedExtensionConfig:
    return TypedExtensionConfig(name=name, typed_config=pack(message))


def to_chain(name: str) -> Matcher.OnMatch:
    """The chain of this name."""
    return Matcher.OnMatch(action=_extension(name, StringValue(value=name)))


CLOSED: Final = to_chain("closed")
"""There is no such chain, so that Envoy closes the connection."""


def by_namespace(prefixes: Mapping[str, Matcher.OnMatch], paths: Mapping[str, Matcher.OnMatch]) -> Matcher:
    """By the network namespace that a connection came in: its path, else how that begins; of no other is any taken."""
    rest = _tree("namespace", FilterStateInput(key=NETNS))
    for prefix, chosen in sorted(prefixes.items()):
        rest.matcher_tree.prefix_match_map.map[prefix].CopyFrom(chosen)
    if not paths:
        return rest
    found = _tree("pod", FilterStateInput(key=NETNS))
    for path, chosen in sorted(paths.items()):
        found.matcher_tree.exact_match_map.map[path].CopyFrom(chosen)
    if prefixes:
        found.on_no_match.matcher.CopyFrom(rest)
    return found


def by_chains(chains: Sequence[FilterChain], rest: str) -> Matcher.OnMatch:
    """What one client's chains say, which have names. `rest`: the chain that takes what they leave; "" for none."""
    for chain in chains:
        _check(chain.filter_chain_match)
    return _by_range(chains, to_chain(rest) if rest else CLOSED)


def _check(match: FilterChainMatch) -> None:
    """ValueError for what is not told apart here. Only a bug can lead to it."""
    unknown = {field.name for field, _ in match.ListFields()} - _TOLD_BY
    if unknown:
        raise ValueError(f"filter chains of several clients are not told apart by {', '.join(sorted(unknown))}")


def _by_range(chains: Sequence[FilterChain], otherwise: Matcher.OnMatch) -> Matcher.OnMatch:
    return _split(
        chains,
        lambda match: tuple((each.address_prefix, each.prefix_len.value) for each in match.prefix_ranges),
        _ranges,
        lambda group: _by_server_name(group, otherwise),
        otherwise,
    )


def _by_server_name(chains: Sequence[FilterChain], otherwise: Matcher.OnMatch) -> Matcher.OnMatch:
    return _split(
        chains,
        lambda match: tuple(match.server_names),
        _server_names,
        lambda group: _by_protocol(group, otherwise),
        otherwise,
    )


def _by_protocol(chains: Sequence[FilterChain], otherwise: Matcher.OnMatch) -> Matcher.OnMatch:
    """HTTP that was found in the clear, and what has no condition left."""
    plain = next((each for each in chains if not each.filter_chain_match.application_protocols), None)
    rest = to_chain(plain.name) if plain is not None else otherwise
    found = {p: to_chain(each.name) for each in chains for p in each.filter_chain_match.application_protocols}
    if not found:
        return rest
    sniffed = _tree("application protocol", ApplicationProtocolInput())
    for protocol, chosen in sorted(found.items()):
        sniffed.matcher_tree.exact_match_map.map[f"'{protocol}'"].CopyFrom(chosen)
    clear = _tree("transport protocol", TransportProtocolInput())
    clear.matcher_tree.exact_match_map.map[_IN_THE_CLEAR].matcher.CopyFrom(_otherwise(sniffed, rest))
    return Matcher.OnMatch(matcher=_otherwise(clear, rest))


def _split(
    chains: Sequence[FilterChain],
    keys: Callable[[FilterChainMatch], tuple[K, ...]],
    build: Callable[[Mapping[K, Matcher.OnMatch], Matcher.OnMatch], Matcher.OnMatch],
    within: Callable[[Sequence[FilterChain]], Matcher.OnMatch],
    otherwise: Matcher.OnMatch,
) -> Matcher.OnMatch:
    """By one of a match's fields: the chains of each of its values by themselves, and those that do not have it."""
    groups: dict[K, list[FilterChain]] = {}
    for chain in chains:
        for key in keys(chain.filter_chain_match):
            groups.setdefault(key, []).append(chain)
    others = [chain for chain in chains if not keys(chain.filter_chain_match)]
    rest = within(others) if others else otherwise
    return build({key: within(group) for key, group in groups.items()}, rest) if groups else rest


def _ranges(groups: Mapping[tuple[str, int], Matcher.OnMatch], rest: Matcher.OnMatch) -> Matcher.OnMatch:
    matcher = IPMatcher()
    for (prefix, length), chosen in sorted(groups.items()):
        block = XdsCidrRange(address_prefix=prefix)
        block.prefix_len.value = length
        # What a range has chosen is not taken back, also where that is to close the connection.
        matcher.range_matchers.add(ranges=[block], on_match=chosen, exclusive=True)
    found = _tree("destination", DestinationIPInput())
    found.matcher_tree.custom_match.CopyFrom(_extension("envoy.matching.custom_matchers.ip_range_matcher", matcher))
    return Matcher.OnMatch(matcher=_otherwise(found, rest))


def _server_names(groups: Mapping[str, Matcher.OnMatch], rest: Matcher.OnMatch) -> Matcher.OnMatch:
    matcher = ServerNameMatcher()
    for name, chosen in sorted(groups.items()):
        matcher.domain_matchers.add(domains=[name], on_match=chosen)
    found = _tree("server name", ServerNameInput())
    found.matcher_tree.custom_match.CopyFrom(_extension("envoy.matching.custom_matchers.domain_matcher", matcher))
    return Matcher.OnMatch(matcher=_otherwise(found, rest))


def _tree(name: str, input: Message) -> Matcher:
    return Matcher(matcher_tree=Matcher.MatcherTree(input=_extension(name, input)))


def _otherwise(matcher: Matcher, rest: Matcher.OnMatch) -> Matcher:
    matcher.on_no_match.CopyFrom(rest)
    return matcher
