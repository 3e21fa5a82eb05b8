"""A mesh's network, for real: who reaches whom, and that nothing stays behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs, list_names
from pilotfish.runtime.net.leftovers import leftovers, sweep
from pilotfish.runtime.net.names import check_mesh_name, host_interface, node_name, pod_name
from pilotfish.runtime.net.network import MeshNetwork
from tests.runtime.network_world import MESH, addresses

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def reach(client: socket.socket, server: socket.socket, address: str) -> None:
    """A connection from one to the other, at once."""
    with client, server:
        server.bind((address, 0))
        server.listen()
        client.settimeout(2)
        client.connect((address, server.getsockname()[1]))


def families() -> tuple[tuple[int, int], ...]:
    return ((0, socket.AF_INET), (1, socket.AF_INET6))


async def test_pods_node_and_host_reach_each_other(network: MeshNetwork) -> None:
    one, other = addresses(network, 2), addresses(network, 3)
    first = await network.add_pod("vm", "webapp-0", one)
    second = await network.add_pod("vm", "calculator", other)
    for index, family in families():
        reach(first.socket(family), second.socket(family), other[index])
        reach(network.node.socket(family), second.socket(family), other[index])
        reach(socket.socket(family), second.socket(family), other[index])
        reach(second.socket(family), socket.socket(family), str(network.subnets.host[index]))
        reach(second.socket(family), network.node.socket(family), str(network.subnets.node[index]))


async def test_what_nobody_has_is_refused_soon(network: MeshNetwork) -> None:
    pod = await network.add_pod("vm", "webapp-0", addresses(network, 2))
    for family, outside in ((socket.AF_INET, "192.0.2.77"), (socket.AF_INET6, "2001:db8::77")):
        with pod.socket(family) as client:
            client.settimeout(2)
            with pytest.raises(OSError, match=r"unreachable|No route"):
                client.connect((outside, 80))


async def test_an_app_may_listen_on_port_80_as_a_user(network: MeshNetwork) -> None:
    pod = await network.add_pod("vm", "webapp-0", addresses(network, 2))
    code = "import socket; socket.socket().bind(('0.0.0.0', 80))"
    with pod.entered():
        done = subprocess.run(["/usr/bin/python3", "-c", code], user=1000, group=1000, extra_groups=[], check=False)
    assert done.returncode == 0


async def test_a_pod_that_comes_back_at_once_is_reached(network: MeshNetwork) -> None:
    """Its address and its link's name may be taken again; neighbours' tables still lead to it."""
    pod_addresses = addresses(network, 2)
    for _ in range(3):
        pod = await network.add_pod("vm", "webapp-0", pod_addresses)
        reach(socket.socket(), pod.socket(), pod_addresses[0])
        await network.remove_pod("vm", "webapp-0")
    assert not pod.exists()


async def test_pods_may_be_added_side_by_side(network: MeshNetwork) -> None:
    pods = await asyncio.gather(
        *(network.add_pod("vm", f"pod-{number}", addresses(network, number)) for number in range(2, 8))
    )
    reach(pods[0].socket(), pods[5].socket(), addresses(network, 7)[0])


async def test_two_meshes_have_different_subnets(network: MeshNetwork) -> None:
    other = await MeshNetwork.create(f"{MESH}b")
    try:
        assert other.subnets != network.subnets
    finally:
        await other.delete()
    assert network.node.exists()


async def test_two_meshes_that_start_together_have_different_subnets() -> None:
    names = (f"{MESH}x", f"{MESH}y")
    try:
        one, other = await asyncio.gather(*map(MeshNetwork.create, names))
        assert one.subnets != other.subnets
    finally:
        for name in names:
            await sweep(name)


async def test_a_mesh_that_exists_is_not_made_again(network: MeshNetwork) -> None:
    with pytest.raises(MachineError, match=f"pf-{MESH} already exists"):
        await MeshNetwork.create(MESH)
    assert network.node.exists()


async def test_the_hosts_routes_change_by_the_subnet_only() -> None:
    before = _routes()
    network = await MeshNetwork.create(MESH)
    try:
        added = _routes() - before
    finally:
        await network.delete()
    assert added == {str(network.subnets.v4)}
    assert _routes() == before


async def test_all_that_a_dead_mesh_left_is_found_and_removed(network: MeshNetwork) -> None:
    pod = await network.add_pod("vm", "webapp-0", addresses(network, 2))
    with pod.entered():
        process = await asyncio.create_subprocess_exec("sleep", "60")
    found = leftovers(MESH)
    assert found
    assert found.processes == ((process.pid, "sleep"),)
    assert [namespace.name for namespace in found.namespaces] == [f"pf-{MESH}", f"pf-{MESH}.vm.webapp-0"]
    assert found.interface == f"pf-{MESH}"

    removed = await sweep(MESH)

    assert removed == (
        f"process {process.pid} (sleep)",
        f"link pf-{MESH}",
        f"network namespace pf-{MESH}",
        f"network namespace pf-{MESH}.vm.webapp-0",
    )
    assert await process.wait() == -9
    assert not leftovers(MESH)
    assert list_names(f"pf-{MESH}") == ()
    assert await sweep(MESH) == ()


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(not FREEZER.is_dir(), reason="only a freezer makes a process that SIGKILL does not end")
async def test_a_process_that_can_not_be_killed_holds_up_nobody(
    network: MeshNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotfish.runtime.net.leftovers._PATIENCE", 0.2)
    with network.node.entered():
        child = subprocess.Popen(["sleep", "60"])
    group = FREEZER / f"pftest-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        (group / "freezer.state").write_text("FROZEN")
        async with asyncio.timeout(5):
            removed = await sweep(MESH)
        assert f"process {child.pid} (sleep)" in removed
        assert not leftovers(MESH)
    finally:
        (group / "freezer.state").write_text("THAWED")
        assert child.wait(5) == -signal.SIGKILL
        group.rmdir()


async def test_a_mesh_is_not_taken_for_one_with_a_longer_name(network: MeshNetwork) -> None:
    other = NetNs.create(node_name(f"{MESH}-b"))
    try:
        await sweep(MESH)
        assert other.exists()
    finally:
        other.delete()


def test_names_do_not_collide() -> None:
    assert pod_name("m", "a-b", "c") != pod_name("m", "a", "b-c")
    assert not pod_name("a-b", "c", "d").startswith(f"{node_name('a')}.")
    long = [pod_name("m", "n", "p" * 240 + end) for end in "xy"]
    assert long[0] != long[1]
    assert all(len(name) <= 200 for name in long)


@pytest.mark.parametrize(
    "mesh", ["m", "calculator", "a-mesh-with-a-rather-long-name", "a-mesh-with-a-rather-long-nape"]
)
def test_a_links_name_fits(mesh: str) -> None:
    check_mesh_name(mesh)
    assert len(host_interface(mesh)) <= 15
    assert host_interface(mesh).startswith("pf-")


@pytest.mark.parametrize("mesh", ["", "A", "a.b", "-a", "a-", "a/b", "a" * 41])
async def test_a_bad_name_is_refused(mesh: str) -> None:
    with pytest.raises(MachineError, match="can't be a mesh's name"):
        await MeshNetwork.create(mesh)


def _routes() -> set[str]:
    """But for those of meshes that other tests run meanwhile."""
    shown = subprocess.run(["ip", "-json", "route"], capture_output=True, text=True, check=True).stdout
    own = host_interface(MESH)
    return {r["dst"] for r in json.loads(shown) if r.get("dev") == own or not r.get("dev", "").startswith("pf-")}
