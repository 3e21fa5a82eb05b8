"""The node's process: a real API server, real network namespaces, and the plugin, called as a runtime calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pilotfish.runtime.linux.netns import NetNs
from tests.cluster.api_server import ApiServer
from tests.cluster.kubectl import Kubectl
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
SOURCE = Path(__file__).parents[2] / "image" / "cni.c"
FLAGS = ["-p", "15001", "-z", "15006", "-u", "1337", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021"]
NET = {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}]}
BEFORE = {"cniVersion": "1.0.0", "ips": [{"address": "198.18.9.2/24"}]}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "pilotfish-cni"
    subprocess.run(["gcc", "-O1", "-static", "-o", path, SOURCE], check=True)
    return path


@dataclass
class Host:
    """What the DaemonSet's process sees of its node."""

    folder: Path
    program: Path
    node: str
    kubectl: Kubectl
    server: ApiServer

    @property
    def conflist(self) -> Path:
        return self.folder / "net.d" / "10-net.conflist"

    def plugins(self) -> list[str]:
        return [each["type"] for each in json.loads(self.conflist.read_text())["plugins"]]

    def entry(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.conflist.read_text())["plugins"][-1]
        return {"cniVersion": "1.0.0", "name": "net", "prevResult": BEFORE, **found}

    @contextmanager
    def process(self, *options: str, kubeconfig: Path | None = None) -> Iterator[subprocess.Popen[str]]:
        argv = (sys.executable, "-c", "from pilotfish.cli import main; main()", "cni", "install")
        places = ("--bin-dir", self.folder / "bin", "--conf-dir", self.folder / "net.d", "--program", self.program)
        port = 20000 + os.getpid() % 20000
        own: tuple[str | Path, ...] = ("--node", self.node, "-n", self.kubectl.namespace, "--ready-port", str(port))
        more: tuple[str | Path, ...] = (
            "--socket",
            self.folder / "cni.sock",
            "--kubeconfig",
            kubeconfig or self.server.kubeconfig,
            *options,
        )
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen([*argv, *places, *own, *more], stderr=log, text=True)
        try:
            wait_until("it serves", lambda: self._is_up(port) or process.poll() is not None)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(10) is not None
            finally:
                process.kill()

    def _is_up(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return True
        except OSError:
            return "waiting for the network configuration" in self.log()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def call(self, command: str, pod: str, netns: NetNs) -> subprocess.CompletedProcess[str]:
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c",
            "CNI_NETNS": str(netns.path),
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.kubectl.namespace};K8S_POD_NAME={pod}",
        }
        installed = self.folder / "bin" / "pilotfish-cni"
        text = json.dumps(self.entry())
        return subprocess.run([installed], input=text, env=env, capture_output=True, text=True, timeout=60, check=False)

    def add_pod(self, name: str, *flags: str, injected: bool = True) -> None:
        validation = {"name": "istio-validation", "image": "x", "args": ["capture", "check", *(flags or FLAGS)]}
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {
                    "nodeName": self.node,
                    "initContainers": [validation] if injected else [],
                    "containers": [{"name": "app", "image": "x"}],
                },
            }
        )

    def starts_without(self, name: str, address: str) -> None:
        """Its validation has failed, says the kubelet."""
        ended = {"terminated": {"exitCode": 126}}
        own = {"name": "istio-validation", "image": "x", "imageID": "", "ready": False, "restartCount": 1}
        status = {
            "phase": "Pending",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "initContainerStatuses": [{**own, "state": ended, "lastState": ended}],
        }
        self.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


@pytest.fixture
def host(tmp_path: Path, program: Path, kubectl: Kubectl, api_server: ApiServer) -> Host:
    for name in ("bin", "net.d"):
        (tmp_path / name).mkdir()
    made = Host(tmp_path, program, f"node-{uuid.uuid4().hex[:8]}", kubectl, api_server)
    made.conflist.write_text(json.dumps(NET))
    daemon = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "pilotfish-cni"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "install-cni", "image": "x"}]},
            },
        },
    }
    kubectl.apply(daemon)
    return made


@pytest.fixture
def pod_netns() -> Iterator[tuple[NetNs, str]]:
    """A pod's network namespace, with an address that no other has."""
    number = uuid.uuid4().int
    address = f"198.18.{number % 250}.{number // 250 % 250 + 2}"
    made = NetNs.create(f"pf-test-{uuid.uuid4().hex[:8]}")
    try:
        with made.entered():
            for words in ("link add eth0 type veth peer name eth1", f"address add {address}/32 dev eth0"):
                subprocess.run(["ip", *words.split()], check=True)
        yield made, address
    finally:
        made.delete()


