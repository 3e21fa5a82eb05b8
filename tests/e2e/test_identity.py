"""Who is who in a running mesh: what an app in a pod can't pretend, and what its people see of certificates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import issue, secret
from tests.e2e.harness import ADD, CALCULATOR, PROXY, WEBAPP, MakeMesh, Mesh, run
from tests.freezing import freeze
from tests.waiting import wait_until

XDS = """
import sys
import grpc
from envoy.service.discovery.v3 import discovery_pb2

address, node, roots, own = sys.argv[1:]
request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
request.node.id = node
read = lambda path: open(path, "rb").read()
pair = (read(own + "/key.pem"), read(own + "/cert-chain.pem")) if own else (None, None)
credentials = grpc.ssl_channel_credentials(read(roots), *pair)
channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", "istiod.istio-system.svc")])
method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
try:
    for _ in channel.stream_stream(method)(iter([request.SerializeToString()]), timeout=10):
        print("SERVED", flush=True)
except grpc.RpcError as error:
    print(error.code().name, error.details(), flush=True)
"""

CSR = """
import asyncio, pathlib, socket, sys
from pilotfish.identity.requests import build_request, new_key
from pilotfish.runtime.agent import AuthoritySpec
from pilotfish.runtime.agent.authority_client import AuthorityClient

address, uri, roots = sys.argv[1:]
spec = AuthoritySpec(address, pathlib.Path(roots), lambda: "", "istiod.istio-system.svc")
client = AuthorityClient(spec, lambda family: socket.socket(family))
try:
    print("GIVEN", asyncio.run(client.create(build_request(new_key(), uri), 60, "")))
except OSError as error:
    print("REFUSED", error)
"""

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: vm
  annotations: {{proxy.istio.io/config: "proxyMetadata: {{{config}}}"}}
spec:
{spec}
  containers: [{{name: app, command: [sleep, infinity]}}]
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-identity", CALCULATOR) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def shared(mesh: Mesh) -> Path:
    """Where a pod's containers find what they are given here: the roots, and certificates that were issued."""
    directory = mesh.sources.parent / "shared"
    directory.mkdir()
    (directory / "roots.pem").write_text(mesh.call("identity", "roots").stdout)
    mesh.call("identity", "issue", "other/batch", "-d", directory / "batch")
    mesh.call("identity", "issue", "vm/default", "-d", directory / "same")
    return directory


def address(mesh: Mesh) -> str:
    return str(mesh.status["discovery"]["xds_address"])


def node_id(mesh: Mesh, app: str) -> str:
    name = mesh.pods(app)[0]["name"]
    return str(next(p["node_id"] for p in mesh.status["proxies"] if p["pod"] == name))


def python(mesh: Mesh, code: str, *arguments: str | Path) -> str:
    """What a program of the webapp's pod prints."""
    source = f"PYTHONPATH={Path(__file__).parents[2] / 'src'}"
    return mesh.exec(WEBAPP, "env", source, sys.executable, "-c", code, *map(str, arguments), check=False).stdout


