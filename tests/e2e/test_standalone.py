"""The parts alone, with no node and no `up`: discovery on a folder, one agent, capture in any network namespace."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.runtime.linux.netns import NetNs
from tests.e2e.alone import Started, answers, inside, joined, write_token
from tests.e2e.harness import PILOTFISH, run
from tests.waiting import wait_until

POD, CLIENT = f"pf-alone-pod-{os.getpid()}", f"pf-alone-client-{os.getpid()}"
POD_IP, CLIENT_IP, SERVICE_IP = "10.99.0.2", "10.99.0.1", "10.96.77.7"
SOON = ("--proxy-config", "terminationDrainDuration: 1s")

MANIFESTS = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: vm}}
spec:
  clusterIP: {SERVICE_IP}
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: 8000}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web-0, namespace: vm, labels: {{app: web}}}}
spec: {{containers: [{{name: web, command: [python3, -m, http.server]}}]}}
status: {{podIP: {POD_IP}}}
"""


@pytest.fixture
def namespaces() -> Iterator[None]:
    with joined((POD, POD_IP), (CLIENT, CLIENT_IP)):
        NetNs.named(CLIENT).sysctl({"ipv4/ip_forward": "1"})  # what nobody has is refused at once
        run("ip", "-n", CLIENT, "route", "add", "unreachable", "default")
        yield


def test_the_parts_make_a_mesh_by_hand(namespaces: None, started: Started, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "mesh.yaml").write_text(MANIFESTS)
    proxy = tmp_path / "proxy"
    started.start("app", *inside(POD, sys.executable, "-m", "http.server", "8000"))
    started.start(
        "discovery",
        *inside(POD, PILOTFISH, "discovery", "--config", config, "--xds-address", "127.0.0.1:15010",
                "--monitoring-address", "127.0.0.1:15014"),
    )  # fmt: skip
    agent = started.start(
        "agent",
        *inside(POD, PILOTFISH, "agent", "--pod", "web-0", "--namespace", "vm", "--ip", POD_IP, "--label", "app=web",
                "--discovery-address", "127.0.0.1:15010", "--directory", proxy, *SOON),
    )  # fmt: skip
    wait_until("the agent is ready", lambda: answers(POD, "http://127.0.0.1:15021/healthz/ready"), within=20)
    assert (proxy / "envoy-rev0.json").is_file()

    spec = tmp_path / "capture.yaml"
    spec.write_text(
        "inbound_ports_include: '*'\noutbound_ip_ranges_include: '*'\nredirect_dns: true\ncapture_all_dns: true\n"
    )
    rendered = run(PILOTFISH, "capture", "render", "--config", spec).stdout
    assert "-j REDIRECT --to-ports 15006" in rendered
    run(PILOTFISH, "capture", "apply", "--netns", POD, "--config", spec)
    assert answers(CLIENT, f"http://{POD_IP}:8000/"), "in through 15006"
    assert answers(POD, f"http://{SERVICE_IP}/"), "out through 15001"
    assert "127.0.0.6" in started.log("app").read_text(), "the proxy made the last hop"

    (config / "mesh.yaml").write_text(MANIFESTS.replace("port: 80,", "port: 81,"))
    wait_until("the changed port answers", lambda: answers(POD, f"http://{SERVICE_IP}:81/"))

    run(PILOTFISH, "capture", "clean", "--netns", POD)
    assert "ISTIO" not in run(*inside(POD, "iptables-save")).stdout
    assert answers(CLIENT, f"http://{POD_IP}:8000/"), "straight to the app"
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(15) == 0


