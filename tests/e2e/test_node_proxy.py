"""One Envoy for the pods of a machine that ask for it: each is who it is, and what comes or goes costs no other."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from pilotfish.agent.readiness import parse_stats
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Request
from pilotfish.runtime.linux.netns import NetNs
from tests.e2e.apps import PEERS
from tests.e2e.harness import ADD, CALCULATOR, PILOTFISH, REPOSITORY, WEBAPP, MakeMesh, Mesh, leftovers
from tests.waiting import wait_until

BENCH = REPOSITORY / "bench"
RATE, SECONDS = 200, 2.4
UNDER_WAY = 16
"""Requests that the end of one Envoy may cost, in which those of both sides are."""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: friends, namespace: vm}
spec:
  selector: {matchLabels: {kind: server}}
  rules: [{from: [{source: {principals: [cluster.local/ns/vm/sa/friend]}}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: vm}
data:
  peers.py: |
"""
SERVER = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: vm}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8000}}, {{name: tcp, port: 7000}}]}}
---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: vm
  labels: {{app: {name}, kind: server}}
  annotations: {{pilotfish.io/proxy: {proxy}}}
spec:
  volumes: [{{name: app, configMap: {{name: app}}}}]
  containers:
  - name: app
    command: [{python}, /app/peers.py, 0.0.0.0]
    volumeMounts: [{{name: app, mountPath: /app}}]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
"""
STEADY = f"""
apiVersion: v1
kind: Service
metadata: {{name: steady, namespace: vm}}
spec: {{selector: {{app: steady}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: steady, namespace: vm}}
spec:
  selector: {{matchLabels: {{app: steady}}}}
  template:
    metadata: {{labels: {{app: steady}}}}
    spec:
      containers:
      - name: app
        command: [{sys.executable}, -S, -E, {BENCH}/http_server.py, "8000"]
        readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: webapp-0, namespace: vm}}
spec: {{containers: [{{name: app, command: [sleep, infinity]}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: named, namespace: vm}}
spec:
  serviceName: named
  selector: {{matchLabels: {{app: named}}}}
  template:
    metadata: {{labels: {{app: named}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: app, command: [sleep, infinity]}}]
"""
MANY = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: many, namespace: vm}}
spec:
  replicas: {count}
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: app, command: [sleep, infinity]}}]
"""
CLIENT = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: vm, annotations: {{pilotfish.io/proxy: {proxy}}}}}
spec: {{serviceAccountName: {account}, containers: [{{name: app, command: [sleep, infinity]}}]}}
---
"""


def machines_proxy(mesh: Mesh) -> dict[str, Any]:
    """Its view."""
    found: dict[str, Any] = next(each for each in mesh.status["proxies"] if each.get("serves"))
    return found


def counts(mesh: Mesh, names: str) -> dict[str, int]:
    """Figures of the machine's Envoy, by name."""
    netns = NetNs.named(f"pf-{mesh.name}")
    answer = blocking.ask(netns.socket(), ("127.0.0.1", 15000), Request("GET", f"/stats?filter=^{names}$"), 5)
    return parse_stats(answer.body.decode())


def counted(mesh: Mesh, name: str) -> int:
    (count,) = counts(mesh, name).values()
    return count


@pytest.fixture(scope="module")
def mixed(make_mesh: MakeMesh) -> Iterator[Mesh]:
    """Clients and servers of both kinds; of the clients, a friend and a stranger each."""
    app = "".join(f"    {line}\n" for line in PEERS.splitlines())
    text = STRICT + app + "---\n"
    for proxy in ("node", "sidecar"):
        text += SERVER.format(name=f"server-{proxy}", proxy=proxy, python=sys.executable)
        text += CLIENT.format(name=f"friend-{proxy}", proxy=proxy, account="friend")
        text += CLIENT.format(name=f"stranger-{proxy}", proxy=proxy, account="stranger")
    with make_mesh("e2e-node-mixed", text.removesuffix("---\n"), "--proxy", "sidecar") as mesh:
        yield mesh


