"""Rules in a real namespace: what is captured, where it was meant to go, and what is let pass."""

import os
import socket
import struct
import subprocess
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from pilotfish.capture import CaptureSpec, diff, parse_iptables, parse_spec, render_iptables, rules
from pilotfish.capture.spec import Family
from pilotfish.runtime import capture
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import loopback
from pilotfish.runtime.linux.command import Completed, run
from pilotfish.runtime.linux.netns import NetNs
from tests.capture.pods import POD

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
PASSTHROUGH: dict[int, str] = {socket.AF_INET: "127.0.0.6", socket.AF_INET6: "::6"}
SO_ORIGINAL_DST = 80
"""linux/netfilter_ipv4.h; the same number for IPv6, at level SOL_IPV6."""
PROXY_USER = 1337
ADDRESS: dict[int, str] = {socket.AF_INET: "198.51.100.2", socket.AF_INET6: "2001:db8:51::2"}
OUTSIDE: dict[int, str] = {socket.AF_INET: "203.0.113.7", socket.AF_INET6: "2001:db8:113::7"}
LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture
def netns(netns: NetNs) -> NetNs:
    """A pod whose only neighbour is silent: an address of its own, and a default route that leads nowhere."""
    netns.sysctl({"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0"})
    configure(
        netns,
        "link add eth0 type veth peer name peer0",
        f"address add {ADDRESS[socket.AF_INET]}/24 dev eth0",
        f"address add {ADDRESS[socket.AF_INET6]}/64 dev eth0 nodad",
        "link set eth0 up",
        "link set peer0 up",
        "route add default dev eth0",
        "route add ::/0 dev eth0",
    )
    return netns


def configure(namespace: NetNs, *commands: str) -> None:
    with namespace.entered():
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def make_socket(netns: NetNs, family: int, kind: int = socket.SOCK_STREAM, user: int = 0) -> socket.socket:
    """For the rules, a socket belongs to who makes it (iptables-extensions(8), owner)."""
    with netns.entered():
        os.setegid(user)
        os.seteuid(user)
        try:
            made = socket.socket(family, kind)
        finally:
            os.seteuid(0)
            os.setegid(0)
    made.settimeout(5)
    return made


def listen(netns: NetNs, family: int, port: int) -> socket.socket:
    """On all addresses, as the sidecar does."""
    server = make_socket(netns, family)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("", port))
    server.listen()
    return server


def connect(netns: NetNs, family: int, target: tuple[str, int], user: int = 0) -> socket.socket:
    client = make_socket(netns, family, user=user)
    client.connect(target)
    return client


def can_connect(netns: NetNs, family: int, target: tuple[str, int], user: int = 0) -> bool:
    """Nobody answers outside, so only what is redirected connects."""
    with make_socket(netns, family, user=user) as client:
        client.settimeout(0.2)
        try:
            client.connect(target)
        except OSError:
            return False
        return True


def original_destination(accepted: socket.socket) -> tuple[str, int]:
    if accepted.family == socket.AF_INET:
        data = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        address = data[4:8]
    else:
        data = accepted.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        address = data[8:24]
    return socket.inet_ntop(accepted.family, address), struct.unpack("!H", data[2:4])[0]


families = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])


