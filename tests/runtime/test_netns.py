"""Network namespaces: made, entered, deleted, and whose processes are in them."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable

import pytest

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs, list_names

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
NAME = f"pftest-{os.getpid()}"


def test_a_new_namespace_has_a_working_loopback(netns: NetNs) -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.6"), (socket.AF_INET6, "::6")):
        with netns.socket(family) as server, netns.socket(family) as client:
            server.bind((address, 0))
            server.listen()
            client.settimeout(5)
            client.connect(server.getsockname()[:2])


def test_a_socket_stays_in_its_namespace(netns: NetNs) -> None:
    with netns.socket() as inside, socket.socket() as outside:
        inside.bind(("127.0.0.1", 0))
        inside.listen()
        with pytest.raises(ConnectionRefusedError):
            outside.connect(inside.getsockname())


def test_iproute2_knows_it(netns: NetNs) -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert netns.name in listed
    assert netns.name in list_names("pftest-")


def test_only_the_calling_thread_enters(netns: NetNs) -> None:
    def where() -> int:
        return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116

    home = where()
    seen: list[int] = []
    with netns.entered():
        thread = threading.Thread(target=lambda: seen.append(NetNs.current().path.stat().st_ino))
        assert where() == netns.path.stat().st_ino != home
    assert where() == home
    thread.start()
    thread.join()
    assert seen == [home]


def test_an_exception_inside_still_leads_back(netns: NetNs) -> None:
    home = NetNs.current().path.stat().st_ino
    with pytest.raises(RuntimeError), netns.entered():
        raise RuntimeError
    assert NetNs.current().path.stat().st_ino == home


def test_its_processes_are_found(netns: NetNs) -> None:
    with netns.entered():
        process = subprocess.Popen(["sleep", "60"])
    try:
        assert netns.pids() == (process.pid,)
    finally:
        process.kill()
        process.wait()
    assert netns.pids() == ()


def test_settings_are_the_namespaces_own(netns: NetNs) -> None:
    def value() -> str:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:  # noqa: PTH123
            return file.read().strip()

    before = value()
    netns.sysctl({"ipv4/ip_unprivileged_port_start": "7", "ipv4/no_such_setting": "1"})
    with netns.entered():
        assert value() == "7"
    assert value() == before


def test_a_name_is_taken_once(netns: NetNs) -> None:
    with pytest.raises(MachineError, match=f"{netns.name} already exists; .*ip netns delete {netns.name}"):
        NetNs.create(netns.name)
    assert netns.exists()


def test_deleting_twice_is_fine(netns: NetNs) -> None:
    netns.delete()
    netns.delete()
    assert not netns.exists()
    assert netns.name not in list_names("pftest-")


def test_a_name_without_a_namespace_can_be_deleted() -> None:
    """What is left where a machine was restarted, or a `create` was killed halfway."""
    namespace = NetNs.named(f"{NAME}-stale")
    namespace.path.touch()
    try:
        assert not namespace.exists()
    finally:
        namespace.delete()
    assert not namespace.path.exists()


@pytest.mark.parametrize("action", [NetNs.pids, NetNs.socket])
def test_a_missing_namespace_is_named(action: Callable[[NetNs], object]) -> None:
    with pytest.raises(MachineError, match=f"network namespace /run/netns/{NAME}-missing can't be opened"):
        action(NetNs.named(f"{NAME}-missing"))