def rules(netns: NetNs) -> str:
    with netns.entered():
        return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def test_a_pod_is_captured_as_its_validation_will_look_for_it(host: Host, pod_netns: tuple[NetNs, str]) -> None:
    netns, _ = pod_netns
    host.add_pod("web-0", *FLAGS, "-o", "5432")
    with host.process():
        wait_until("it is chained", lambda: host.plugins() == ["bridge", "pilotfish-cni"])
        done = host.call("ADD", "web-0", netns)
        assert (done.returncode, json.loads(done.stdout)) == (0, BEFORE), host.log()
        assert "--dport 5432 -j RETURN" in rules(netns)
        assert "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001" in rules(netns)
        assert host.call("CHECK", "web-0", netns).returncode == 0
        with netns.entered():
            subprocess.run(["iptables", "-t", "nat", "-F", "ISTIO_OUTPUT"], check=True)
        broken = host.call("CHECK", "web-0", netns)
        assert broken.returncode == 1
        assert "the pod's rules are not what they should be" in json.loads(broken.stdout)["msg"]
        assert host.call("DEL", "web-0", netns).returncode == 0


def test_a_pod_that_is_not_of_the_mesh_or_is_gone_is_left_alone(host: Host, pod_netns: tuple[NetNs, str]) -> None:
    netns, _ = pod_netns
    host.add_pod("plain", injected=False)
    with host.process():
        for name in ("plain", "gone"):
            done = host.call("ADD", name, netns)
            assert (done.returncode, json.loads(done.stdout)) == (0, BEFORE)
        assert rules(netns) == ""


def test_a_pod_that_can_not_be_captured_does_not_start_and_says_why(host: Host, pod_netns: tuple[NetNs, str]) -> None:
    netns, _ = pod_netns
    host.add_pod("odd", "-b", "many")
    host.add_pod("web-0")
    with host.process():
        done = host.call("ADD", "odd", netns)
        assert done.returncode == 1
        assert "inbound_ports_include" in json.loads(done.stdout)["details"]
        missing = host.call("ADD", "web-0", NetNs(Path("/run/netns/pf-test-nowhere")))
        assert missing.returncode == 1
        assert "/run/netns/pf-test-nowhere can't be opened" in json.loads(missing.stdout)["msg"]
        assert "Traceback" not in host.log()


def test_an_account_that_may_not_read_pods_is_told_what_it_lacks(host: Host, pod_netns: tuple[NetNs, str]) -> None:
    netns, _ = pod_netns
    host.add_pod("web-0")
    with host.process(kubeconfig=host.server.user("nobody")):
        done = host.call("ADD", "web-0", netns)
        assert done.returncode == 1
        assert (
            f"forbids nobody to get pods web-0 in namespace {host.kubectl.namespace}" in json.loads(done.stdout)["msg"]
        )


def test_it_stays_chained_whoever_writes_the_configuration(host: Host) -> None:
    host.conflist.unlink()
    with host.process():
        wait_until("it waits", lambda: "waiting for the network configuration" in host.log())
        host.conflist.write_text(json.dumps(NET))
        wait_until("it is chained", lambda: host.plugins() == ["bridge", "pilotfish-cni"])
        other = {**NET, "plugins": [{"type": "ptp"}, {"type": "portmap"}]}
        host.conflist.write_text(json.dumps(other))
        wait_until("it is chained again", lambda: host.plugins() == ["ptp", "portmap", "pilotfish-cni"])


def test_after_an_upgrade_it_is_still_there_and_after_an_uninstallation_it_is_not(host: Host) -> None:
    program = host.folder / "bin" / "pilotfish-cni"
    with host.process():
        wait_until("it is chained", lambda: "pilotfish-cni" in host.plugins())
    assert host.plugins() == ["bridge", "pilotfish-cni"]
    assert program.exists()
    with host.process():
        host.kubectl("delete", "daemonset", "pilotfish-cni")
    assert json.loads(host.conflist.read_text()) == NET
    assert not program.exists()


def test_a_pod_that_started_without_its_rules_gets_them(host: Host, pod_netns: tuple[NetNs, str]) -> None:
    netns, address = pod_netns
    host.add_pod("before")
    host.starts_without("before", address)
    with host.process():
        wait_until("it is repaired", lambda: "repaired" in host.log() and "ISTIO_REDIRECT" in rules(netns))
        host.add_pod("unfound")
        host.starts_without("unfound", "198.51.100.77")
        wait_until("it is said", lambda: "has its address 198.51.100.77" in host.log())


def test_a_pod_that_started_without_its_rules_is_deleted_if_that_is_wanted(host: Host) -> None:
    host.add_pod("before")
    host.starts_without("before", "198.51.100.78")
    with host.process("--repair", "delete"):
        wait_until("it is deleted", lambda: "deleted" in host.log())
    found = host.kubectl.items("pods")
    assert all(pod["metadata"].get("deletionTimestamp") for pod in found)


def test_the_node_s_taint_goes_once_pods_are_captured(host: Host) -> None:
    taints = [{"key": "other", "effect": "NoExecute"}, {"key": "pilotfish.io/not-ready", "effect": "NoSchedule"}]
    host.kubectl.apply(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": host.node}, "spec": {"taints": taints}}
    )
    try:
        with host.process("--untaint", "pilotfish.io/not-ready"):
            wait_until("it is gone", lambda: "has no taint" in host.log())
        left = [taint["key"] for taint in host.kubectl.get("node", host.node)["spec"]["taints"]]
        assert "pilotfish.io/not-ready" not in left
        assert "other" in left
    finally:
        host.kubectl("delete", "node", host.node)