@pytest.mark.parametrize("server", ["node", "sidecar"])
@pytest.mark.parametrize("client", ["node", "sidecar"])
@pytest.mark.parametrize(("account", "code"), [("friend", "200"), ("stranger", "403")])
def test_a_policy_by_identity_holds_between_all(mixed: Mesh, client: str, server: str, account: str, code: str) -> None:
    """Mutual TLS is asked for, so that each is known by its certificate. On the same Envoy as much as on two."""
    pod = f"{account}-{client}.vm"
    assert mixed.status_code(pod, f"http://server-{server}:8000/") == code


def test_each_pod_calls_by_its_own_certificate_over_connections_of_its_own(mixed: Mesh) -> None:
    """Whoever called last: a friend's connection is no stranger's."""
    codes = [
        mixed.status_code(f"{account}-node.vm", "http://server-node:8000/")
        for _ in range(3)
        for account in ("friend", "stranger")
    ]
    assert codes == ["200", "403"] * 3


def test_plaintext_is_refused(mixed: Mesh) -> None:
    (address,) = (p["addresses"][0] for p in mixed.status["pods"] if p["name"] == "server-node")
    done = subprocess.run(["curl", "-sS", "-m", "5", f"http://{address}:8000/"], capture_output=True)
    assert done.returncode != 0


def test_who_is_served_by_whom_is_told(mixed: Mesh) -> None:
    on_node = {"server-node", "friend-node", "stranger-node"}
    status = mixed.status
    assert status["ready"] is True
    assert {pod["name"] for pod in status["pods"] if pod.get("machine")} == on_node
    envoy = machines_proxy(mixed)
    assert set(envoy["serves"]) == {f"{name}.vm" for name in on_node}
    assert envoy["node_id"].startswith("node~")
    others = {each["pod"]: each for each in status["proxies"] if not each.get("serves")}
    assert {name for name, each in others.items() if each.get("machine")} == on_node
    assert all((each["pid"] is None) == (name in on_node) for name, each in others.items())
    assert {each["certificate"]["subject"].rpartition("/")[2] for each in others.values()} == {
        "default",
        "friend",
        "stranger",
    }
    text = mixed.call("status").stdout
    assert re.search(r"proxy +of machine \S+, for 3 pods, process \d+", text)
    assert len(re.findall(r"SYNCED \(machine's\)", text)) == 3
    assert "that of machine" in mixed.call("describe", "pod", "server-node", "-n", "vm").stdout


def test_it_may_do_no_more_than_it_must(mixed: Mesh) -> None:
    """Its user is no root's, and its right is one of the pods' user namespace alone."""
    pid = machines_proxy(mixed)["pid"]
    status = dict(line.split(":\t", 1) for line in _read(pid, "status").splitlines() if ":\t" in line)
    assert {status["Uid"], status["Gid"]} == {"1337\t1337\t1337\t1337"}
    assert int(status["CapEff"], 16) == 1 << 21  # CAP_SYS_ADMIN (linux/capability.h)
    assert os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino  # noqa: PTH116


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}") as file:  # noqa: PTH123
        return file.read()


@pytest.fixture(scope="module")
def calculator(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-node", CALCULATOR, "--proxy", "node") as mesh:
        yield mesh


def test_the_calculator(calculator: Mesh) -> None:
    """By one Envoy, as by three: each pod logs what is its own, as ever."""
    answer = json.loads(calculator.curl(WEBAPP, ADD, "-H", "x-request-id: by-one").stdout)
    assert answer["result"] == 3
    for pod, cluster in ((WEBAPP, "outbound|8888|"), (f"{answer['pod']}.vm", "inbound|8888|")):
        entry = calculator.logged(pod, "the request", lambda entry: entry.request_id == "by-one")
        assert entry.upstream_cluster.startswith(cluster)
    assert [each for each in calculator.status["proxies"] if each["pid"]] == [machines_proxy(calculator)]


def test_what_a_pod_asks_for_is_one_workers_in_the_pod_that_it_calls_too(calculator: Mesh) -> None:
    """So a call wakes one worker, and who calls much is in nobody's way there who has another."""
    answer = json.loads(calculator.curl(WEBAPP, ADD).stdout)
    listener = f"listener.{answer['pod']}.vm_15006"
    active = counts(calculator, rf"{listener}.worker_\d+.downstream_cx_active")
    chosen = int(ip_address(calculator.address("webapp"))) % len(active)
    assert {name for name, count in active.items() if count} == {f"{listener}.worker_{chosen}.downstream_cx_active"}


@pytest.fixture(scope="module")
def steady(make_mesh: MakeMesh) -> Iterator[Mesh]:
    """A client, and a server that answers whatever comes."""
    with make_mesh("e2e-node-steady", STEADY, "--proxy", "node") as mesh:
        yield mesh


def load(mesh: Mesh, connections: str) -> subprocess.Popen[str]:
    load = [sys.executable, "-S", "-E", BENCH / "http_steady.py", "steady", 8000, RATE, SECONDS, connections]
    command = [PILOTFISH, "exec", "--name", mesh.name, WEBAPP, "--", *load]
    return subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, env=mesh.environment)


