"""Three back-ends in real namespaces: put in, replaced, verified, taken out, with others' rules beside them."""

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.capture import ALL, CaptureSpec, Mode, diff, native_rules, parse_nft, parse_spec, rules
from pilotfish.runtime import capture
from pilotfish.runtime.capture import Drift, PacketFilter
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs
from tests.capture.pods import POD

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
TRANSPARENT = replace(POD, mode=Mode.TPROXY, exclude_interfaces=("eth7",), drop_invalid=True)
DOCKER = """\
*nat
:DOCKER_OUTPUT - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:38497
COMMIT
*filter
-A INPUT -i eth9 -j DROP
COMMIT
"""
FIREWALL = """\
table inet firewall {
    chain input {
        type filter hook input priority 0; policy accept;
        iifname { "eth8", "eth9" } drop comment "not { here }"
    }
}
"""
BACKENDS = pytest.mark.parametrize("backend", list(PacketFilter))


def inside(netns: NetNs, *argv: str, text: str | None = None) -> str:
    with netns.entered():
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


def everything(netns: NetNs) -> dict[str, str]:
    """All that can be seen, without counters: of each back-end, and of routing."""
    # nft itself can't show all that iptables-nft has put in.
    seen = {"nft": inside(netns, "nft", "--stateless", "list", "ruleset", "inet")}
    seen["chains"] = "".join(sorted(inside(netns, "nft", "list", "chains").split("\n}\n")))
    for program in (f"{name}-{kind}-save" for name in ("iptables", "ip6tables") for kind in ("nft", "legacy")):
        # A legacy table stays once it was used; it says nothing while its chains are empty and accept.
        lines = (line.partition(" [")[0] for line in inside(netns, program).splitlines())
        seen[program] = "\n".join(line for line in lines if line[0] in "-:" and not line.endswith(" ACCEPT"))
    for family in ("-4", "-6"):
        seen[f"rule {family}"] = inside(netns, "ip", family, "rule")
        # A table that nobody ever used can't be shown.
        seen[f"route {family}"] = inside(netns, "sh", "-c", f"ip {family} route show table 133 2>/dev/null || true")
    return seen


@BACKENDS
@pytest.mark.parametrize("spec", [POD, TRANSPARENT], ids=["redirect", "tproxy"])
async def test_what_is_applied_is_there_and_nothing_is_left(
    netns: NetNs, backend: PacketFilter, spec: CaptureSpec
) -> None:
    before = everything(netns)
    assert await capture.apply(netns, spec, backend=backend) is backend
    assert await capture.verify(netns, spec) == ()
    await capture.clean(netns)
    assert everything(netns) == before


@BACKENDS
async def test_applying_twice_changes_nothing(netns: NetNs, backend: PacketFilter) -> None:
    await capture.apply(netns, TRANSPARENT, backend=backend)
    before = inside(netns, "nft", "--handle", "--stateless", "list", "ruleset"), everything(netns)
    assert await capture.apply(netns, TRANSPARENT) is backend
    assert (inside(netns, "nft", "--handle", "--stateless", "list", "ruleset"), everything(netns)) == before


@BACKENDS
@pytest.mark.parametrize("old", list(PacketFilter))
async def test_another_configuration_leaves_exactly_the_new(
    netns: NetNs, old: PacketFilter, backend: PacketFilter
) -> None:
    await capture.apply(netns, POD, backend=backend)
    fresh = everything(netns)
    await capture.clean(netns)
    await capture.apply(netns, replace(TRANSPARENT, tproxy_mark=7, tproxy_route_table=8), backend=old)
    await capture.apply(netns, POD, backend=backend)
    assert await capture.verify(netns, POD, backend=backend) == ()
    assert everything(netns) == fresh


