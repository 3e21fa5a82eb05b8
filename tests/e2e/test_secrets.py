"""A Secret's way: from a file to the sidecars that may have it, anew when it is saved, and before nobody's eyes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.certificates import Issued, issue, secret
from tests.e2e.harness import MakeMesh
from tests.waiting import wait_until

CA = issue("ca")
BANK, ME, OTHER = issue("bank", CA, "bank"), issue("me", CA), issue("other", CA)

_APP = """
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = dict(part[0] for part in self.connection.getpeercert()["subject"])["commonName"]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {name}".encode())
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="/tls/ca.crt")
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
MANIFESTS = f"""
apiVersion: v1
kind: Pod
metadata: {{name: client-0, namespace: vm, labels: {{app: client}}}}
spec: {{containers: [{{name: app, command: [sleep, "1000000"]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: bank-0, namespace: vm, labels: {{app: bank, sidecar.istio.io/inject: "false"}}}}
spec:
  containers:
  - name: app
    command: [python3, -c, {json.dumps(_APP)}]
    volumeMounts: [{{name: tls, mountPath: /tls}}]
  volumes: [{{name: tls, secret: {{secretName: bank}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: bank, namespace: vm}}
spec: {{selector: {{app: bank}}, ports: [{{name: http, port: 80, targetPort: 8443}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: bank, namespace: vm}}
spec:
  host: bank
  workloadSelector: {{matchLabels: {{app: client}}}}
  trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: me}}}}
---
"""


def secrets(shown: Issued) -> str:
    return secret("bank", tls_crt=BANK.pem, tls_key=BANK.key, ca_crt=CA.pem) + secret(
        "me", tls_crt=shown.pem, tls_key=shown.key, ca_crt=CA.pem
    )


def test_a_sidecar_shows_a_secret_and_the_next_one_and_nobody_else_sees_it(make_mesh: MakeMesh) -> None:
    manifests = {"mesh.yaml": MANIFESTS, "secrets.yaml": secrets(ME)}
    with make_mesh("e2e-secrets", manifests) as mesh:

        def answer() -> str:
            return mesh.curl("client-0.vm", "http://bank/", check=False).stdout

        wait_until("the bank knows who calls", lambda: answer() == "hello me")
        mesh.write("secrets.yaml", secrets(OTHER))
        wait_until("it is called with the new one", lambda: answer() == "hello other")
        told = [mesh.call("get", "secrets", "-n", "vm", "-o", form).stdout for form in ("yaml", "json")]
        told += [str(mesh.config_dump("client-0.vm")), str(mesh.status)]
        told += [path.read_text(errors="replace") for path in Path(mesh.status["mesh"]["directory"]).rglob("*.log")]
        private = [line for key in (ME, OTHER) for line in key.key.splitlines()[1:-1]]
        encoded = [text for key in (ME, OTHER) for text in [secret("x", key=key.key).partition('"key": "')[2][40:100]]]
        assert not [line for line in (*private, *encoded) if any(line in text for text in told)]
        assert "[redacted]" in told[0]