def proxies(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """Of `identity show`, by pod."""
    return {each["pod"]: each for each in mesh.json("identity", "show")["proxies"]}


def test_every_proxy_has_its_own_certificate_and_discovery_is_asked_over_tls(mesh: Mesh) -> None:
    found = proxies(mesh)
    assert len(found) == 3
    assert {each["certificate"]["subject"] for each in found.values()} == {"spiffe://cluster.local/ns/vm/sa/default"}
    assert len({each["certificate"]["serial"] for each in found.values()}) == 3
    shown = mesh.call("proxy-config", "secret", WEBAPP).stdout
    assert found["webapp-0"]["certificate"]["serial"] in shown
    assert "spiffe://cluster.local/ns/vm/sa/default" in shown
    dump = json.dumps(mesh.config_dump(WEBAPP))
    assert '"sni": "istiod.istio-system.svc"' in dump
    assert "PRIVATE KEY" not in dump


def test_an_app_is_served_nothing_as_no_proxy_and_as_no_other(mesh: Mesh, shared: Path) -> None:
    mine, other, roots = node_id(mesh, "webapp"), node_id(mesh, "calculator"), shared / "roots.pem"
    for node, own, why in (
        (mine, "", "neither a certificate of this mesh nor a token"),
        (mine, shared / "batch", "spiffe://cluster.local/ns/other/sa/batch is not served as webapp-0.vm"),
        (other, shared / "same", "from its own address only"),
    ):
        said = python(mesh, XDS, address(mesh), node, roots, own)
        assert said.startswith("PERMISSION_DENIED"), said
        assert why in said
    said = python(mesh, XDS, address(mesh), mine, roots, shared / "same")
    assert said.startswith("SERVED"), "who holds the pod's own certificate is the pod"


def test_an_app_gets_no_certificate(mesh: Mesh, shared: Path) -> None:
    for uri in ("", "spiffe://cluster.local/ns/vm/sa/default", "spiffe://cluster.local/ns/prod/sa/bank"):
        said = python(mesh, CSR, address(mesh), uri, shared / "roots.pem")
        assert said.startswith("REFUSED a certificate is given for a pod's token")
    log = (mesh.state / mesh.name / "discovery.log").read_text()
    assert "a certificate is given for a pod's token" in log


def test_an_app_finds_neither_sockets_nor_keys_of_the_mesh(mesh: Mesh) -> None:
    directory = mesh.state / mesh.name
    assert (directory / ("proxy" if PROXY == "node" else "pods/vm.webapp-0") / "sds").is_socket()
    assert (directory / "identity" / "token.key").is_file()
    assert mesh.exec(WEBAPP, "ls", "-A", str(mesh.state)).stdout == ""


def test_an_app_reads_of_discovery_what_is_its_pods(mesh: Mesh) -> None:
    where = f"http://{mesh.status['discovery']['monitoring_address']}"
    assert mesh.status_code(WEBAPP, f"{where}/ready") == "200"
    assert mesh.status_code(WEBAPP, f"{where}/api/names?proxyID=webapp-0.vm") == "200"
    other = mesh.pods("calculator")[0]["name"]
    for path in (
        f"/debug/config_dump?proxyID={other}.vm",
        f"/api/names?proxyID={other}.vm",
        "/api/problems",
        "/debug/adsz",
    ):
        assert mesh.status_code(WEBAPP, f"{where}{path}") == "403"
    plain = mesh.status["discovery"]["plaintext_address"]
    assert plain == "127.0.0.1:15010"
    host = address(mesh).rpartition(":")[0]
    assert mesh.exec(WEBAPP, "curl", "-sS", "-m", "5", f"http://{host}:15010/", check=False).returncode != 0


def test_openssl_verifies_discovery(mesh: Mesh, shared: Path) -> None:
    command = ("openssl", "s_client", "-connect", address(mesh), "-CAfile", shared / "roots.pem", "-alpn", "h2",
               "-verify_hostname", "istiod.istio-system.svc", "-verify_return_error")  # fmt: skip
    said = run(*command, errors="replace").stdout
    assert "Verify return code: 0 (ok)" in said
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text"], input=said, capture_output=True, text=True, check=True
    )
    assert "URI:spiffe://cluster.local/ns/istio-system/sa/istiod" in text.stdout


def test_a_new_root_and_a_killed_discovery_fail_no_request(mesh: Mesh) -> None:
    before = proxies(mesh)
    failed: list[str] = []
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            done = mesh.curl(WEBAPP, ADD, "-f", check=False)
            if done.returncode:
                failed.append(done.stderr)

    calling = threading.Thread(target=load)
    calling.start()
    try:
        assert "is trusted now" in mesh.call("identity", "rotate").stdout
        os.kill(mesh.status["discovery"]["pid"], signal.SIGKILL)

        def renewed() -> bool:
            after = proxies(mesh)
            return all(after[pod]["certificate"]["serial"] != before[pod]["certificate"]["serial"] for pod in before)

        wait_until("all are signed anew", lambda: _answers(renewed), within=30)
    finally:
        over.set()
        calling.join()
    assert failed == []
    authority = mesh.json("identity", "show")["authority"]
    assert len(authority["roots"]) == 2, "the first root is trusted as long as what it signed may be in use"
    wait_until("all is well", lambda: mesh.status["ready"])


