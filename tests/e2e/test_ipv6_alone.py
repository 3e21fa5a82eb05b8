"""Where there is no IPv4 but loopback: discovery on one node, a captured pod with agent and Envoy on another."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.alone import Started, answers, inside, joined, write_token
from tests.e2e.harness import PILOTFISH, run
from tests.waiting import wait_until

POD, OTHER = f"pf-v6-pod-{os.getpid()}", f"pf-v6-other-{os.getpid()}"
POD_IP, OTHER_IP, SERVICE_IP = "fd99::2", "fd99::1", "fd96::7"
OUTSIDE = "outside.example.com"
MANIFESTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: vm}}
spec:
  clusterIP: {SERVICE_IP}
  ipFamilies: [IPv6]
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8000}}, {{name: tcp, port: 9000, targetPort: 8000}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web-0, namespace: vm, labels: {{app: web}}}}
spec: {{containers: [{{name: web, command: [python3, -m, http.server]}}]}}
status: {{podIP: "{POD_IP}", podIPs: [{{ip: "{POD_IP}"}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside, namespace: vm}}
spec:
  hosts: [{OUTSIDE}]
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]
"""
NAMES = f"""
import socket
from pilotfish.agent.names import Reply, resolve
from pilotfish.model.names import NameTable
table = NameTable("1", {{"{OUTSIDE}": ("192.0.2.77", "{OTHER_IP}")}})
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
    server.bind(("{OTHER_IP}", 53))
    while True:
        packet, client = server.recvfrom(4096)
        answer = resolve(packet, table, alone=False)
        if isinstance(answer, Reply):
            server.sendto(answer.packet, client)
"""
PROBERS = json.dumps({"/app-health/web/readyz": {"httpGet": {"path": "/", "port": 8000}, "timeoutSeconds": 1}})


@pytest.fixture
def namespaces() -> Iterator[None]:
    with joined((POD, POD_IP), (OTHER, OTHER_IP)):
        for name in (POD, OTHER):
            assert "scope global" not in run("ip", "-4", "-n", name, "address").stdout
        yield


def test_all_of_it_goes_by_ipv6(namespaces: None, started: Started, tmp_path: Path) -> None:
    config, state = tmp_path / "config", tmp_path / "state"
    config.mkdir()
    (config / "mesh.yaml").write_text(MANIFESTS)
    write_token(tmp_path, POD_IP)
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {OTHER_IP}\n")

    def in_pod(*command: str | Path) -> tuple[str | Path, ...]:
        """With the resolver of its own cluster."""
        script = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
        return inside(POD, "unshare", "--mount", "sh", "-c", script, "-", *command)

    def asked(url: str, *options: str) -> str:
        return run(*in_pod("curl", "-sS", "-m", "5", "-w", "%{http_code} %{remote_ip}", *options, url)).stdout

    # As the webhook has it for every pod.
    flags = ("-b", "*", "-i", "*", "--redirect-dns", "--capture-all-dns", "--dual-stack")
    run(PILOTFISH, "capture", "apply", "--netns", POD, *flags)
    as_proxy = ("setpriv", "--reuid=1337", "--regid=1337", "--clear-groups")
    run(*inside(POD, *as_proxy, PILOTFISH, "capture", "check", *flags))
    started.start("names", *inside(OTHER, sys.executable, "-c", NAMES))
    started.start("outside", *inside(OTHER, sys.executable, "-m", "http.server", "8080", "--bind", OTHER_IP))
    started.start("app", *inside(POD, sys.executable, "-m", "http.server", "8000", "--bind", "::"))
    started.start(
        "discovery",
        *inside(OTHER, PILOTFISH, "discovery", "--config", config, "--state", state, "--secure-address", ":15012",
                "--monitoring-address", ":15014", "--allow-plaintext", "--token-key", tmp_path / "token.pub"),
    )  # fmt: skip
    roots = state / "ca" / "root-cert.pem"
    wait_until("discovery has a root", roots.exists, within=20)
    started.start(
        "agent",
        *in_pod("env", f"ISTIO_KUBE_APP_PROBERS={PROBERS}",
                PILOTFISH, "agent", "--pod", "web-0", "--namespace", "vm", "--ip", POD_IP, "--label", "app=web",
                "--discovery-address", f"[{OTHER_IP}]:15012", "--token", tmp_path / "token", "--root-cert", roots,
                "--directory", tmp_path / "proxy", "--proxy-config", "terminationDrainDuration: 1s"),
    )  # fmt: skip
    ready = f"http://[{POD_IP}]:15021/healthz/ready"
    wait_until("the proxy is ready, as a kubelet sees it", lambda: answers(OTHER, ready), within=20)
    assert answers(OTHER, f"http://[{POD_IP}]:8000/"), "in through 15006"
    wait_until("the proxy made the last hop", lambda: "::6 - -" in started.log("app").read_text())
    assert answers(OTHER, ready), "it is not captured"
    assert answers(OTHER, f"http://[{POD_IP}]:15020/app-health/web/readyz"), "a probe that was rewritten"
    assert answers(OTHER, f"http://[{POD_IP}]:15090/stats/prometheus")
    assert answers(POD, f"http://[{SERVICE_IP}]/"), "out through 15001"
    assert answers(POD, f"http://[{SERVICE_IP}]:9000/"), "and as TCP"
    assert asked("http://web.vm.svc.cluster.local/", "-o", "/dev/null") == f"200 {SERVICE_IP}", "by its name"
    shown = run(*inside(POD, "curl", "-s", "http://127.0.0.1:15000/certs")).stdout
    assert '"uri": "spiffe://cluster.local/ns/vm/sa/default"' in shown
    # Its name has an address of each family, of which one leads nowhere from here. Envoy asks when it hears of it.
    wait_until(
        "outside answers", lambda: asked(f"http://{OUTSIDE}/", "-o", "/dev/null").startswith("200 2001:2::f0f0:")
    )
