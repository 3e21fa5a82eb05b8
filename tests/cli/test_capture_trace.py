"""`pilotfish capture trace`, as a user types it."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pilotfish.capture import ALL, CaptureSpec, render_iptables, rules
from pilotfish.cli.app import pilotfish
from pilotfish.runtime import capture
from pilotfish.runtime.linux.netns import NetNs

SPEC = CaptureSpec(inbound_ports_include=ALL, outbound_ip_ranges_include=ALL)
CONFIG = 'inbound_ports_include: "*"\noutbound_ip_ranges_include: "*"\n'
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def run(*arguments: str, text: str = CONFIG) -> Result:
    return CliRunner().invoke(pilotfish, ["capture", "trace", *arguments], input=text)


def test_the_verdict_comes_first_and_then_the_way_to_it() -> None:
    result = run("--config", "-", "in", "tcp", "10.244.0.2:80", "from", "10.244.0.9")
    assert result.exit_code == 0
    assert (
        result.stdout
        == """\
in tcp 10.244.0.2:80 from 10.244.0.9 interface=eth0
=> redirected to port 15006, by nat/ISTIO_IN_REDIRECT/1

PREROUTING
  nat/PREROUTING
     1 yes -p tcp -j ISTIO_INBOUND
           -p tcp: the protocol is tcp
    nat/ISTIO_INBOUND
       1 no  -p tcp -m tcp --dport 15008 -j RETURN
             --dport 15008: the destination port is 80
       2 yes -p tcp -j ISTIO_IN_REDIRECT
             -p tcp: the protocol is tcp
      nat/ISTIO_IN_REDIRECT
         1 yes -p tcp -j REDIRECT --to-ports 15006
               -p tcp: the protocol is tcp
"""
    )


def test_the_connection_may_be_one_word() -> None:
    assert (
        run("--config", "-", "10.96.0.7:80 uid=1337").stdout == run("--config", "-", "10.96.0.7:80", "uid=1337").stdout
    )


def test_rules_of_a_save(tmp_path: Path) -> None:
    saved = tmp_path / "pod.iptables-save"
    saved.write_text(render_iptables(rules(SPEC, 4)))
    assert "=> redirected to port 15001" in run("--rules", str(saved), "10.96.0.7:80").stdout
    assert "=> redirected to port 15001" in run("--rules", "-", "10.96.0.7:80", text=saved.read_text()).stdout


def test_json() -> None:
    document = json.loads(run("--config", "-", "10.96.0.7:80", "-o", "json").stdout)
    assert document["connection"] == "out tcp 10.96.0.7:80 interface=eth0 uid=0 gid=0"
    assert document["verdict"] == {"kind": "redirected", "port": 15001, "dns": False, "rule": "nat/ISTIO_REDIRECT/1"}
    assert document["visited"][1] == {
        "event": "matched",
        "hook": "OUTPUT",
        "id": "nat/OUTPUT/1",
        "rule": "-j ISTIO_OUTPUT",
        "why": "it matches everything",
    }


@pytest.mark.parametrize(
    ("arguments", "text", "says"),
    [
        (("--config", "-", "10.0.0.1"), CONFIG, "10.0.0.1: 10.0.0.1 has no port: write 10.0.0.1:80 for port 80"),
        (("--config", "-", "10.0.0.1:80"), "mod: X", "there is no such field"),
        (("--rules", "-", "10.0.0.1:80"), "nonsense", "line 1: 'nonsense' can't be read"),
        (("--rules", "-", "10.0.0.1:80"), "", "- holds no rules; --rules takes what iptables-save prints"),
        (("--rules", "/nowhere", "10.0.0.1:80"), "", "/nowhere can't be read"),
        (("--rules", "-", "[::1]:80"), "*nat\n-A OUTPUT -d 10.0.0.1 -j ACCEPT", "holds no rules of IPv6"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], text: str, says: str) -> None:
    result = run(*arguments, text=text)
    assert result.exit_code == 1
    assert says in result.stderr


def test_only_one_source_of_rules() -> None:
    assert run("--config", "-", "--rules", "-", "10.0.0.1:80").exit_code == 2


@pytest.fixture
def netns(netns: NetNs) -> NetNs:
    """One with an interface that has an address."""
    commands = "link add eth7 type veth peer name eth8\naddress add 198.51.100.2/24 dev eth7\nlink set eth7 up\n"
    with netns.entered():
        subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    return netns


@needs_root
@pytest.mark.parametrize("backend", capture.PacketFilter)
def test_what_a_namespace_holds(netns: NetNs, backend: capture.PacketFilter) -> None:
    """Its routes tell what the user need not: that an address is its own, the interface, the source."""
    asyncio.run(capture.apply(netns, SPEC, (4,), backend))
    found = [
        run("--netns", netns.name, line).stdout.splitlines()[:2] for line in ("198.51.100.2:80", "198.51.100.9:80")
    ]
    assert found == [
        [
            "out tcp 198.51.100.2:80 from 198.51.100.2 interface=lo uid=0 gid=0 local=yes",
            "=> accepted as it is, by nat/ISTIO_OUTPUT/3",
        ],
        [
            "out tcp 198.51.100.9:80 from 198.51.100.2 interface=eth7 uid=0 gid=0 local=no",
            "=> redirected to port 15001, by nat/ISTIO_REDIRECT/1",
        ],
    ]


@needs_root
def test_an_address_without_a_way_to_it(netns: NetNs) -> None:
    result = run("--netns", netns.name, "203.0.113.7:80")
    assert result.exit_code == 1
    assert "203.0.113.7 can't be reached from network namespace" in result.stderr