def scale(mesh: Mesh, replicas: int) -> None:
    mesh.call("scale", "deploy/steady", "-n", "vm", "--replicas", str(replicas))
    wait_until(
        f"{replicas} pods",
        lambda: len(pods := mesh.pods("steady")) == replicas and all(pod["ready"] for pod in pods),
        within=20,
    )


def test_one_more_pod_and_one_less_touch_no_other(steady: Mesh) -> None:
    """Connections stay, as they do with sidecars; what is new is two listeners each."""
    modified, added = (counted(steady, f"listener_manager.listener_{what}") for what in ("modified", "added"))
    client = load(steady, "kept")
    try:
        scale(steady, 3)
        assert counted(steady, "listener_manager.listener_modified") == modified
        scale(steady, 1)
        said, _ = client.communicate(timeout=60)
    finally:
        client.kill()
        client.wait()
    assert json.loads(said)["lost"] == {}
    # Those of the pods that left are what changed.
    assert counted(steady, "listener_manager.listener_modified") <= modified + 2
    assert counted(steady, "listener_manager.listener_added") == added + 4


@pytest.mark.parametrize("connections", ["fresh", "kept"])
def test_a_killed_envoy_costs_what_was_under_way(steady: Mesh, connections: str) -> None:
    """Who calls while it is away waits in the pods' own ports."""
    before = machines_proxy(steady)
    client = load(steady, connections)
    try:
        time.sleep(1.0)
        os.kill(before["pid"], signal.SIGKILL)
        said, _ = client.communicate(timeout=60)
    finally:
        client.kill()
        client.wait()
    found = json.loads(said)
    assert found["requests"] == RATE * SECONDS
    assert sum(found["lost"].values()) <= UNDER_WAY, found
    assert "ConnectionRefusedError" not in found["lost"]
    after = wait_until("it is back", lambda: (each := machines_proxy(steady))["pid"] and each["ready"] and each)
    assert after["restarts"] == before["restarts"] + 1
    assert all(pod["ready"] for pod in steady.status["pods"])


def test_a_pod_of_the_same_name_is_another(steady: Mesh) -> None:
    """Its network namespace has the file that the last one's had, and Envoy is to listen in the new one."""

    def named() -> dict[str, Any]:
        (pod,) = steady.pods("named") or [{}]
        return pod

    old = named()
    steady.call("delete", "pod", old["name"], "-n", "vm")
    wait_until("another", lambda: (pod := named()).get("ready") and pod["created_at"] != old["created_at"], within=20)
    assert steady.status_code("named-0.vm", "http://steady:8000/") == "200"


def test_it_starts_with_any_number_of_pods(make_mesh: MakeMesh) -> None:
    """More than Envoys may start side by side: before it serves one it has the certificates of all."""
    count = 2 * len(os.sched_getaffinity(0)) + 3
    with make_mesh("e2e-many", MANY.format(count=count), "--proxy", "node", "--timeout", "30") as mesh:
        assert len(machines_proxy(mesh)["serves"]) == count


def test_a_node_that_is_killed_leaves_nothing_that_stays(make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-node-killed", CALCULATOR, "--proxy", "node") as mesh:
        envoy = machines_proxy(mesh)["pid"]
        os.kill(mesh.status["mesh"]["pid"], signal.SIGKILL)
        mesh.call("down", check=False)
        assert leftovers(mesh.name) == []
        with pytest.raises(ProcessLookupError):
            os.kill(envoy, 0)
