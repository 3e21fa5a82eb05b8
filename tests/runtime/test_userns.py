"""The user namespace of a mesh: what its proxy may do there, and that neither it nor an app may do more."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.model import capabilities
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import syscalls
from pilotfish.runtime.linux.netns import NetNs, list_names
from pilotfish.runtime.linux.process import PIPE, STDOUT, ProcessSpec, start
from pilotfish.runtime.linux.spare import SpareLauncher
from pilotfish.runtime.linux.userns import NoUserNs
from pilotfish.runtime.net.leftovers import leftovers, sweep
from pilotfish.runtime.net.network import MeshNetwork
from tests.runtime.network_world import MESH, add

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
WHERE = ("readlink", "/proc/self/ns/net")


def proxy(network: MeshNetwork, *argv: str) -> ProcessSpec:
    """As the machine's Envoy is started."""
    return ProcessSpec(
        argv,
        ENV,
        uid=1337,
        gid=1337,
        netns=network.node,
        userns=network.userns,
        keep_capabilities=frozenset(("CAP_SYS_ADMIN",)),
        stdout=PIPE,
        stderr=STDOUT,
    )


async def said(spec: ProcessSpec) -> tuple[int, str]:
    process = await start(spec)
    assert process.stdout is not None
    text = await process.stdout.read()
    return await process.wait(), text.decode().strip()


def named(netns: NetNs) -> str:
    return f"net:[{netns.path.stat().st_ino}]"


async def test_the_proxy_enters_pods_and_comes_back(network: MeshNetwork) -> None:
    one, other = await add(network, 2), await add(network, 3)
    ways = [f"--net={each.path}" for each in (one, other, network.node)]
    there = ("sh", "-c", f"nsenter {ways[0]} {' '.join(WHERE)}; nsenter {ways[0]} nsenter {ways[1]} {' '.join(WHERE)}")
    assert await said(proxy(network, *there)) == (0, f"{named(one)}\n{named(other)}")
    back = ("nsenter", ways[0], "nsenter", ways[2], *WHERE)
    assert await said(proxy(network, *back)) == (0, named(network.node))


async def test_a_waiting_launcher_starts_it_the_same(network: MeshNetwork, tmp_path: Path) -> None:
    pod = await add(network, 2)
    spare = SpareLauncher()
    spare.prepare()
    output = tmp_path / "output"
    spec = proxy(network, "nsenter", f"--net={pod.path}", "sh", "-c", f"id -u; {' '.join(WHERE)}")
    try:
        process = await start(replace(spec, stdout=str(output)), spare)
        assert await process.wait() == 0
        assert output.read_text().split() == ["1337", named(pod)]
    finally:
        spare.close()


@contextmanager
def hosts_namespace() -> Iterator[Path]:
    """A file by which anybody could enter it, if he may."""
    path = Path(f"/run/netns/pftest-{os.getpid()}-host")
    path.touch()
    try:
        syscalls.mount("/proc/self/ns/net", str(path), None, syscalls.MS_BIND)
        yield path
    finally:
        NetNs(path).delete()


async def test_the_proxy_enters_nothing_else(network: MeshNetwork) -> None:
    stranger = await add(network, 2, owned=False)
    with hosts_namespace() as host:
        for path in (stranger.path, host):
            code, text = await said(proxy(network, "nsenter", f"--net={path}", *WHERE))
            assert (code, "Operation not permitted" in text) == (1, True), text