@families
async def test_outbound_is_redirected_and_knows_where_it_went(netns: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    target = (OUTSIDE[family], 8888)
    with listen(netns, family, 15001) as proxy, connect(netns, family, target):
        accepted, _ = proxy.accept()
        with accepted:
            assert original_destination(accepted) == target


@families
async def test_the_proxys_own_traffic_passes(netns: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    target = (OUTSIDE[family], 8888)
    with listen(netns, family, 15001):
        assert can_connect(netns, family, target, user=PROXY_USER + 1)
        assert not can_connect(netns, family, target, user=PROXY_USER)


@families
async def test_the_proxy_calls_its_own_pod_by_the_inbound_listener(netns: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    target = (ADDRESS[family], 8888)
    with listen(netns, family, 15006) as proxy, connect(netns, family, target, user=PROXY_USER):
        accepted, _ = proxy.accept()
        with accepted:
            assert original_destination(accepted) == target


@families
@pytest.mark.parametrize("address", [LOOPBACK, ADDRESS], ids=["loopback", "own address"])
async def test_an_app_reaches_itself(netns: NetNs, family: int, address: dict[int, str]) -> None:
    await capture.apply(netns, POD)
    with listen(netns, family, 8888) as app, connect(netns, family, (address[family], 8888)):
        app.accept()[0].close()


@families
async def test_the_proxy_reaches_its_app_from_its_own_address(netns: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    with listen(netns, family, 8888) as app, make_socket(netns, family, user=PROXY_USER) as client:
        client.bind((PASSTHROUGH[family], 0))
        client.connect((ADDRESS[family], 8888))
        accepted, peer = app.accept()
        accepted.close()
    assert peer[0] == PASSTHROUGH[family]


@families
async def test_an_excluded_port_passes(netns: NetNs, family: int) -> None:
    await capture.apply(netns, replace(POD, outbound_ports_exclude=(9999,)))
    with listen(netns, family, 15001):
        assert can_connect(netns, family, (OUTSIDE[family], 9998))
        assert not can_connect(netns, family, (OUTSIDE[family], 9999))


@families
async def test_an_excluded_range_passes(netns: NetNs, family: int) -> None:
    await capture.apply(netns, replace(POD, outbound_ip_ranges_exclude=(ip_network(OUTSIDE[family]),)))
    with listen(netns, family, 15001):
        assert not can_connect(netns, family, (OUTSIDE[family], 8888))


@families
async def test_dns_goes_to_the_agent_and_its_answer_seems_to_come_from_the_server(netns: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    agent = make_socket(netns, family, socket.SOCK_DGRAM, user=PROXY_USER)
    # To loopback, where the redirection leads: the answer then has the source that conntrack expects.
    agent.bind((LOOPBACK[family], 15053))
    with agent, make_socket(netns, family, socket.SOCK_DGRAM, user=1000) as app:
        # A connected socket takes answers from its server only.
        app.connect((OUTSIDE[family], 53))
        app.send(b"question")
        question, client = agent.recvfrom(512)
        agent.sendto(question.upper(), client)
        assert app.recv(512) == b"QUESTION"


@families
async def test_dns_over_tcp_goes_to_the_agent(netns: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    with listen(netns, family, 15053) as agent, connect(netns, family, (OUTSIDE[family], 53)):
        agent.accept()[0].close()


@pytest.fixture
def neighbour(netns: NetNs) -> Iterator[NetNs]:
    """Another pod at the other end of the link: inbound rules see only what comes in."""
    namespace = NetNs.create(f"pftest-{os.getpid()}-neighbour")
    try:
        configure(netns, f"link set peer0 netns {namespace.name}")
        addresses = ("address add 198.51.100.3/24 dev peer0", "address add 2001:db8:51::3/64 dev peer0 nodad")
        configure(namespace, *addresses, "link set peer0 up")
        yield namespace
    finally:
        namespace.delete()


@families
async def test_inbound_is_redirected_and_counted(netns: NetNs, neighbour: NetNs, family: int) -> None:
    await capture.apply(netns, POD)
    target = (ADDRESS[family], 8888)
    with listen(netns, family, 15006) as proxy, connect(neighbour, family, target):
        accepted, _ = proxy.accept()
        with accepted:
            assert original_destination(accepted) == target
    with listen(netns, family, 15020) as agent, connect(neighbour, family, (ADDRESS[family], 15020)):
        agent.accept()[0].close()
    inbound = (await capture.read(netns, 4 if family == socket.AF_INET else 6)).table("nat").chain("ISTIO_INBOUND")
    counted = {str(rule): rule.counters.packets for rule in inbound.rules if rule.counters}
    assert counted == {
        "-p tcp -m tcp --dport 15008 -j RETURN": 0,
        "-p tcp -m tcp --dport 15020 -j RETURN": 1,
        "-p tcp -j ISTIO_IN_REDIRECT": 1,
    }


async def test_applied_twice_is_as_applied_once(netns: NetNs) -> None:
    for _ in range(2):
        await capture.apply(netns, POD)
        for family in capture.FAMILIES:
            assert diff(rules(POD, family), await capture.read(netns, family)) == ()


async def test_another_specification_replaces_the_first(netns: NetNs) -> None:
    await capture.apply(netns, POD)
    smaller = CaptureSpec(inbound_ports_include=(80,), exclude_interfaces=("eth9",))
    for spec in (smaller, POD, smaller):
        await capture.apply(netns, spec)
        for family in capture.FAMILIES:
            assert diff(rules(spec, family), await capture.read(netns, family)) == ()


@pytest.mark.parametrize("backend", ["nft", "legacy"])
async def test_others_rules_survive(netns: NetNs, backend: str) -> None:
    program = f"iptables-{backend}"
    theirs = "*nat\n:THEIRS - [0:0]\n-A OUTPUT -d 192.0.2.9/32 -j ACCEPT\n-A OUTPUT -o eth0 -j THEIRS\nCOMMIT\n"
    await expect(run((f"{program}-restore", "--noflush"), theirs, netns))
    before = await saved(netns, program)
    ours = render_iptables(rules(POD, 4), parse_iptables(before))
    await expect(run((f"{program}-restore", "--noflush"), ours, netns))

    await capture.clean(netns)

    assert parse_iptables(await saved(netns, program)) == parse_iptables(before)


async def expect(running: Awaitable[Completed]) -> Completed:
    completed = await running
    assert completed.returncode == 0, completed.stderr
    return completed


async def saved(netns: NetNs, program: str) -> str:
    return (await expect(run((f"{program}-save",), netns=netns))).stdout


async def test_cleaning_what_is_clean(netns: NetNs) -> None:
    await capture.clean(netns)
    assert (await capture.read(netns)).tables == ()


async def test_a_refused_table_stays_as_it_was(netns: NetNs) -> None:
    await capture.apply(netns, POD)
    with pytest.raises(MachineError, match=r"ip6?tables-restore failed .*no-such-group.*-A ISTIO_OUTPUT"):
        await capture.apply(netns, replace(POD, owner_groups_include=("no-such-group",)))
    assert diff(rules(POD, 4), await capture.read(netns)) == ()


async def test_missing_iptables_is_named(netns: NetNs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"iptables-save is missing; install it: apt-get install iptables"):
        await capture.apply(netns, POD)


async def test_conformance_the_kernel_holds_the_same(conformance: Path, netns: NetNs) -> None:
    """Istio's expected text and ours, each loaded into an empty namespace, are saved as the same text."""
    folder = conformance / "capture"
    for case in yaml.safe_load((folder / "cases.yaml").read_text()):
        spec, _ = parse_spec(case["config"])
        assert spec is not None
        for family in capture.FAMILIES:
            expected = case[f"expect_v{family}"]
            if expected:
                theirs = await _load(netns, family, (folder / "expected" / expected).read_text())
                ours = await _load(netns, family, render_iptables(rules(spec, family)))
                assert ours == theirs, case["name"]


async def _load(netns: NetNs, family: Family, text: str) -> list[str]:
    """What a save shows; names of groups that this machine lacks are replaced by numbers."""
    program = "iptables" if family == 4 else "ip6tables"
    text = text.replace("-owner java", "-owner 3001").replace("-owner ftp", "-owner 3002")
    await expect(run((f"{program}-restore",), "*nat\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n", netns))
    await expect(run((f"{program}-restore", "--noflush"), text, netns))
    return [line for line in (await saved(netns, program)).splitlines() if line.startswith("-A")]


async def test_a_kernel_without_ipv6_is_captured_for_ipv4_alone(netns: NetNs, monkeypatch: pytest.MonkeyPatch) -> None:
    """An injector can't know it, and asks for both."""
    spec = CaptureSpec(inbound_ports_include="*", enable_ipv6=True)
    monkeypatch.setattr(loopback, "knows_ipv6", lambda: False)
    await capture.apply(netns, spec)
    assert await capture.verify(netns, spec) == ()
    monkeypatch.undo()
    assert {drift.where for drift in await capture.verify(netns, spec)} == {"iptables-nft IPv6"}
