"""Requests that the server's proxy does not read again: what comes and goes with that, clients do not notice."""

from __future__ import annotations

import json
import sys
import textwrap

from tests.e2e.harness import MakeMesh, Mesh
from tests.e2e.load import BENCH, STEADY, load
from tests.waiting import wait_until

CLIENT = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: vm, labels: {app: client}}
spec: {containers: [{name: app, command: [sleep, infinity]}]}
---
"""
SERVED = f"""
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: vm}}
spec: {{selector: {{app: server}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: server, namespace: vm}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: server}}}}
  template:
    metadata: {{labels: {{app: server}}}}
    spec:
      containers:
      - name: app
        command: [{sys.executable}, -S, -E, {BENCH}/http_server.py, "8000"]
        readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
"""
LOGGED = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout"}
"""
ASKING = (*STEADY, "server", "8000", "100", "-", "kept")
UNREAD = "read by the client's proxy"


def policy(action: str) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: readers, namespace: vm}}
spec: {{action: {action}, rules: [{{to: [{{operation: {{methods: [GET]}}}}]}}]}}
"""


def listed(mesh: Mesh, what: str, pod: str = "deploy/server.vm") -> None:
    def is_said() -> bool:
        return what in mesh.call("pc", "listeners", pod, "--port", "15006", check=False).stdout

    wait_until(f"the listeners of {pod} say {what!r}", is_said)


def test_a_reason_to_read_comes_and_goes_under_load(make_mesh: MakeMesh) -> None:
    """A policy, the access log, a rollout: no request fails, and the first reason holds for all connections at once."""
    with make_mesh("unread", CLIENT + SERVED) as mesh:
        listed(mesh, UNREAD)
        with load(mesh, "client.vm", *ASKING) as found:
            policy_file = mesh.write("policy.yaml", policy("ALLOW"))
            listed(mesh, "requests are read: AuthorizationPolicy vm/readers")
            mesh.write("log.yaml", LOGGED)
            listed(mesh, "requests are read: meshConfig.accessLogFile")
            policy_file.unlink()
            (mesh.sources / "log.yaml").unlink()
            listed(mesh, UNREAD)
            mesh.call("rollout", "restart", "deploy/server", "-n", "vm")
            mesh.call("rollout", "status", "deploy/server", "-n", "vm")
        assert (found["lost"], found["requests"] > 100) == ({}, True), found
        with load(mesh, "client.vm", *ASKING) as found:
            mesh.write("policy.yaml", policy("DENY"))
            listed(mesh, "requests are read: AuthorizationPolicy vm/readers")
            wait_until("a request is refused", lambda: mesh.status_code("client.vm", "http://server:8000/") == "403")
            mesh.exec("client.vm", "sleep", "1")
        assert set(found["lost"]) == {"403"}, found
        assert found["lost"]["403"] >= 100, "kept connections are refused as well"


GONE = """
apiVersion: v1
kind: Pod
metadata: {name: gone, namespace: vm, labels: {app: server}}
spec: {containers: [{name: app, command: [sleep, infinity]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server, namespace: vm}
spec:
  hosts: [server]
  http:
  - match: [{uri: {prefix: /tried}}]
    retries: {attempts: 3, retryOn: "503"}
    route: [{destination: {host: server}}]
  - retries: {attempts: 0}
    route: [{destination: {host: server}}]
"""


def test_an_app_that_does_not_listen(make_mesh: MakeMesh) -> None:
    """Its callers are answered 503, and those who have 503 tried again get their answer elsewhere."""
    with make_mesh("unread-gone", CLIENT + SERVED + GONE) as mesh:
        listed(mesh, UNREAD)

        def codes(path: str) -> set[str]:
            urls = f"http://server:8000/{path}?[1-60]"
            said = mesh.curl("client.vm", urls, "-o", "/dev/null", "-w", "%{http_code}\n", check=False).stdout
            return set(said.split())

        assert codes("") == {"200", "503"}
        assert codes("tried") == {"200"}


IDLE = """
import socketserver, sys, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
            asked = time.monotonic()
        print("ended after", round(time.monotonic() - asked, 1), flush=True)
socketserver.ThreadingTCPServer(("", 8000), Handler).serve_forever()
"""


def test_an_idle_connection_is_ended_before_the_app_may_end_it(make_mesh: MakeMesh) -> None:
    """Servers that do so wait for five seconds or longer: a request that was just sent would be lost."""
    served = (
        SERVED.partition("---\n")[0]
        + f"""---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: vm, labels: {{app: server}}}}
spec:
  containers:
  - name: app
    command: [{sys.executable}, -c, {json.dumps(textwrap.dedent(IDLE))}]
    readinessProbe: {{httpGet: {{path: /, port: 8000}}, periodSeconds: 100}}
"""
    )
    with make_mesh("unread-idle", CLIENT + served) as mesh:
        wait_until("the app answers", lambda: mesh.status_code("client.vm", "http://server:8000/") == "200")

        def after() -> list[float]:
            lines = mesh.call("logs", "server.vm").stdout.splitlines()
            return [found for line in lines if (found := float(line.rpartition(" ")[2])) > 1]

        (found,) = wait_until("it is ended", after)
        assert 3.5 < found < 5


RPC_SERVER = """
import grpc
from concurrent.futures import ThreadPoolExecutor
echo = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", {"Say": echo}),))
server.add_insecure_port("0.0.0.0:8000")
server.start()
server.wait_for_termination()
"""
RPC_CLIENT = """
import collections, grpc
codes = collections.Counter()
with grpc.insecure_channel("rpc:8000") as channel:
    for _ in range(60):
        try:
            channel.unary_unary("/Echo/Say")(b"hello", timeout=10)
            codes["OK"] += 1
        except grpc.RpcError as error:
            codes[error.code().name] += 1
print(*codes)
"""
RPC = f"""
apiVersion: v1
kind: Service
metadata: {{name: rpc, namespace: vm}}
spec: {{selector: {{app: rpc}}, ports: [{{name: grpc, port: 8000}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: rpc, namespace: vm, labels: {{app: rpc}}}}
spec:
  containers:
  - name: app
    command: [{sys.executable}, -c, {json.dumps(RPC_SERVER)}]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: gone, namespace: vm, labels: {{app: rpc}}}}
spec: {{containers: [{{name: app, command: [sleep, infinity]}}]}}
"""


def test_what_grpc_calls_of_an_app_that_is_gone_is_tried_elsewhere(make_mesh: MakeMesh) -> None:
    """As where the server's proxy reads them and answers UNAVAILABLE, which nobody has to ask to be tried again."""
    with make_mesh("unread-rpc", CLIENT + RPC) as mesh:
        for reading in ("", 'annotations: {pilotfish.io/inbound: "http"}, '):
            mesh.write("mesh.yaml", CLIENT + RPC.replace("labels: {app: rpc}", f"{reading}labels: {{app: rpc}}"))
            what = "pilotfish.io/inbound" if reading else UNREAD
            for pod in ("rpc.vm", "gone.vm"):
                listed(mesh, what, pod)
            assert mesh.exec("client.vm", sys.executable, "-c", RPC_CLIENT).stdout.split() == ["OK"]
