"""What proxies add to requests and answers, as servers and clients see it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start

MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: "defaultConfig: {{proxyHeaders: {headers}}}"
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app, namespace: vm}}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: {peer}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: vm}}
spec:
  hosts: [app.example.com]
  http: [{{rewrite: {{authority: inner.example.com}}, route: [{{destination: {{host: app.example.com}}}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: own, namespace: vm}}
spec: {{clusterIP: 10.96.0.8, selector: {{app: webapp}}, ports: [{{name: http, port: 80}}]}}
"""
ALL_OFF = """{
 requestId: {disabled: true}, server: {disabled: true}, attemptCount: {disabled: true},
 envoyDebugHeaders: {disabled: true}, forwardedClientCert: ALWAYS_FORWARD_ONLY, preserveHttp1HeaderCase: true,
 xForwardedHost: {enabled: true}, xForwardedPort: {enabled: true}}""".replace("\n", "")


def started(start: Start, headers: str) -> LiveEnvoy:
    live = start(MESH.format(headers=headers, peer=PEER4))
    for netns, address in ((live.peer, PEER4), (live.netns, POD4)):
        command = ["ip", "netns", "exec", netns, sys.executable, "-ISc", _SERVER, address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        live.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    return live


def asked(live: LiveEnvoy, netns: str, address: str) -> tuple[str, str]:
    """(the head of the request as the server had it, that of the answer as the client did)."""
    sent = "GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Own-CASE: 1\r\nX-Forwarded-Client-Cert: By=me\r\n"
    head, _, body = live.call(netns, address, 80, sent + "Connection: close\r\n\r\n").partition("\n\n")
    return body, head


def test_what_is_added_where_nobody_says_otherwise(start: Start) -> None:
    live = started(start, "{}")
    request, answer = asked(live, live.netns, "10.96.0.7")
    assert {"x-request-id", "x-envoy-attempt-count", "x-own-case"} <= names(request)
    assert {"x-envoy-upstream-service-time", "x-answer-case"} <= names(answer)
    assert not {"x-forwarded-host", "x-forwarded-port"} & names(request)
    request, answer = asked(live, live.peer, POD4)
    assert "server: istio-envoy" in answer
    assert "x-forwarded-client-cert" not in names(request)


def test_what_is_left_out_and_added_where_the_mesh_says_so(start: Start) -> None:
    live = started(start, ALL_OFF)
    request, answer = asked(live, live.netns, "10.96.0.7")
    assert not {"x-request-id", "x-envoy-attempt-count"} & names(request)
    assert "X-Own-CASE" in names(request)
    assert "x-forwarded-host: app.example.com" in request.lower()
    assert "x-forwarded-port: " in request.lower()
    assert "X-Answer-CASE" in names(answer)
    assert "x-envoy-upstream-service-time" not in names(answer)
    request, answer = asked(live, live.peer, POD4)
    assert "Server: own" in answer
    assert "x-request-id" not in names(request)
    assert {"X-Own-CASE", "X-Forwarded-Client-Cert"} <= names(request)


@pytest.mark.parametrize("server", ["mine"])
def test_a_server_of_another_name(start: Start, server: str) -> None:
    live = started(start, f"{{server: {{value: {server}}}}}")
    assert f"server: {server}" in asked(live, live.peer, POD4)[1]


def names(head: str) -> set[str]:
    return {line.partition(":")[0] for line in head.splitlines()}


_SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 80)) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            head = b""
            while b"\\r\\n\\r\\n" not in head and (data := connection.recv(65536)):
                head += data
            told = ("HTTP/1.1 200 OK", "Server: own", "X-Answer-CASE: 1", "Connection: close")
            connection.sendall("\\r\\n".join((*told, f"Content-Length: {len(head)}", "", "")).encode() + head)
"""
