"""What the init container of a pod is told, and what `pilotfish capture` makes of it."""

from __future__ import annotations

from ipaddress import ip_network

import click
import pytest
from click.testing import CliRunner

from pilotfish.capture import ALL, CaptureSpec, Mode
from pilotfish.cli.capture_config import config_options, read_spec
from pilotfish.inject.annotations import spec_from_annotations
from pilotfish.inject.pod.capture import render_flags

_PREFIX = "traffic.sidecar.istio.io/"


def parse(arguments: list[str]) -> CaptureSpec:
    found: list[CaptureSpec] = []

    @click.command
    @config_options
    def command(config: str | None, flags: dict[str, object], output: str) -> None:
        found.append(read_spec(config, flags))

    result = CliRunner().invoke(command, arguments)
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
    assert spec is not None
    assert parse(list(render_flags(spec))) == spec
