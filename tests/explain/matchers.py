"""Matchers of filter chains as dicts, as Envoy's JSON has them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
URL = "type.googleapis.com/"
INPUTS = f"{URL}envoy.extensions.matching.common_inputs.network.v3."
NETNS = "envoy.network.network_namespace"


def at(kind: str, **fields: Any) -> Json:
    """An input: `ServerName`, `DestinationIP`, `FilterState` …"""
    return {"name": kind, "typed_config": {"@type": f"{INPUTS}{kind}Input", **fields}}


def to(chain: str, **more: Any) -> Json:
    config = {"@type": f"{URL}google.protobuf.StringValue", "value": chain}
    return {"action": {"name": chain, "typed_config": config}, **more}


def into(matcher: Json, **more: Any) -> Json:
    return {"matcher": matcher, **more}


def exact(input: Json, entries: Json, otherwise: Json | None = None) -> Json:
    return _tree(input, {"exact_match_map": {"map": entries}}, otherwise)


def prefix(input: Json, entries: Json, otherwise: Json | None = None) -> Json:
    return _tree(input, {"prefix_match_map": {"map": entries}}, otherwise)


def ranges(input: Json, *matchers: tuple[list[str], Json, bool], otherwise: Json | None = None) -> Json:
    """Each: blocks, where they lead, and whether they are exclusive."""
    listed = [
        {"ranges": [_block(each) for each in blocks], "on_match": leads, "exclusive": exclusive}
        for blocks, leads, exclusive in matchers
    ]
    return _custom(input, "trie_matcher", "IPMatcher", {"range_matchers": listed}, otherwise)


def domains(input: Json, *matchers: tuple[list[str], Json], otherwise: Json | None = None) -> Json:
    listed = [{"domains": names, "on_match": leads} for names, leads in matchers]
    return _custom(input, "domain_matcher", "ServerNameMatcher", {"domain_matchers": listed}, otherwise)


def first(*matchers: tuple[Json, Json], otherwise: Json | None = None) -> Json:
    """A list: each with what it asks for and where it leads."""
    listed = [{"predicate": asked, "on_match": leads} for asked, leads in matchers]
    return {"matcher_list": {"matchers": listed}, **({"on_no_match": otherwise} if otherwise else {})}


def single(input: Json, **matched: Any) -> Json:
    return {"single_predicate": {"input": input, "value_match": matched}}


def in_blocks(input: Json, *blocks: str) -> Json:
    kind = f"{URL}envoy.extensions.matching.input_matchers.ip.v3.Ip"
    config = {"@type": kind, "cidr_ranges": [_block(each) for each in blocks], "stat_prefix": "x"}
    return {"single_predicate": {"input": input, "custom_match": {"name": "ip", "typed_config": config}}}


def both(*predicates: Json) -> Json:
    return {"and_matcher": {"predicate": list(predicates)}}


def either(*predicates: Json) -> Json:
    return {"or_matcher": {"predicate": list(predicates)}}


def unless(predicate: Json) -> Json:
    return {"not_matcher": predicate}


def _tree(input: Json, tree: Json, otherwise: Json | None) -> Json:
    return {"matcher_tree": {"input": input, **tree}, **({"on_no_match": otherwise} if otherwise else {})}


def _custom(input: Json, name: str, kind: str, config: Json, otherwise: Json | None) -> Json:
    typed = {"@type": f"{URL}xds.type.matcher.v3.{kind}", **config}
    custom = {"name": f"envoy.matching.custom_matchers.{name}", "typed_config": typed}
    return _tree(input, {"custom_match": custom}, otherwise)


def _block(text: str) -> Json:
    address, _, length = text.partition("/")
    return {"address_prefix": address, "prefix_len": int(length)}
