"""Certificates from another than the mesh, by its SDS at a socket in the pod, as SPIRE serves them: a connection is
authenticated by them, and a renewed one holds for the next."""

from __future__ import annotations

import json
import queue
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from pilotfish.model.wellknown import IDENTITY_SOCKET
from tests.certificates import Issued, issue
from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

ROOT = issue("spire", is_ca=True)
_SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"
_APP = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.headers.get("x-forwarded-client-cert", "nobody").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
_STRICT = """
apiVersion: v1
kind: Service
metadata: {name: server, namespace: vm}
spec: {selector: {app: server}, ports: [{name: http, port: 8000}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: vm}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server, namespace: vm}
spec: {host: server, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
"""


class Sds:
    """Serves one pod's certificate, and anew when there is another: by gRPC's own library."""

    def __init__(self, shown: Issued) -> None:
        self._shown = shown
        self._streams: list[queue.SimpleQueue[DiscoveryRequest | None]] = []

    def show(self, shown: Issued) -> None:
        self._shown = shown
        for stream in self._streams:
            stream.put(DiscoveryRequest())

    @contextmanager
    def serve(self, path: Path) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(32))
        method = grpc.stream_stream_rpc_method_handler(
            self._stream, DiscoveryRequest.FromString, DiscoveryResponse.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"StreamSecrets": method}),))
        server.add_insecure_port(f"unix:{path}")
        server.start()
        path.chmod(0o666)
        try:
            yield
        finally:
            for stream in self._streams:
                stream.put(None)
            server.stop(None).wait()

    def _stream(self, requests: Iterator[DiscoveryRequest], _: grpc.ServicerContext) -> Iterator[DiscoveryResponse]:
        events: queue.SimpleQueue[DiscoveryRequest | None] = queue.SimpleQueue()
        self._streams.append(events)
        threading.Thread(target=self._listen, args=(requests, events), daemon=True).start()
        names: list[str] = []
        version = 0
        while (event := events.get()) is not None:
            names = list(event.resource_names) or names
            if not event.response_nonce:
                version += 1
                response = DiscoveryResponse(version_info=str(version), nonce=str(version))
                response.type_url = f"type.googleapis.com/{Secret.DESCRIPTOR.full_name}"
                for name in names:
                    response.resources.add().Pack(self._secret(name))
                yield response

    @staticmethod
    def _listen(requests: Iterator[DiscoveryRequest], events: queue.SimpleQueue[DiscoveryRequest | None]) -> None:
        try:
            for request in requests:
                events.put(request)
        except grpc.RpcError:
            events.put(None)

    def _secret(self, name: str) -> Secret:
        found = Secret(name=name)
        if name == "ROOTCA":
            found.validation_context.trusted_ca.inline_string = ROOT.pem
        else:
            found.tls_certificate.certificate_chain.inline_string = self._shown.pem
            found.tls_certificate.private_key.inline_string = self._shown.key
        return found


def _svid(account: str) -> Issued:
    return issue(account, ROOT, f"spiffe://cluster.local/ns/vm/sa/{account}")


def _hash(shown: Issued) -> str:
    return shown.certificate.fingerprint(hashes.SHA256()).hex()


def _pod(name: str, directory: Path | None) -> str:
    container: dict[str, Any] = {"name": "app", "command": ["python3", "-c", _APP]}
    container["readinessProbe"] = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    spec: dict[str, Any] = {"serviceAccountName": name, "containers": [container]}
    if directory is not None:
        container["volumeMounts"] = [{"name": "spire", "mountPath": str(Path(IDENTITY_SOCKET).parent)}]
        spec["volumes"] = [{"name": "spire", "hostPath": {"path": str(directory)}}]
    metadata = {"name": name, "namespace": "vm", "labels": {"app": name}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}) + "\n---\n"


def _ask(mesh: Mesh, pod: str) -> str:
    return mesh.curl(pod, "http://server:8000/", check=False).stdout


def test_a_connection_is_authenticated_by_the_certificates_of_an_sds_in_the_pod(make_mesh: MakeMesh) -> None:
    shown = {name: _svid(name) for name in ("client", "server")}
    served = {name: Sds(each) for name, each in shown.items()}
    with ExitStack() as stack:
        directories = {}
        for name, sds in served.items():
            directories[name] = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pilotfish-sds-")))
            directories[name].chmod(0o755)
            stack.enter_context(sds.serve(directories[name] / Path(IDENTITY_SOCKET).name))
        pods = "".join(_pod(name, directories.get(name)) for name in ("client", "server", "other"))
        mesh = stack.enter_context(make_mesh("external-sds", pods + _STRICT))
        said = _ask(mesh, "client.vm")
        assert "URI=spiffe://cluster.local/ns/vm/sa/client" in said
        assert f"Hash={_hash(shown['client'])}" in said
        assert f"{shown['client'].certificate.serial_number:x}" in mesh.call("pc", "secret", "client.vm").stdout
        assert mesh.status_code("other.vm", "http://server:8000/") == "503", "the mesh's own is of another authority"

        renewed = _svid("client")
        served["client"].show(renewed)
        wait_until("the renewed one is shown", lambda: f"Hash={_hash(renewed)}" in _ask(mesh, "client.vm"))
        stranger = issue("stranger", is_ca=True)
        served["client"].show(issue("client", stranger, "spiffe://cluster.local/ns/vm/sa/client"))
        wait_until(
            "another authority's is refused", lambda: mesh.status_code("client.vm", "http://server:8000/") == "503"
        )
        assert mesh.status["ready"]
