"""The node's parts, each alone: published ports, volumes, whose a mesh is, the control socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from pilotfish.capture import RuleSet, parse_iptables
from pilotfish.capture.spec import Family
from pilotfish.config.kubernetes import PodSpec
from pilotfish.identity.tokens import AUDIENCE, verify
from pilotfish.model import Kind, ObjectRef, Problem
from pilotfish.model.frontend import Frontend
from pilotfish.model.kinds import DAEMON_SET, DEPLOYMENT, POD, SERVICE, STATEFUL_SET
from pilotfish.model.names import NameTable
from pilotfish.model.private import reveal
from pilotfish.node.identity import PodIdentity
from pilotfish.node.projected import File
from pilotfish.node.publish import Endpoints, Publish, Transport
from pilotfish.node.volumes import EmptyDir, HostPath, VolumeFiles
from pilotfish.runtime.closing import stop_serving
from pilotfish.runtime.control.client import (
    Client,
    Refused,
    Unreachable,
    Unstructured,
    find_meshes,
    is_alive,
    process_started,
)
from pilotfish.runtime.control.server import ControlServer
from pilotfish.runtime.control.views import (
    ChangesView,
    ChangeView,
    DiscoveryView,
    MeshView,
    OwnerView,
    ProblemView,
    PublishView,
    RolloutView,
    StatusView,
)
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.node import claim as claiming
from pilotfish.runtime.node import writable
from pilotfish.runtime.node.changes import ChangeCounter
from pilotfish.runtime.node.claim import Claim, find_private, sweep_dead
from pilotfish.runtime.node.ending import Ending, Stopped
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.preflight import check_machine
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import Port, Published
from pilotfish.runtime.node.records import TOKEN_KEY
from pilotfish.runtime.node.status import once
from pilotfish.runtime.node.tokens import TokenMaker
from pilotfish.runtime.node.volumes import write_files, write_volumes

MESH = f"parts-{os.getpid()}"
RULES = parse_iptables(
    "*nat\n:OUTPUT ACCEPT [1:60]\n[1:60] -A OUTPUT -p tcp --dport 80 -j DNAT --to 10.0.0.1:8080\nCOMMIT\n"
)


def _ending() -> tuple[Ending, list[str]]:
    said: list[str] = []
    return Ending(Progress(lambda line: said.append(line.text))), said


async def test_an_end_that_is_asked_for_again_is_hurried() -> None:
    ending, said = _ending()
    ending.ask("SIGINT")
    assert (ending.has_begun, ending.hurried.is_set()) == (True, False)
    ending.ask("SIGINT")
    assert ending.hurried.is_set()
    assert said == ["going down: SIGINT"]


async def test_the_start_is_interrupted_when_the_end_is_asked_for() -> None:
    ending, _ = _ending()
    taken_back = asyncio.Event()

    async def start() -> None:
        try:
            ending.ask("SIGTERM")
            await asyncio.Event().wait()
        finally:
            taken_back.set()

    async with asyncio.timeout(5):
        with pytest.raises(Stopped):
            await ending.interrupt(start())
    assert taken_back.is_set()


async def test_a_start_that_nobody_interrupts_gives_what_it_gives() -> None:
    async def start() -> int:
        return 1

    async def fail() -> None:
        raise CannotStart("no")

    ending, _ = _ending()
    assert await ending.interrupt(start()) == 1
    with pytest.raises(CannotStart):
        await ending.interrupt(fail())


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    data = await reader.read()
    writer.write(data.upper())
    await writer.drain()
    writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    await stop_serving(server)


def _published(*endpoints: tuple[str, int]) -> Published:
    return Published(Port(Publish("127.0.0.1", 0, "web", "vm", "http")), lambda _: endpoints)


async def _ask(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hello")
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_published_port_leads_to_a_ready_pod(echo: int) -> None:
    published = _published(("127.0.0.1", 1), ("127.0.0.1", echo))
    try:
        await published.start()
        answers = [await _ask(published.address) for _ in range(4)]
        assert answers == [b"HELLO"] * 4, "one that refuses is passed over"
    finally:
        await published.close()


async def test_nobody_is_ready() -> None:
    published = _published()
    try:
        await published.start()
        reader, writer = await asyncio.open_connection(*published.address.split(":"))
        assert await reader.read() == b"", "the connection ends at once"
        writer.close()
        await writer.wait_closed()
    finally:
        await published.close()


async def test_a_taken_port_is_said_with_a_remedy(echo: int) -> None:
    with pytest.raises(CannotStart, match=rf"port {echo} of 127.0.0.1 is taken.*choose another: PORT:web.vm:http"):
        Port(Publish("127.0.0.1", echo, "web", "vm", "http"))


def test_a_changed_volume_is_seen_as_a_whole(tmp_path: Path) -> None:
    root = tmp_path / "settings"
    assert write_files(root, {"a": File(b"1", 0o644), "deep/b": File(b"2", 0o400)})
    assert not write_files(root, {"a": File(b"1", 0o644), "deep/b": File(b"2", 0o400)})
    assert (root / "deep/b").read_bytes() == b"2"
    assert (root / "deep/b").stat().st_mode & 0o777 == 0o400
    old = (root / "..data").readlink()
    assert write_files(root, {"a": File(b"3", 0o644), "c": File(b"4", 0o600)})
    assert (root / "..data").readlink() != old
    assert (root / "a").read_bytes() == b"3"
    assert sorted(p.name for p in root.iterdir()) == ["..data", str((root / "..data").readlink()), "a", "c"]


def test_a_volume_that_cannot_be_written_keeps_what_it_has_and_is_mended_later(tmp_path: Path) -> None:
    root = tmp_path / "settings"
    good = {"a": File(b"1", 0o644)}
    write_files(root, good)
    held = sorted(path.name for path in root.iterdir())
    for bad in ({"a": File(b"2", 0o644), "a/b": File(b"3", 0o644)}, {"n" * 300: File(b"2", 0o644)}):
        for _ in range(2):
            with pytest.raises(OSError, match=r"File exists|too long"):
                write_files(root, {**good, **bad})
        assert (root / "a").read_bytes() == b"1"
        assert sorted(path.name for path in root.iterdir()) == held
    assert write_files(root, {"a": File(b"4", 0o644)})
    assert (root / "a").read_bytes() == b"4"


def test_a_full_disk_is_no_end_of_a_volume(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        root = disk / "settings"
        write_files(root, {"a": File(b"1", 0o644)})
        with pytest.raises(OSError, match="No space"):
            write_files(root, {"a": File(b"2" * 2**20, 0o644)})
        assert (root / "a").read_bytes() == b"1"
        assert write_files(root, {"a": File(b"3", 0o644)})
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_fault_stands_until_the_step_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    one, two = POD.ref("default", "one"), POD.ref("default", "two")
    for _ in range(3):
        for ref in (one, two):
            with faults.isolate("it is not made", ref):
                raise ValueError(f"no \ud800 {ref.name}")
    assert faults.count == 6
    assert [record.exc_info is not None for record in caplog.records] == [True, True], "each once"
    assert [problem.ref for problem in faults.problems] == [one, two]
    for problem, record in zip(faults.problems, caplog.records, strict=True):
        mark = record.getMessage().partition(":")[0]
        assert f"node.log: {mark}" in problem.message
        assert msgspec.json.encode(problem.message), "whoever asks for the status is answered"
    with faults.isolate("it is not made", one):
        pass
    assert [problem.ref for problem in faults.problems] == [two]
    faults.forget(two)
    assert faults.problems == ()


def test_volumes_are_nobody_elses_business(tmp_path: Path) -> None:
    contents = (VolumeFiles("secret", {"x": File(b"1", 0o644)}), EmptyDir("shared"))
    write_volumes(tmp_path / "volumes", contents)
    assert (tmp_path / "volumes").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "volumes/shared").stat().st_mode & 0o777 == 0o777
    with pytest.raises(FileNotFoundError, match="none"):
        write_volumes(tmp_path / "volumes", (HostPath("h", str(tmp_path / "none"), "Directory"),))
    write_volumes(tmp_path / "volumes", (HostPath("h", str(tmp_path / "made"), "DirectoryOrCreate"),))
    assert (tmp_path / "made").is_dir()


def view(directory: Path, pid: int) -> MeshView:
    return MeshView(
        name=directory.name,
        pid=pid,
        pid_started=process_started(pid) or 0,
        directory=str(directory),
        started_at=0.0,
        netns="",
        pod_subnets=(),
        sources=(),
    )


def _leave(directory: Path, pid: int) -> None:
    directory.mkdir(parents=True)
    (directory / "mesh.json").write_bytes(msgspec.json.encode(view(directory, pid)))


def test_a_mesh_is_alive_as_long_as_its_process(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        _leave(tmp_path / "one", child.pid)
        assert [is_alive(mesh) for mesh in find_meshes(tmp_path)] == [True]
    finally:
        child.communicate(b"\n")
    assert [is_alive(mesh) for mesh in find_meshes(tmp_path)] == [False]
    reused = msgspec.structs.replace(view(tmp_path, os.getpid()), pid_started=1)
    assert not is_alive(reused), "another process has the number now"


async def test_a_claimed_mesh_is_neither_claimed_again_nor_swept(tmp_path: Path) -> None:
    directory = tmp_path / MESH
    _leave(directory, os.getpid())
    claim = Claim(directory)
    claim.take()
    with pytest.raises(CannotStart, match=rf"runs already, as process {os.getpid()}.*pilotfish down --name {MESH}"):
        Claim(directory).take()
    assert await sweep_dead(tmp_path) == {}
    claim.release()
    assert list(await sweep_dead(tmp_path)) == [MESH]
    assert not directory.exists()


def test_no_pod_sees_what_meshes_keep_and_all_see_the_users_own(tmp_path: Path) -> None:
    _leave(tmp_path / "one", 1)
    (tmp_path / "two").mkdir()  # is just starting
    everywhere = (str(claiming._LOCKS), str(writable.ROOT))
    assert find_private(tmp_path) == (str(tmp_path), *everywhere)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    assert sorted(find_private(tmp_path)) == sorted((str(tmp_path / "one"), str(tmp_path / "two"), *everywhere))


async def test_sweeping_touches_nothing_that_is_no_mesh(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "cat.png"
    photo.parent.mkdir()
    photo.touch()
    assert await sweep_dead(tmp_path) == {}
    assert await sweep_dead(tmp_path, "photos") == {}
    with pytest.raises(CannotStart, match="holds other things than a mesh"):
        Claim(photo.parent).take()
    assert photo.exists()


@pytest.mark.parametrize("left", [(), ("mesh.json",), ("mesh.json", "mesh.json.new", "node.log")])
async def test_a_mesh_killed_in_its_first_moments_is_swept_by_its_name(tmp_path: Path, left: tuple[str, ...]) -> None:
    directory = tmp_path / MESH
    directory.mkdir()
    for name in left:
        (directory / name).touch()
    assert await sweep_dead(tmp_path, MESH) == {MESH: (f"directory {directory}",)}
    assert not directory.exists()
    assert await sweep_dead(tmp_path, MESH) == {}
    assert list(tmp_path.iterdir()) == []


async def test_nobody_but_root_holds_up_a_mesh_by_its_name(tmp_path: Path) -> None:
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); "
        f"s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'pf-{MESH}'); "
        f"os.path.exists('/run/pilotfish.lock/pf-{MESH}') and sys.exit(1); print(flush=True); sys.stdin.read()"
    )
    nobody = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert nobody.stdout is not None
        assert nobody.stdout.readline() == b"\n"
        claim = Claim(tmp_path / MESH)
        claim.take()
        lock = Path(f"/run/pilotfish.lock/pf-{MESH}")
        assert (lock.stat().st_uid, lock.stat().st_mode & 0o777) == (0, 0o600)
        assert lock.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(CannotStart, match="with another PILOTFISH_STATE"):
            Claim(tmp_path / "elsewhere" / MESH).take()
        claim.release()
        assert not lock.exists()
    finally:
        nobody.communicate(b"")


async def test_a_name_is_one_meshs_alone_wherever_its_directory_is(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "here" / MESH)
    claim.take()
    left = NetNs.create(f"pf-{MESH}")
    try:
        with pytest.raises(CannotStart, match="with another PILOTFISH_STATE"):
            Claim(tmp_path / "there" / MESH).take()
        assert await sweep_dead(tmp_path / "there", MESH) == {}
        assert left.exists()
        claim.release()
        assert await sweep_dead(tmp_path / "there", MESH) == {MESH: (f"network namespace pf-{MESH}",)}
    finally:
        left.delete()


def test_a_missing_program_is_named_with_the_package_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = ("iptables-restore", "iptables-save", "ip6tables-restore", "ip6tables-save")
    for program in ("ip", *tables, "nsenter", "unshare"):
        (tmp_path / program).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStart, match=r"^nft can't be found in PATH; install it: apt-get install nftables$"):
        check_machine()


@pytest.mark.skipif(os.geteuid() != 0, reason="the first thing that is missing would be root")
def test_an_env_that_can_not_do_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As busybox' is."""
    (tmp_path / "env").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "env").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CannotStart, match=r"coreutils 8\.31"):
        check_machine()


