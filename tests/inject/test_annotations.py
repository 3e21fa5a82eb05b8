"""A pod's annotations → CaptureSpec."""

from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from pilotfish.capture import ALL, Mode, parse_spec
from pilotfish.inject.annotations import spec_from_annotations
from pilotfish.model import Severity
from pilotfish.model.kinds import POD

PREFIX = "traffic.sidecar.istio.io/"


def test_a_pod_that_says_nothing_has_all_captured() -> None:
    spec, problems = spec_from_annotations({"unrelated": "*"})
    assert problems == ()
    assert spec is not None
    assert (spec.inbound_ports_include, spec.outbound_ip_ranges_include) == (ALL, ALL)
    assert spec.inbound_ports_exclude == (15020, 15021, 15090)
    assert (spec.proxy_uids, spec.proxy_gids, spec.redirect_dns) == ((1337,), (1337,), False)


def test_annotations_of_all_kinds() -> None:
    spec, problems = spec_from_annotations(
        {
            f"{PREFIX}includeInboundPorts": "80,443",
            f"{PREFIX}includeOutboundPorts": "9000",
            f"{PREFIX}includeOutboundIPRanges": "",
            f"{PREFIX}excludeOutboundIPRanges": "10.0.0.0/8",
            f"{PREFIX}excludeInterfaces": "eth1",
            f"{PREFIX}kubevirtInterfaces": "k6t",
        },
        environment={"ISTIO_META_DNS_CAPTURE": "true"},
        enable_ipv6=True,
    )
    assert problems == ()
    assert spec is not None
    assert spec.inbound_ports_include == (80, 443)
    assert spec.outbound_ports_include == (9000,)
    assert spec.outbound_ip_ranges_include == ()
    assert spec.outbound_ip_ranges_exclude == (ip_network("10.0.0.0/8"),)
    assert (spec.exclude_interfaces, spec.reroute_virtual_interfaces) == (("eth1",), ("k6t",))
    assert spec.captures_dns
    assert spec.enable_ipv6


def test_no_inbound_port_at_all() -> None:
    spec, _ = spec_from_annotations({f"{PREFIX}includeInboundPorts": ""})
    assert spec is not None
    assert spec.inbound_ports_include == ()


def test_another_status_port() -> None:
    spec, _ = spec_from_annotations({"status.sidecar.istio.io/port": "15099"})
    assert spec is not None
    assert (spec.inbound_ports_exclude, spec.outbound_ports_exclude) == ((15099, 15021, 15090), (15099,))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{PREFIX}includeInboundPorts", "80,http"),
        (f"{PREFIX}excludeOutboundPorts", "70000"),
        (f"{PREFIX}includeOutboundIPRanges", "10.0.0.0/8,10.1"),
        ("sidecar.istio.io/interceptionMode", "MAGIC"),
    ],
)
def test_a_malformed_annotation_is_an_error_of_the_pod(name: str, text: str) -> None:
    ref = POD.ref("vm", "webapp-0")
    spec, problems = spec_from_annotations({name: text}, ref=ref)
    assert spec is None
    assert [(p.ref, p.field, p.severity) for p in problems] == [(ref, f"metadata.annotations[{name}]", Severity.ERROR)]


def test_an_unknown_annotation_is_a_warning() -> None:
    spec, problems = spec_from_annotations({f"{PREFIX}includeInboundPort": "80"})
    assert spec is not None
    assert [problem.severity for problem in problems] == [Severity.WARNING]
    assert f"did you mean {PREFIX}includeInboundPorts?" in problems[0].message


def test_modes() -> None:
    transparent, _ = spec_from_annotations({"sidecar.istio.io/interceptionMode": "TPROXY"})
    assert transparent is not None
    assert transparent.mode is Mode.TPROXY
    assert spec_from_annotations({"sidecar.istio.io/interceptionMode": "NONE"}) == (None, ())


def test_the_mesh_says_what_a_pod_leaves_out() -> None:
    spec, _ = spec_from_annotations({}, mode="TPROXY", status_port=15099)
    assert spec is not None
    assert (spec.mode, spec.outbound_ports_exclude) == (Mode.TPROXY, (15099,))
    spec, _ = spec_from_annotations({"sidecar.istio.io/interceptionMode": "REDIRECT"}, mode="TPROXY")
    assert spec is not None
    assert spec.mode is Mode.REDIRECT
    assert spec_from_annotations({}, mode="NONE") == (None, ())


def test_what_has_no_annotation_comes_from_proxy_metadata() -> None:
    environment = {
        "INVALID_DROP": "1",
        "ISTIO_OUTBOUND_OWNER_GROUPS": "java,202",
        "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "",
        "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "127.0.0.1/8",
        "OTHER": "x",
    }
    spec, problems = spec_from_annotations({}, environment=environment)
    assert problems == ()
    assert spec is not None
    assert (spec.drop_invalid, spec.owner_groups_include, spec.owner_groups_exclude) == (True, ("java", "202"), ())
    assert spec.host_ipv4_loopback_cidr == ip_network("127.0.0.0/8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("INVALID_DROP", "yes"),
        ("ISTIO_META_DNS_CAPTURE", "on"),
        ("ISTIO_OUTBOUND_OWNER_GROUPS", "a b"),
        ("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "::1/128"),
    ],
)
def test_wrong_proxy_metadata_is_a_problem(name: str, text: str) -> None:
    spec, (problem,) = spec_from_annotations({}, environment={name: text})
    assert spec is None
    assert problem.field == "metadata.annotations[proxy.istio.io/config]"
    assert problem.message.startswith(f"proxyMetadata {name}: {text!r}")
    assert problem.severity is Severity.ERROR


def test_conformance_pods(conformance: Path) -> None:
    for case in yaml.safe_load((conformance / "capture" / "pod-cases.yaml").read_text())["cases"]:
        spec, problems = spec_from_annotations(
            case["annotations"],
            environment=case["sidecar_env"],
            uid=case["sidecar_run_as_user"],
            gid=case["sidecar_run_as_group"],
        )
        expected, _ = parse_spec(case["derived_config"])
        assert (spec, problems) == (expected, ()), case["name"]