@pytest.mark.parametrize(
    "command",
    [
        ("mount", "-t", "tmpfs", "none", "/mnt"),
        ("umount", "/run/netns"),
        ("hostname", "mine"),
        ("cat", "/etc/shadow"),
        ("ip", "link", "add", "mine", "type", "dummy"),
        ("iptables-save",),
        ("kill", "-0", str(os.getpid())),
        ("nsenter", "--mount=/proc/1/ns/mnt", "true"),
        ("nsenter", "--user=/proc/1/ns/user", "true"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
async def test_the_proxy_may_do_nothing_else(network: MeshNetwork, command: tuple[str, ...]) -> None:
    code, text = await said(proxy(network, *command))
    assert code != 0, text
    assert any(why in text for why in ("denied", "not permitted", "ermission", "must be")), text


async def test_the_proxy_has_one_capability_and_gains_none(network: MeshNetwork) -> None:
    code, text = await said(proxy(network, "grep", "-E", "^(Cap|NoNewPrivs|Uid|Groups)", "/proc/self/status"))
    found = dict(line.split(":", 1) for line in text.splitlines())
    only = f"{1 << 21:016x}"
    assert code == 0
    assert {found[f"Cap{name}"].strip() for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {only}
    assert (found["NoNewPrivs"].strip(), found["Groups"].strip()) == ("1", "")
    assert found["Uid"].split() == ["1337"] * 4


async def test_files_belong_to_whom_they_did(network: MeshNetwork, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.chown(file, 4_000_000_000, 3_000_000_000)
    spec = ProcessSpec(("stat", "-c", "%u %g", str(file)), ENV, userns=network.userns, stdout=PIPE, stderr=STDOUT)
    assert await said(spec) == (0, "4000000000 3000000000")


def app(pod: NetNs, *argv: str, inside: bool = True, add: str = "") -> ProcessSpec:
    """Root, with what every container may do, in a pod whose network is owned."""
    return ProcessSpec(
        argv,
        ENV,
        netns=pod,
        userns=pod.owner() if inside else None,
        bounding=capabilities.DEFAULT | ({add} if add else set()),
        stdout=PIPE,
        stderr=STDOUT,
    )


CHANGE = ("ip", "link", "set", "lo", "mtu", "60000")
AS_OWNER = ("setpriv", f"--reuid={2**32 - 2}", "--clear-groups")


async def test_an_apps_root_may_not_change_its_network_whoever_it_becomes(network: MeshNetwork) -> None:
    """The last one shows what for it is in the user namespace: from outside of it, its owner has all rights there."""
    pod = await add(network, 2)
    for before in ((), AS_OWNER):
        code, text = await said(app(pod, *before, *CHANGE))
        assert (code, "not permitted" in text) == (2, True), text
    assert (await said(app(pod, *CHANGE, inside=False)))[0] == 2
    assert await said(app(pod, *AS_OWNER, *CHANGE, inside=False)) == (0, "")


async def test_an_app_may_do_what_it_was_given(network: MeshNetwork, tmp_path: Path) -> None:
    pod = await add(network, 2)
    file = tmp_path / "file"
    file.touch()
    assert await said(app(pod, "chown", "12345:12346", str(file))) == (0, "")
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12346)
    raw = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); socket.socket().bind(('0.0.0.0', 80))"
    for command in (
        ("/usr/bin/python3", "-c", raw),
        ("cat", "/etc/shadow"),
        ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "true"),
        ("chroot", "/", "true"),
        ("sh", "-c", "setpriv --reuid=1000 --clear-groups sleep 60 & kill $!"),
        ("unshare", "--user", "--map-root-user", "--net", "true"),
    ):
        code, text = await said(app(pod, *command))
        assert code == 0, text
    assert await said(app(pod, *CHANGE, add="CAP_NET_ADMIN")) == (0, "")


async def test_an_app_enters_no_other_pods_network(network: MeshNetwork) -> None:
    one, other = await add(network, 2), await add(network, 3)
    for before in ((), AS_OWNER):
        for path in (other.path, network.node.path):
            code, text = await said(app(one, *before, "nsenter", f"--net={path}", *WHERE, add="CAP_NET_ADMIN"))
            assert (code, "not permitted" in text) == (1, True), text


async def test_owned_pods_may_be_added_side_by_side(network: MeshNetwork) -> None:
    pods = await asyncio.gather(*(add(network, number) for number in range(2, 8)))
    with pods[0].socket() as client, pods[5].socket() as server:
        server.bind((str(network.subnets.v4[7]), 0))
        server.listen()
        client.settimeout(2)
        client.connect(server.getsockname())


async def test_who_no_longer_wants_a_pod_leaves_none_behind(network: MeshNetwork) -> None:
    adding = asyncio.create_task(add(network, 2))
    await asyncio.sleep(0)  # it has begun
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert list_names(f"pf-{MESH}") == (f"pf-{MESH}",)


async def test_it_goes_with_the_mesh(network: MeshNetwork) -> None:
    pod = await add(network, 2)
    process = await start(replace(proxy(network, "sleep", "60"), stdout=None))
    assert leftovers(MESH).processes == ((process.pid, "sleep"),)
    await sweep(MESH)
    assert await process.wait() == -signal.SIGKILL
    assert not pod.exists()
    assert list_names(f"pf-{MESH}") == ()


async def test_a_kernel_that_makes_none_still_has_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> NetNs:
        raise NoUserNs(f"{name}: No space left on device", "")

    monkeypatch.setattr(NetNs, "create_with_owner", refused)
    network = await MeshNetwork.create(MESH)
    try:
        await add(network, 2, owned=False)
        with pytest.raises(MachineError, match=f"pf-{MESH}.vm.pod-3 can't be owned by a user namespace"):
            await add(network, 3)
        assert list_names(f"pf-{MESH}") == (f"pf-{MESH}", f"pf-{MESH}.vm.pod-2")
    finally:
        await sweep(MESH)


def test_the_kernels_refusal_is_passed_on() -> None:
    """Here by a user namespace in which no further ones may be made."""
    code = (
        "from pilotfish.runtime.linux.netns import NetNs;"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0'); NetNs.create_with_owner('mine')"
    )
    script = f'mount -t tmpfs none /run && exec {sys.executable} -c "{code}"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()[-1]
    assert "No space left on device; allow them: sysctl -w user.max_user_namespaces=10000" in said
