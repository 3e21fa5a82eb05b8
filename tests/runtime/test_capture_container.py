"""What a pod's init containers do, with the rights that those have: real namespaces, users and capabilities."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.userns import enter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
ADDRESSES = "198.18.3.2,2001:db8:3::2"
FLAGS = (
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021",
    "--dual-stack",
)
_SCRIPT = """
import os, sys
from pilotfish.model import capabilities
from pilotfish.runtime.linux import syscalls
rights, user, *arguments = sys.argv[1:]
for number in range(41):
    if not capabilities.mask(frozenset(filter(None, rights.split(",")))) >> number & 1:
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
if user != "0":
    os.setgroups(()), os.setgid(int(user)), os.setuid(int(user))
os.execv("/proc/self/exe", [sys.executable, "-c", "from pilotfish.cli import main; main()", *arguments])
"""


@pytest.fixture(params=[NetNs.create, NetNs.create_with_owner], ids=["the machine's", "owned"])
def pod(request: pytest.FixtureRequest) -> Iterator[NetNs]:
    made: NetNs = request.param(f"pf-test-{uuid.uuid4().hex[:8]}")
    try:
        four, six = ADDRESSES.split(",")
        commands = (
            ("link", "add", "eth0", "type", "veth", "peer", "name", "eth1"),
            ("address", "add", f"{four}/24", "dev", "eth0"),
            ("address", "add", f"{six}/64", "dev", "eth0", "nodad"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "eth1", "up"),
        )
        with made.entered():
            for words in commands:
                subprocess.run(["ip", *words], check=True)
        yield made
    finally:
        made.delete()


def run(pod: NetNs, rights: str, user: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a container of the pod: in its user namespace, too."""
    with ExitStack() as stack:
        owner = pod.owner()
        passed = (stack.enter_context(owner.opened()),) if owner else ()
        stack.enter_context(pod.entered())
        argv = (*(enter(*passed) if passed else ()), sys.executable, "-c", _SCRIPT, rights, str(user), *arguments)
        return subprocess.run(argv, capture_output=True, text=True, pass_fds=passed, check=False)


@pytest.mark.parametrize("mode", ["REDIRECT", "TPROXY"])
def test_an_init_container_captures_with_two_capabilities_and_again_after_a_restart(pod: NetNs, mode: str) -> None:
    for _ in range(2):
        done = run(pod, "CAP_NET_ADMIN,CAP_NET_RAW", 0, "capture", "apply", *FLAGS, "-m", mode)
        assert done.returncode == 0, done.stderr
    checked = run(pod, "", 1337, "capture", "check", *FLAGS, "-m", mode, "--wait", "0")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == f"connections are captured ({', '.join(ADDRESSES.split(','))})\n"


def test_the_address_from_which_a_proxy_calls_its_app_is_added_where_the_pod_lacks_it(pod: NetNs) -> None:
    with pod.entered():
        subprocess.run(["ip", "-6", "address", "del", "::6/128", "dev", "lo"], check=True)
    for _ in range(2):
        done = run(pod, "CAP_NET_ADMIN,CAP_NET_RAW", 0, "capture", "apply", *FLAGS)
        assert done.returncode == 0, done.stderr
    with pod.entered(), socket.socket(socket.AF_INET6) as made:
        made.bind(("::6", 0))


def test_a_pod_without_rules_is_told_of_with_the_code_by_which_it_is_found(pod: NetNs) -> None:
    checked = run(pod, "", 1337, "capture", "check", *FLAGS, "--wait", "0")
    assert checked.returncode == 126
    for address in ADDRESSES.split(","):
        assert f"connections to {address} are not captured: what goes to port 15002 does not arrive" in checked.stderr
    assert "DaemonSet pilotfish-cni" in checked.stderr


def test_half_of_the_rules_is_not_enough(pod: NetNs) -> None:
    done = run(pod, "CAP_NET_ADMIN,CAP_NET_RAW", 0, "capture", "apply", *FLAGS, "--family", "4")
    assert done.returncode == 0, done.stderr
    checked = run(pod, "", 1337, "capture", "check", *FLAGS, "--wait", "0")
    assert checked.returncode == 126
    assert "198.18.3.2" not in checked.stderr
    assert "2001:db8:3::2 are not captured" in checked.stderr


def test_rules_that_come_late_are_waited_for(pod: NetNs) -> None:
    with pod.entered():
        waiting = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, "", "1337", "capture", "check", *FLAGS, "--wait", "20"],
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        assert run(pod, "CAP_NET_ADMIN,CAP_NET_RAW", 0, "capture", "apply", *FLAGS).returncode == 0
        assert waiting.communicate(timeout=20)[0].startswith("connections are captured")
    finally:
        waiting.kill()
        waiting.wait()


def test_who_is_not_the_proxy_can_not_try(pod: NetNs) -> None:
    checked = run(pod, "", 1000, "capture", "check", *FLAGS)
    assert checked.returncode == 1
    assert "user 1000 can't try out capture" in checked.stderr
    assert "run it as user 1337" in checked.stderr