@BACKENDS
@pytest.mark.parametrize("kind", ["nft", "legacy"])
async def test_others_rules_survive(netns: NetNs, backend: PacketFilter, kind: str) -> None:
    inside(netns, f"iptables-{kind}-restore", text=DOCKER)
    inside(netns, "nft", "-f", "-", text=FIREWALL)
    before = everything(netns)
    await capture.apply(netns, TRANSPARENT, backend=backend)
    await capture.apply(netns, POD, backend=backend)
    saved = inside(netns, f"iptables-{kind}-save")
    assert all(line in saved for line in DOCKER.splitlines() if line.startswith("-A"))
    assert await capture.verify(netns, POD) == ()
    await capture.clean(netns)
    assert everything(netns) == before


@pytest.mark.parametrize(
    ("text", "program", "expected"),
    [
        ("", "true", PacketFilter.IPTABLES_NFT),
        (DOCKER, "iptables-nft-restore", PacketFilter.IPTABLES_NFT),
        (DOCKER, "iptables-legacy-restore", PacketFilter.IPTABLES_LEGACY),
        (FIREWALL, "nft -f -", PacketFilter.NFT),
    ],
)
async def test_the_backend_that_is_in_use_is_taken(
    netns: NetNs, text: str, program: str, expected: PacketFilter
) -> None:
    inside(netns, *program.split(), text=text)
    assert await capture.apply(netns, POD) is expected


