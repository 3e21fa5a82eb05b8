"""Flags say what a CaptureSpec does, and it is made of them again."""

from __future__ import annotations

from ipaddress import ip_network

import click
import pytest
from click.testing import CliRunner

from pilotfish.capture import ALL, CaptureSpec, Mode, parse_spec
from pilotfish.capture.flags import parse_flags, render_flags
from pilotfish.cli.capture_config import config_options, read_spec
from pilotfish.inject.annotations import spec_from_annotations

_PREFIX = "traffic.sidecar.istio.io/"


def parse(words: list[str]) -> CaptureSpec:
    """As an init container reads them."""
    found: list[CaptureSpec] = []

    @click.command
    @config_options
    def command(config: str | None, flags: dict[str, object], output: str) -> None:
        found.append(read_spec(config, flags))

    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize(
    "spec",
    [
        spec_from_annotations({})[0],
        spec_from_annotations({"sidecar.istio.io/interceptionMode": "TPROXY"}, enable_ipv6=True, uid=2000)[0],
        spec_from_annotations(
            {
                f"{_PREFIX}includeInboundPorts": "",
                f"{_PREFIX}includeOutboundIPRanges": "",
                f"{_PREFIX}includeOutboundPorts": "5432",
                f"{_PREFIX}excludeOutboundPorts": "",
                f"{_PREFIX}excludeInterfaces": "eth1,eth2",
            },
            environment={"ISTIO_META_DNS_CAPTURE": "true", "INVALID_DROP": "true"},
        )[0],
        CaptureSpec(
            proxy_gids=(1337, 2000),
            mode=Mode.TPROXY,
            inbound_ports_include=ALL,
            inbound_ports_exclude=(15020, 1),
            outbound_ip_ranges_include=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
            outbound_ip_ranges_exclude=(ip_network("10.1.0.0/16"),),
            outbound_ports_exclude=(6379,),
            reroute_virtual_interfaces=("net0",),
            owner_groups_include=("java", "1000"),
            owner_groups_exclude=("root",),
            host_ipv4_loopback_cidr=ip_network("127.0.0.0/8"),  # type: ignore[arg-type]
            enable_ipv6=True,
        ),
    ],
    ids=["usual", "transparent", "little", "much"],
)
def test_the_rules_are_made_of_the_same(spec: CaptureSpec | None) -> None:
    """By an init container, and by the node, which reads its words."""
    assert spec is not None
    words = list(render_flags(spec))
    assert parse(words) == spec
    assert parse_spec(parse_flags(words))[0] == spec
