"""Policies in a mesh that runs: who is let in, whose keys discovery has fetched from a pod, and what people see."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.e2e.harness import PROXY, MakeMesh, Mesh
from tests.envoy.test_authorization_attacks import ISSUER, KEY, OTHER, jwks, token
from tests.waiting import wait_until

_APP: Final = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def _app(name: str, says: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: vm}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: vm, labels: {{app: {name}}}}}
spec:
  containers:
  - name: web
    command: [python3, -c, {json.dumps(_APP)}, {json.dumps(says)}]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
"""


MESH: Final = (
    _app("shop", "shop")
    + _app("issuer", jwks(KEY))
    + """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: vm, labels: {app: client}}
spec: {containers: [{name: app, command: [sleep, "100000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: vm, labels: {sidecar.istio.io/inject: "false"}}
spec: {containers: [{name: app, command: [sleep, "100000"]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout"}
"""
)
DENY: Final = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-admin, namespace: vm}
spec:
  action: DENY
  selector: {matchLabels: {app: shop}}
  rules: [{to: [{operation: {paths: [/admin], ports: ["8000"]}}]}]
"""
TOKENS: Final = f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: vm}}
spec:
  selector: {{matchLabels: {{app: shop}}}}
  jwtRules: [{{issuer: {ISSUER}, jwksUri: "http://issuer.vm.svc.cluster.local:8000/keys"}}]
"""
STRICT: Final = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: vm}
spec: {selector: {matchLabels: {app: issuer}}, mtls: {mode: STRICT}}
---
"""


def test_policies_in_a_mesh(make_mesh: MakeMesh) -> None:
    with make_mesh("policies", MESH) as mesh:
        assert _get(mesh, "/admin") == "200"
        file = mesh.write("policies.yaml", DENY)
        wait_until("the policy is in force", lambda: _get(mesh, "/admin") == "403")
        assert _get(mesh, "/other") == "200"
        details = "rbac_access_denied_matched_policy[ns[vm]-policy[deny-admin]-rule[0]]"
        mesh.logged("shop.vm", "the refusal", lambda entry: entry.response_code_details == details)
        assert "AuthorizationPolicy vm/deny-admin spec.rules[0] denies it" in mesh.call("why", "403", "shop.vm").stdout
        explained = mesh.call("explain", "client.vm", "http://shop:8000/admin").stdout
        whose = f"machine {mesh.envoy_of('shop.vm').rpartition('.')[0]}, for " if PROXY == "node" else ""
        assert explained.startswith(f"403 by the proxy of {whose}shop.vm: ns[vm]-policy[deny-admin]-rule[0] denies it")
        assert f"AuthorizationPolicy vm/deny-admin {file}:8 spec.rules[0]" in " ".join(explained.split())
        assert "deny-admin   DENY" in mesh.call("get", "ap", "-n", "vm").stdout
        held = json.loads(mesh.pilotfish("authz", "check", "--name", mesh.name, "shop.vm", "-o", "json").stdout)
        assert [(each["action"], each["name"]) for each in held] == [("DENY", "deny-admin")]
        assert ("EvadablePath", "deny-admin") in {(each["reason"], each["name"]) for each in _problems(mesh)}

        mesh.write("policies.yaml", TOKENS)
        wait_until("keys are there: a stranger's token is refused", lambda: _get(mesh, "/", token(OTHER)) == "401")
        wait_until("a good one is believed", lambda: _get(mesh, "/", token()) == "200")
        # Each worker of the client's Envoy may have a connection that the old policy was for.
        wait_until("it is refused no more", lambda: _get(mesh, "/admin") == "200")
        assert not _lacking(mesh)

        # An issuer of the mesh that takes nothing but mutual TLS, and by the name that pods may call it.
        mesh.write("policies.yaml", STRICT + TOKENS)
        wait_until("plaintext is refused", lambda: mesh.status_code("bare.vm", "http://issuer:8000/") == "000")
        mesh.write("policies.yaml", STRICT + TOKENS.replace("issuer.vm.svc.cluster.local:8000/keys", "issuer.vm:8000/"))
        wait_until("keys are there", lambda: _get(mesh, "/", token()) == "200" and not _lacking(mesh))
        seen = mesh.logged("issuer.vm", "discovery", lambda entry: entry.path == "/")
        assert seen.requested_server_name == "outbound_.8000_._.issuer.vm.svc.cluster.local"


def _lacking(mesh: Mesh) -> list[str]:
    return [each["message"] for each in _problems(mesh) if each["reason"].startswith("Keys")]


def _get(mesh: Mesh, path: str, bearer: str = "") -> str:
    more = ("-H", f"Authorization: Bearer {bearer}") if bearer else ()
    return mesh.status_code("client.vm", f"http://shop:8000{path}", *more)


def _problems(mesh: Mesh) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mesh.status["problems"]
    return found
