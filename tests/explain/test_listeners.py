"""Which filter chain takes a connection, by Envoy's rules."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.json_format import ParseDict

from pilotfish.explain.call import Application, Call, Direction, Failure, Tls
from pilotfish.explain.listeners import choose_chain

RANGE = {"address_prefix": "10.0.0.0", "prefix_len": 8}
HOST = {"address_prefix": "10.0.0.1", "prefix_len": 32}
TLS = {"transport_protocol": "tls"}
SOURCE = {"source_prefix_ranges": [{"address_prefix": "10.9.0.0", "prefix_len": 16}]}


def chains(*matches: dict[str, Any]) -> Listener:
    """Chains called 0, 1, ...; the inspectors run."""
    made = [{"name": str(i), "filter_chain_match": match} for i, match in enumerate(matches)]
    inspectors = [{"name": f"envoy.filters.listener.{name}_inspector"} for name in ("tls", "http")]
    return ParseDict({"listener_filters": inspectors, "filter_chains": made}, Listener())


def call(**fields: Any) -> Call:
    return Call(Direction.OUTBOUND, "10.0.0.1", 80, **fields)


@pytest.mark.parametrize(
    ("matches", "asked", "chosen"),
    [
        (({"prefix_ranges": [RANGE]}, {"prefix_ranges": [HOST]}, {}), call(), "1"),
        (({"destination_port": 81}, {}), call(), "1"),
        (({"server_names": ["*.b"]}, {"server_names": ["a.b"]}), call(tls=Tls("a.b")), "1"),
        (({"server_names": ["*.b"]}, {}), call(tls=Tls("B")), "1"),
        (({"server_names": ["a.b"]}, {}), call(), "1"),
        ((TLS, {"transport_protocol": "raw_buffer"}), call(tls=Tls()), "0"),
        (({"application_protocols": ["h2c", "http/1.1"]}, {}), call(), "0"),
        (({"application_protocols": ["http/1.1"]}, {}), call(application=Application.TCP), "1"),
        ((SOURCE, {}), call(source="10.9.1.1"), "0"),
        ((SOURCE, {}), call(source="10.8.1.1"), "1"),
        ((SOURCE, {}), call(), Failure.UNKNOWN),
        # A chain that loses one step is out, though it alone would match the next: Envoy never goes back.
        (({"destination_port": 80, **TLS}, {}), call(), None),
        (({}, {}), call(), Failure.SEVERAL_FILTER_CHAINS),
    ],
)
def test_the_most_specific_chain_wins(
    matches: tuple[dict[str, Any], ...], asked: Call, chosen: str | Failure | None
) -> None:
    found = choose_chain(chains(*matches), asked)
    assert (found.taken.name if found.taken is not None else found.failure) == chosen


def test_the_default_chain_takes_what_none_matches() -> None:
    listener = chains(TLS)
    listener.default_filter_chain.name = "default"
    found = choose_chain(listener, call())
    assert found.taken is not None
    assert found.taken.name == "default"


def test_each_chain_that_lost_is_named_with_what_decided() -> None:
    found = choose_chain(
        chains({"destination_port": 81}, {"prefix_ranges": [RANGE]}, {"prefix_ranges": [HOST]}), call()
    )
    assert [(each.name, each.reason) for each in found.rejected] == [
        ("0", "it wants port 81; this is 80"),
        ("1", "another chain asks for an address in more exactly"),
    ]