def test_a_low_limit_of_open_files_is_raised() -> None:
    code = "from pilotfish.runtime.node.preflight import raise_file_limit as r; r(); import os; os.system('ulimit -Sn')"
    limited = ["sh", "-c", 'ulimit -Sn 64; ulimit -Hn 900; exec "$@"', "sh", sys.executable, "-c", code]
    assert subprocess.run(limited, check=True, capture_output=True, text=True).stdout == "900\n"


class Mesh:
    """Answers what a test can tell apart."""

    def __init__(self, directory: Path) -> None:
        self.changes = ChangeCounter()
        self.was_taken_down = False
        self.restarted = ""
        self._view = view(directory, os.getpid())

    async def status(self) -> StatusView:
        discovery = DiscoveryView(running=True, pid=1, restarts=0, xds_address="x", monitoring_address="m")
        return StatusView(mesh=self._view, ready=True, discovery=discovery)

    def objects(self, kind: Kind | None, namespace: str, name: str) -> list[Unstructured]:
        return [{"asked": [str(kind), namespace, name]}]

    def names(self, namespace: str, name: str) -> NameTable | None:
        if name == "none":
            return None
        return NameTable("v1", {f"{name}.{namespace}": ("10.96.0.1",)}, headless=frozenset({"h"}))

    async def rules(self, namespace: str, name: str, family: Family) -> RuleSet | None:
        if name == "none":
            return None
        if family == 6:
            raise MachineError("the program ip6tables-save is missing", "install iptables")
        return RULES

    def frontends(self) -> list[Frontend]:
        return [Frontend("vm", "x", "TCP", 80, ("10.96.0.1",), (("10.244.0.2", 8080),))]

    async def owners(self, trace: bytes) -> list[OwnerView] | None:
        if trace == b"away":
            return None
        return [OwnerView(step=3, kind="Service", group="", namespace="vm", name=trace.decode(), field="spec")]

    async def apply(self, text: str, file: str, namespace: str) -> ChangesView:
        return _one(text, namespace, file, "created")

    async def delete(self, text: str, file: str, namespace: str) -> ChangesView:
        return _one(text, namespace, file, "deleted")

    def delete_object(self, ref: ObjectRef) -> ChangesView:
        return _one(f"{ref.kind} of {ref.kind.group}", ref.namespace, ref.name, "deleted")

    async def patch(self, ref: ObjectRef, change: object, how: str) -> ChangesView:
        return _one(f"{how} {change}", ref.namespace, ref.name, "configured")

    def scale(self, ref: ObjectRef, replicas: int, current: int | None) -> ChangesView:
        return _one(f"{ref.kind} {replicas} {current}", ref.namespace, ref.name, "scaled")

    def restart(self, ref: ObjectRef) -> ChangesView:
        return _one(ref.kind.name, ref.namespace, ref.name, "restarted")

    async def rollout(self, ref: ObjectRef, said: str, wait: float) -> RolloutView | None:
        if ref.name == "none":
            return None
        return RolloutView(namespace=ref.namespace, name=ref.name, done=True, message=f"{said} {wait}")

    async def events(self, since: int, wait: float) -> int:
        return await self.changes.wait(since, wait)

    async def synced(self, wait: float) -> bool:
        return wait == 0.5

    def endpoints(self, text: str, namespace: str) -> Endpoints:
        return ((Publish.parse(text, namespace).target, 53),)

    async def publish(self, text: str, namespace: str) -> PublishView:
        return PublishView(address="127.0.0.1:8080", target=Publish.parse(text, namespace).target)

    async def unpublish(self, address: str, protocol: Transport) -> PublishView | None:
        return PublishView(address=address, target="dns.vm:53", protocol=protocol) if protocol == "UDP" else None

    async def restart_proxy(self, namespace: str, name: str) -> bool:
        self.restarted = f"{name}.{namespace}"
        return name != "none"

    async def down(self) -> None:
        self.was_taken_down = True