def _answers(ask: Any) -> bool:
    """False while discovery is away."""
    try:
        return bool(ask())
    except (AssertionError, ValueError):
        return False


def test_a_pod_says_how_long_its_certificate_is_valid(mesh: Mesh) -> None:
    mesh.write("brief.yaml", POD.format(name="brief-0", spec="  serviceAccountName: brief", config="SECRET_TTL: 1h"))
    wait_until("it is ready", lambda: "brief-0" in proxies(mesh) and proxies(mesh)["brief-0"].get("certificate"))
    found = proxies(mesh)["brief-0"]["certificate"]
    assert found["subject"] == "spiffe://cluster.local/ns/vm/sa/brief"
    assert 3500 < found["not_after"] - time.time() <= 3600
    (mesh.sources / "brief.yaml").unlink()
    wait_until("it is gone", lambda: all(p["name"] != "brief-0" for p in mesh.status["pods"]))


def test_a_certificate_that_is_not_renewed_is_said_in_time_and_traffic_goes_on_until_it_expires(mesh: Mesh) -> None:
    config = "SECRET_TTL: 24s, SECRET_GRACE_PERIOD_RATIO: '0.9', SECRET_GRACE_PERIOD_RATIO_JITTER: '0'"
    mesh.write("short.yaml", POD.format(name="short-0", spec="", config=config))
    wait_until("it is ready", lambda: any(p["name"] == "short-0" and p["ready"] for p in mesh.status["pods"]))
    pid = mesh.status["discovery"]["pid"]

    def said(severity: str) -> list[str]:
        found = [
            p for p in mesh.status["problems"] if p["reason"] == "CertificateNotRenewed" and p["name"] == "short-0"
        ]
        return [p["message"] for p in found if p["severity"] == severity]

    freeze(pid)
    try:
        words = wait_until("it is said while it is valid", lambda: said("warning"), within=30)
        assert "it is valid for" in words[0]
        assert "does not answer within 5 s" in words[0]
        assert mesh.curl("short-0.vm", ADD, "-f").returncode == 0
        assert all(p["ready"] for p in mesh.status["pods"])
        words = wait_until("it is said when it has expired", lambda: said("error"), within=30)
        assert "its certificate expired" in words[0]
        pod = next(p for p in mesh.status["pods"] if p["name"] == "short-0")
        assert not pod["ready"]
        assert all(p["ready"] for p in mesh.status["pods"] if p["name"] != "short-0"), "valid for a day"
        assert mesh.curl(WEBAPP, ADD, "-f").returncode == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("all is well", lambda: not said("error") and mesh.status["ready"], within=30)
    (mesh.sources / "short.yaml").unlink()


def test_files_in_the_pod_are_shown_instead(mesh: Mesh) -> None:
    root = issue("corp", is_ca=True)
    shown = issue("files-0", root, "files.example.com")
    spec = "  volumes: [{name: certs, secret: {secretName: own}}]\n  serviceAccountName: files\n"
    texts = {"cert-chain_pem": shown.pem, "key_pem": shown.key, "root-cert_pem": root.pem}
    pod = POD.format(name="files-0", spec=spec, config="A: b").replace(
        "command: [sleep, infinity]", "command: [sleep, infinity], volumeMounts: [{name: certs, mountPath: /etc/certs}]"
    )
    mesh.write("files.yaml", secret("own", "vm", **texts) + pod)
    wait_until("it is ready", lambda: any(p["name"] == "files-0" and p["ready"] for p in mesh.status["pods"]))
    assert proxies(mesh)["files-0"]["certificate"]["subject"] == "CN=files-0"
    dump = json.dumps(mesh.config_dump("files-0.vm"))
    assert '"cluster_name": "discovery-sds"' in dump
    (mesh.sources / "files.yaml").unlink()