async def test_nft_is_taken_where_iptables_is_missing(
    netns: NetNs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nft").symlink_to("/usr/sbin/nft")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await capture.apply(netns, POD) is PacketFilter.NFT
    assert await capture.verify(netns, POD) == ()
    await capture.clean(netns)
    assert not (await capture.read(netns)).tables


def said(drifts: tuple[Drift, ...]) -> list[str]:
    return [str(drift) for drift in drifts]


async def test_drift_in_iptables_is_named(netns: NetNs) -> None:
    await capture.apply(netns, POD)
    inside(netns, "iptables", "-t", "nat", "-D", "ISTIO_INBOUND", "-p", "tcp", "--dport", "15020", "-j", "RETURN")
    inside(netns, "iptables", "-t", "nat", "-A", "ISTIO_REDIRECT", "-p", "udp", "-j", "ACCEPT")
    inside(netns, "ip6tables", "-t", "nat", "-R", "ISTIO_IN_REDIRECT", "1", "-p", "tcp", "-j", "REDIRECT", "--to", "7")
    assert said(await capture.verify(netns, POD)) == [
        "iptables-nft IPv4: missing: nat/ISTIO_INBOUND/2: -p tcp -m tcp --dport 15020 -j RETURN",
        "iptables-nft IPv4: foreign: nat/ISTIO_REDIRECT/2: -p udp -j ACCEPT",
        "iptables-nft IPv6: changed: nat/ISTIO_IN_REDIRECT/1: -p tcp -j REDIRECT --to-ports 15006"
        " (it is: -p tcp -j REDIRECT --to-ports 7)",
    ]


async def test_drift_in_nft_is_named(netns: NetNs) -> None:
    await capture.apply(netns, POD, backend=PacketFilter.NFT)
    inside(netns, "nft", "add rule inet istio-proxy-nat output ip ttl 7 counter accept")
    inside(netns, "nft", "add chain inet istio-proxy-nat input { type nat hook input priority 0; policy drop; }")
    inside(netns, "nft", "flush chain inet istio-proxy-nat istio-redirect")
    assert said(await capture.verify(netns, POD)) == [
        "nft: missing: nat/ISTIO_REDIRECT/1: -p tcp -j REDIRECT --to-ports 15001",
        'nft: foreign: nat/OUTPUT/2: -m nft --rule "ip ttl 7 counter accept" -j nft',
        "nft: foreign: nat/input: type nat hook input priority 0 drop",
    ]


async def test_the_rules_of_two_backends_at_once_are_a_drift(netns: NetNs) -> None:
    await capture.apply(netns, POD, backend=PacketFilter.IPTABLES_LEGACY)
    inside(
        netns, "nft", "-f", "-", text="add table inet istio-proxy-nat\nadd chain inet istio-proxy-nat istio-output\n"
    )
    found = said(await capture.verify(netns, POD, backend=PacketFilter.IPTABLES_LEGACY))
    assert found == ["nft: foreign: nat/ISTIO_OUTPUT: -N ISTIO_OUTPUT"]


async def test_drift_in_routing_is_named(netns: NetNs) -> None:
    await capture.apply(netns, TRANSPARENT)
    inside(netns, "ip", "rule", "del", "fwmark", "1337")
    inside(netns, "ip", "-6", "route", "flush", "table", "133")
    assert said(await capture.verify(netns, TRANSPARENT)) == [
        "routing IPv4: missing: ip rule: fwmark 1337 lookup 133",
        "routing IPv6: missing: ip route: local default dev lo table 133",
    ]
    await capture.apply(netns, TRANSPARENT)
    assert await capture.verify(netns, TRANSPARENT) == ()
    assert "proto 137" in inside(netns, "ip", "-d", "rule")


async def test_what_istio_left_is_removed_too(netns: NetNs) -> None:
    inside(netns, "ip", "rule", "add", "fwmark", "1337", "lookup", "133")
    inside(netns, "ip", "route", "add", "local", "default", "dev", "lo", "table", "133")
    await capture.clean(netns)
    assert "133" not in inside(netns, "ip", "rule")
    assert not everything(netns)["route -4"]


async def test_a_refused_nft_transaction_leaves_the_old(netns: NetNs) -> None:
    await capture.apply(netns, POD, backend=PacketFilter.NFT)
    with pytest.raises(MachineError, match=r"nft failed .*no-such-group"):
        await capture.apply(netns, replace(POD, owner_groups_include=("no-such-group",)), backend=PacketFilter.NFT)
    assert await capture.verify(netns, POD) == ()


async def test_groups_names_are_the_kernels_numbers(netns: NetNs) -> None:
    spec = replace(POD, owner_groups_include=("daemon", "202"))
    for backend in PacketFilter:
        await capture.apply(netns, spec, backend=backend)
        assert await capture.verify(netns, spec, backend=backend) == ()


async def test_each_family_alone(netns: NetNs) -> None:
    for backend in PacketFilter:
        await capture.apply(netns, POD, families=(4,), backend=backend)
        assert await capture.verify(netns, replace(POD, enable_ipv6=False), backend=backend) == ()


async def test_conformance_nft_in_the_kernel(conformance: Path, netns: NetNs) -> None:
    """Istio's transaction and ours, each loaded into the kernel, are listed as the same rules."""
    import yaml

    folder = conformance / "capture"
    for case in yaml.safe_load((folder / "cases.yaml").read_text()):
        spec, _ = parse_spec(case["config"])
        assert spec is not None
        theirs = (folder / "expected-nft" / case["expect_nft"]).read_text()
        # Groups that this machine lacks.
        theirs = theirs.replace("skgid java", "skgid 3001").replace("skgid != java", "skgid != 3001")
        theirs = theirs.replace("skgid ftp", "skgid 3002")
        numbers = {"java": "3001", "ftp": "3002"}
        include = spec.owner_groups_include
        spec = replace(
            spec,
            owner_groups_include=include if include == ALL else tuple(numbers.get(name, name) for name in include),
            owner_groups_exclude=tuple(numbers.get(name, name) for name in spec.owner_groups_exclude),
        )
        await capture.clean(netns)
        inside(netns, "nft", "-f", "-", text=theirs)
        listed = parse_nft(inside(netns, "nft", "-y", "list", "ruleset"))
        assert [str(one) for one in diff(native_rules(spec), listed, whole=True)] == [], case["name"]
        await capture.apply(netns, spec, backend=PacketFilter.NFT)
        assert await capture.verify(netns, spec) == (), case["name"]
        assert rules(spec, 4).tables


@BACKENDS
async def test_two_who_apply_at_once_do_not_disturb_each_other(netns: NetNs, backend: PacketFilter) -> None:
    for _ in range(3):
        both = (capture.apply(netns, TRANSPARENT, backend=backend), capture.apply(netns, POD, backend=backend))
        await asyncio.gather(*both)
        await capture.apply(netns, TRANSPARENT, backend=backend)
        assert await capture.verify(netns, TRANSPARENT, backend=backend) == ()