def _one(kind: str, namespace: str, name: str, action: str) -> ChangesView:
    change = {"kind": kind, "group": "", "namespace": namespace, "name": name, "action": action}
    return ChangesView(changes=(msgspec.convert(change, ChangeView),))


async def test_everything_that_a_client_asks_arrives(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    server = ControlServer(mesh, tmp_path / "control.sock")
    await server.start()
    client = Client(tmp_path)
    try:
        assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o600
        assert (await asyncio.to_thread(client.status)).ready
        assert await asyncio.to_thread(client.objects, POD, "", "x") == [{"asked": ["Pod", "", "x"]}]
        for call, expected in (
            (lambda: client.apply("text", "f.yaml", "vm"), ("text", "vm", "f.yaml", "created")),
            (lambda: client.delete("text", "f.yaml", "vm"), ("text", "vm", "f.yaml", "deleted")),
            (lambda: client.delete_object(DEPLOYMENT.ref("vm", "x")), ("Deployment of apps", "vm", "x", "deleted")),
            (lambda: client.patch(DEPLOYMENT.ref("vm", "x"), {"a": 1}), ("merge {'a': 1}", "vm", "x", "configured")),
            (lambda: client.scale(STATEFUL_SET.ref("vm", "x"), 3, current=2), ("StatefulSet 3 2", "vm", "x", "scaled")),
            (lambda: client.scale(DEPLOYMENT.ref("vm", "x"), 3), ("Deployment 3 None", "vm", "x", "scaled")),
            (lambda: client.restart(DAEMON_SET.ref("vm", "x")), ("DaemonSet", "vm", "x", "restarted")),
        ):
            change = (await asyncio.to_thread(call)).changes[0]
            assert (change.kind, change.namespace, change.name, change.action) == expected
        names = await asyncio.to_thread(client.names, "vm", "x")
        assert (names.records, names.headless) == ({"x.vm": ("10.96.0.1",)}, {"h"})
        assert await asyncio.to_thread(client.frontends) == mesh.frontends()
        assert await asyncio.to_thread(client.rules, "vm", "x", 4) == RULES
        with pytest.raises(Refused, match="ip6tables-save is missing; install iptables"):
            await asyncio.to_thread(client.rules, "vm", "x", 6)
        with pytest.raises(Refused, match='pods "none" not found'):
            await asyncio.to_thread(client.rules, "vm", "none", 4)
        assert [(each.step, str(each.ref)) for each in await asyncio.to_thread(client.owners, b"x")] == [
            (3, str(SERVICE.ref("vm", "x")))
        ]
        with pytest.raises(Refused, match="discovery does not answer"):
            await asyncio.to_thread(client.owners, b"away")
        with pytest.raises(Refused, match='pods "none" not found'):
            await asyncio.to_thread(client.names, "vm", "none")
        rollout = await asyncio.to_thread(client.rollout, DEPLOYMENT.ref("vm", "x"), "waiting", 0.5)
        assert rollout.message == "waiting 0.5"
        assert await asyncio.to_thread(client.synced, 0.5)
        assert not await asyncio.to_thread(client.synced)
        with pytest.raises(Refused, match=r'deployments\.apps "none" not found in namespace "vm"'):
            await asyncio.to_thread(client.rollout, DEPLOYMENT.ref("vm", "none"))
        with pytest.raises(Refused, match="-1 replicas"):
            await asyncio.to_thread(client.scale, DEPLOYMENT.ref("vm", "x"), -1)
        assert await asyncio.to_thread(client.endpoints, "0:dns:53/udp", "vm") == (("dns.vm:53/udp", 53),)
        assert (await asyncio.to_thread(client.publish, "0:dns:53/udp", "vm")).target == "dns.vm:53/udp"
        with pytest.raises(Refused, match="'dns' is not of the form"):
            await asyncio.to_thread(client.publish, "dns", "vm")
        assert (await asyncio.to_thread(client.unpublish, "127.0.0.1:53", "UDP")).address == "127.0.0.1:53"
        with pytest.raises(Refused, match=r"nothing was published by hand on 127\.0\.0\.1:53 \(TCP\)"):
            await asyncio.to_thread(client.unpublish, "127.0.0.1:53")
        await asyncio.to_thread(client.restart_proxy, "vm", "x")
        assert mesh.restarted == "x.vm"
        with pytest.raises(Refused, match=r"there is no proxy none\.vm"):
            await asyncio.to_thread(client.restart_proxy, "vm", "none")
        await asyncio.to_thread(client.down, 60)
        assert mesh.was_taken_down
    finally:
        await server.stop()
    with pytest.raises(Unreachable):
        client.status()


async def test_waiting_for_a_change(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    server = ControlServer(mesh, tmp_path / "control.sock")
    await server.start()
    try:
        client = Client(tmp_path)
        assert await asyncio.to_thread(client.events, -1) == 0
        waiting = asyncio.create_task(asyncio.to_thread(client.events, 0, 30))
        assert await asyncio.to_thread(client.events, 0, 0.05) == 0, "nothing happened in that time"
        mesh.changes.bump()
        async with asyncio.timeout(5):
            assert await waiting == 1
    finally:
        await server.stop()


async def test_a_state_root_with_a_long_path(tmp_path: Path) -> None:
    """A socket's own path holds 107 bytes."""
    directory = tmp_path / ("long" * 40)
    directory.mkdir()
    server = ControlServer(Mesh(directory), directory / "control.sock")
    await server.start()
    try:
        assert (await asyncio.to_thread(Client(directory).status)).ready
    finally:
        await server.stop()


def test_all_tokens_of_a_mesh_are_made_with_one_key(tmp_path: Path) -> None:
    """Also the first few, which are asked for at one time."""
    for number in range(5):
        directory = tmp_path / str(number)
        directory.mkdir()
        maker = TokenMaker(directory, "127.0.0.1:15012")
        pod = PodIdentity(POD.ref("vm", "web-0"), "u", {}, {}, PodSpec(containers=()), ("10.0.0.1",), "", "", "", "")
        with ThreadPoolExecutor(8) as threads:
            tokens = list(threads.map(lambda _, maker=maker, pod=pod: reveal(maker.authority(pod).token()), range(8)))
        key = (directory / TOKEN_KEY).with_suffix(".pub").read_bytes()
        for token in tokens:
            assert verify(token, (key,), frozenset((AUDIENCE,)), time.time()).pod == "web-0"


def test_what_is_said_of_a_deployment_and_its_pods_stands_once() -> None:
    owner, pods = DEPLOYMENT.ref("vm", "web"), [POD.ref("vm", name) for name in ("web-1", "web-2")]
    said = [
        *(Problem(pod, "spec.volumes", "VolumeNotWritten", "the disk is full") for pod in pods),
        Problem(owner, "spec.template.spec.hostPID", "UnsupportedField", "no"),
        Problem(pods[0], "spec.hostPID", "UnsupportedField", "no"),
        Problem(pods[1], "spec.hostPID", "UnsupportedField", "another thing"),
    ]
    owners = {**dict.fromkeys(pods, owner), POD.ref("vm", "alone"): None}
    kept = [(each.name, each.message) for each in once(map(ProblemView.of, said), owners)]
    assert kept == [("web-1", "the disk is full"), ("web", "no"), ("web-2", "another thing")]
