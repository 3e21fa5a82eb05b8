"""What a process in a pod sees of the machine and of its mesh, and what its `securityContext` makes of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotfish.model import capabilities
from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: plain, labels: {app: plain}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, command: [sleep, "1001"], readinessProbe: {exec: {command: [pgrep, -f, sleep 1001]}}}
  - {name: beside, command: [sleep, "1002"]}
---
apiVersion: v1
kind: Pod
metadata: {name: hardened, labels: {app: hardened}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext:
    {runAsUser: 12345, runAsGroup: 12346, runAsNonRoot: true, fsGroup: 12347, supplementalGroups: [12348]}
  volumes: [{name: data, emptyDir: {}}, {name: word, secret: {secretName: word, defaultMode: 0o400}}]
  containers:
  - name: app
    command: [sleep, "1003"]
    workingDir: /usr
    volumeMounts: [{name: data, mountPath: /data}, {name: word, mountPath: /word}]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: swordfish}
---
apiVersion: v1
kind: Pod
metadata: {name: admin, labels: {app: admin}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    command: [sleep, "1004"]
    securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN]}}
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-isolation", MANIFESTS) as mesh:
        yield mesh


def test_a_pod_sees_its_own_processes_alone(mesh: Mesh) -> None:
    seen = mesh.exec("plain", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert "sleep 1001" in seen
    assert "sleep 1002" in seen, "of its other container, as with shareProcessNamespace"
    assert "sleep 1003" not in seen, "of another pod"
    assert "envoy" not in seen
    assert "pilotfish" not in seen
    assert int(mesh.exec("plain", "sh", "-c", "ls -d /proc/[0-9]* | wc -l").stdout) < 8


def test_the_control_socket_can_neither_be_seen_nor_reached(mesh: Mesh) -> None:
    """Though a container's root may write to any socket that it finds."""
    socket = mesh.state / mesh.name / "control.sock"
    assert socket.is_socket()
    for pod, container in (("plain", "app"), ("admin", "app"), ("plain", "istio-proxy")):
        found = mesh.call("exec", pod, "-c", container, "--", "ls", "-A", mesh.state, check=False)
        assert found.stdout == ""
        for path in (socket, f"/proc/1/root{socket}"):
            asked = mesh.call(
                "exec", pod, "-c", container, "--",
                "curl", "-sS", "-m", "2", "--unix-socket", path, "http://mesh/status", check=False,
            )  # fmt: skip
            assert asked.returncode == 7, asked.stderr


def test_a_host_path_leads_to_nothing_of_a_mesh(mesh: Mesh) -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: curious, labels: {app: curious}}\n"
        f"spec: {{volumes: [{{name: v, hostPath: {{path: {mesh.state}/{mesh.name}}}}}], containers: [{{name: app, "
        "command: [sleep, inf], volumeMounts: [{name: v, mountPath: /v}]}]}\n"
    )
    mesh.call("apply", "-f", "-", stdin=text, check=False)  # it may say so, too

    def said() -> list[str]:
        return [p["message"] for p in mesh.status.get("problems", []) if p["name"] == "curious"]

    assert "no pod sees it" in wait_until("it is refused", said)[0]
    mesh.call("delete", "pod", "curious")


def status_bits(mesh: Mesh, pod: str) -> dict[str, int]:
    lines = mesh.exec(pod, "grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status").stdout.splitlines()
    return {line.split(":")[0]: int(line.split()[1], 16) for line in lines}


def test_capabilities(mesh: Mesh) -> None:
    assert status_bits(mesh, "plain")["CapEff"] == capabilities.mask(capabilities.DEFAULT)
    admin = status_bits(mesh, "admin")
    assert admin["CapEff"] == admin["CapBnd"] == capabilities.mask(["CAP_NET_ADMIN"])
    assert mesh.exec("admin", "ip", "link", "set", "lo", "mtu", "60000", check=False).returncode == 0
    assert mesh.exec("plain", "ip", "link", "set", "lo", "mtu", "60001", check=False).returncode != 0
    hardened = status_bits(mesh, "hardened")
    assert (hardened["CapBnd"], hardened["NoNewPrivs"]) == (0, 1)


def test_users_and_groups(mesh: Mesh) -> None:
    assert mesh.exec("hardened", "id", "-u").stdout == "12345\n"
    assert set(mesh.exec("hardened", "id", "-G").stdout.split()) == {"12346", "12347", "12348"}


def test_the_files_of_the_machine_are_read_only_and_volumes_are_the_groups(mesh: Mesh) -> None:
    for path in ("/tmp/pf-no", "/pf-no", "/var/tmp/pf-no"):
        done = mesh.exec("hardened", "touch", path, check=False)
        assert "Read-only file system" in done.stderr
        assert not Path(path).exists()
    mesh.exec("hardened", "touch", "/data/yes")
    assert mesh.exec("hardened", "stat", "-c", "%g", "/data/yes").stdout == "12347\n"
    assert mesh.exec("hardened", "cat", "/word/word").stdout == "swordfish"


def test_a_set_user_id_program_raises_nobody_who_may_not_be(mesh: Mesh) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"pilotfish-e2e-{os.getpid()}-"))
    try:
        folder.chmod(0o755)
        shutil.copy("/usr/bin/id", folder / "id")
        (folder / "id").chmod(0o4755)
        assert mesh.exec("hardened", str(folder / "id"), "-u").stdout == "12345\n"
    finally:
        shutil.rmtree(folder)


def test_root_is_refused_where_the_manifest_says_so(mesh: Mesh) -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: root, labels: {app: root}}\n"
        "spec: {securityContext: {runAsNonRoot: true}, containers: [{name: app, command: [sleep, inf]}]}\n"
    )
    mesh.call("apply", "-f", "-", stdin=text, check=False)  # it may say so, too

    def refused() -> list[dict[str, Any]]:
        return [c for p in mesh.pods("root") for c in p["containers"] if c["name"] == "app" and c.get("message")]

    container = wait_until("it is refused", refused)[0]
    assert container["reason"] == "CreateContainerConfigError"
    assert "container has runAsNonRoot and image will run as root" in container["message"]
    problem = next(p for p in mesh.status["problems"] if p["name"] == "root")
    assert problem["field"] == "spec.securityContext.runAsNonRoot"
    mesh.call("delete", "pod", "root")


def test_a_killed_first_process_costs_a_restart(mesh: Mesh) -> None:
    """Of all containers, as the kernel ends them with it."""
    before = {c["name"]: c["pid"] for c in mesh.pods("plain")[0]["containers"] if c.get("kind") == "app"}
    namespace = Path(f"/proc/{before['app']}/ns/pid").readlink()
    first = next(int(entry.name) for entry in Path("/proc").glob("[0-9]*") if is_first(entry, namespace))
    os.kill(first, signal.SIGKILL)

    def again() -> bool:
        now = {c["name"]: c.get("pid") for c in mesh.pods("plain")[0]["containers"] if c.get("kind") == "app"}
        return all(now[name] not in (None, pid) for name, pid in before.items())

    wait_until("its containers run again", again)
    assert "sleep 1002" in mesh.exec("plain", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout


def is_first(process: Path, namespace: Path) -> bool:
    try:
        numbers = next(re.finditer(r"^NSpid:.*", (process / "status").read_text(), re.M)).group().split()
        return numbers[-1] == "1" and (process / "ns/pid").readlink() == namespace
    except (OSError, StopIteration):
        return False