def test_a_token_is_all_that_an_agent_by_hand_needs(namespaces: None, started: Started, tmp_path: Path) -> None:
    config, state = tmp_path / "config", tmp_path / "state"
    config.mkdir()
    (config / "mesh.yaml").write_text(MANIFESTS)
    write_token(tmp_path, POD_IP)
    started.start(
        "discovery",
        *inside(POD, PILOTFISH, "discovery", "--config", config, "--state", state, "--only-pods",
                "--secure-address", f"{POD_IP}:15012", "--token-key", tmp_path / "token.pub"),
    )  # fmt: skip
    roots = state / "ca" / "root-cert.pem"
    wait_until("discovery has a root", roots.exists, within=20)
    started.start(
        "agent",
        *inside(POD, PILOTFISH, "agent", "--pod", "web-0", "--namespace", "vm", "--ip", POD_IP, "--label", "app=web",
                "--discovery-address", f"{POD_IP}:15012", "--monitoring-address", "127.0.0.1:15014",
                "--token", tmp_path / "token", "--root-cert", roots, "--directory", tmp_path / "proxy"),
    )  # fmt: skip
    wait_until("the agent is ready", lambda: answers(POD, "http://127.0.0.1:15021/healthz/ready"), within=20)
    shown = run(*inside(POD, "curl", "-s", "http://127.0.0.1:15000/certs")).stdout
    assert '"uri": "spiffe://cluster.local/ns/vm/sa/default"' in shown
    assert "PRIVATE KEY" not in (tmp_path / "proxy" / "envoy-rev0.json").read_text()


GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: machines, namespace: vm}
spec:
  metadata: {labels: {app: web}}
  template: {}
  probe: {periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1, PROBE}
"""


@pytest.mark.parametrize("probe", ["tcpSocket: {port: 8000}", "exec: {command: [test, -e, FLAG]}"])
def test_a_machine_registers_itself_and_serves_while_its_probe_passes(
    namespaces: None, started: Started, tmp_path: Path, probe: str
) -> None:
    config, flag, group = tmp_path / "config", tmp_path / "healthy", tmp_path / "group.yaml"
    config.mkdir()
    group.write_text(GROUP.replace("PROBE", probe.replace("FLAG", str(flag))))
    (config / "mesh.yaml").write_text(MANIFESTS.partition("---")[0] + "---" + group.read_text())
    app = inside(POD, sys.executable, "-m", "http.server", "8000")
    started.start("discovery", *inside(POD, PILOTFISH, "discovery", "--config", config))
    started.start(
        "agent",
        *inside(POD, PILOTFISH, "agent", "--pod", "machine", "--workload-group", group, "--ip", POD_IP,
                "--discovery-address", "127.0.0.1:15010", "--directory", tmp_path / "proxy", *SOON),
    )  # fmt: skip

    def serves() -> bool:
        page = run(*inside(POD, "curl", "-s", "-m", "3", "http://127.0.0.1:15014/debug/endpointz"), check=False).stdout
        return f"{POD_IP}:8000" in page

    wait_until("the agent is ready", lambda: answers(POD, "http://127.0.0.1:15021/healthz/ready"), within=20)
    assert not serves(), "its app does not run"
    running = started.start("app", *app)
    flag.touch()
    wait_until("it serves", serves)
    running.kill()
    flag.unlink()
    wait_until("it is taken out of service", lambda: not serves())


def test_a_taken_discovery_port_is_named(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(MANIFESTS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(PILOTFISH, "discovery", "--config", tmp_path, "--xds-address", f"127.0.0.1:{port}",
                   "--monitoring-address", "127.0.0.1:0", check=False)  # fmt: skip
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_plaintext_xds_beyond_loopback_is_opted_into(tmp_path: Path) -> None:
    done = run(PILOTFISH, "discovery", "--config", tmp_path, "--xds-address", "0.0.0.0:0",
               "--monitoring-address", "127.0.0.1:0", check=False)  # fmt: skip
    assert done.returncode != 0
    assert "plaintext" in done.stderr


def test_render_names_a_bad_field(tmp_path: Path) -> None:
    spec = tmp_path / "capture.yaml"
    spec.write_text("outbound_ip_ranges_include: ['10.0.0.0/33']\n")
    done = run(PILOTFISH, "capture", "render", "--config", spec, check=False)
    assert done.returncode == 1
    assert "10.0.0.0/33" in done.stderr
    assert "outbound_ip_ranges_include" in done.stderr
