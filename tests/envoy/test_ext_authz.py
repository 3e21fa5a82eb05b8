"""What each field of an extension provider changes, for who calls a gateway and for the app behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.envoy.conftest import EDGE, PEER4, POD4, LiveEnvoy, Start
from tests.envoy.ext_authz import start_ext_authz
from tests.envoy.wire import start_wire

MESH = f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: edge}}
spec:
  selector: {{istio: edge}}
  servers: [{{port: {{number: 8080, name: a, protocol: HTTP}}, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: app, namespace: edge}}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - match: [{{headers: {{x-ext-authz-check-result: {{exact: allowed}}}}}}]
    route: [{{destination: {{host: app.example.com, port: {{number: 81}}}}}}]
  - route: [{{destination: {{host: app.example.com, port: {{number: 80}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app, namespace: edge}}
spec:
  hosts: [app.example.com]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 81, name: http-chosen, protocol: HTTP}}]
  endpoints: [{{address: {PEER4}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: asked, namespace: edge}}
spec:
  hosts: [asked.example.com]
  resolution: STATIC
  ports:
  - {{number: 8000, name: http, protocol: HTTP}}
  - {{number: 8001, name: http-holds, protocol: HTTP}}
  - {{number: 8009, name: http-dead, protocol: HTTP}}
  - {{number: 9000, name: grpc, protocol: GRPC}}
  - {{number: 9009, name: grpc-dead, protocol: GRPC}}
  endpoints: [{{address: {PEER4}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: ask, namespace: edge}}
spec:
  selector: {{matchLabels: {{istio: edge}}}}
  action: CUSTOM
  provider: {{name: asked}}
  rules: [{{to: [{{operation: {{paths: ["/x*"]}}}}]}}]
---
"""
RECEIVED = "x-ext-authz-check-received: "
TOLD = {"headersToUpstreamOnAllow": ["x-ext-authz-*"]}
"""So that the app shows what the provider was asked."""
BODY, LONG = "hello", "hello, hello, hello"


@dataclass(frozen=True)
class Case:
    fields: dict[str, Any]
    expected: tuple[str, ...]
    """Each stands in what comes back."""
    port: int = 8000
    body: str = ""
    never: str = "text that nobody sends"
    headers: dict[str, str] = field(default_factory=lambda: {"x-ext-authz": "allow"})

    @property
    def config(self) -> str:
        way = "envoyExtAuthzGrpc" if self.port >= 9000 else "envoyExtAuthzHttp"
        asked = {"service": "asked.example.com", "port": self.port, **self.fields}
        if way == "envoyExtAuthzHttp":
            asked |= {"includeRequestHeadersInCheck": ["x-ext-authz"]} if "includeHeadersInCheck" not in asked else {}
        mesh = json.dumps({"extensionProviders": [{"name": "asked", way: asked}]})
        metadata = {"name": "istio", "namespace": "istio-system"}
        return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": mesh}})

    @property
    def text(self) -> str:
        headers = {**self.headers, "x-show": "1", "Content-Length": str(len(self.body)), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST /x HTTP/1.1\r\nHost: app\r\n{lines}\r\n{self.body}"


ALLOWED, DENIED = "HTTP/1.1 200 OK", "HTTP/1.1 403 Forbidden"
BODIES = {"includeRequestBodyInCheck": {"maxRequestBytes": 9}}
PARTS = {"includeRequestBodyInCheck": {"maxRequestBytes": 9, "allowPartialMessage": True}}
BYTES = {"includeRequestBodyInCheck": {"maxRequestBytes": 9, "packAsBytes": True}}
CASES = {
    "asked": Case(TOLD, (ALLOWED, f"{RECEIVED}POST /x ", "app80 POST /x")),
    "denied": Case({}, (DENIED, RECEIVED), headers={}),
    "told of": Case(
        {"headersToDownstreamOnDeny": ["x-ext-authz-check-res*"]},
        (DENIED, "x-ext-authz-check-result: denied"),
        headers={},
        never=RECEIVED,
    ),
    "told of, allowed": Case({"headersToDownstreamOnAllow": ["X-Ext-*"]}, (ALLOWED, "\nx-ext-authz-check-result: a")),
    "by a path": Case({**TOLD, "pathPrefix": "/check"}, (ALLOWED, f"{RECEIVED}POST /check/x ")),
    "of old": Case(
        {**TOLD, "includeHeadersInCheck": ["x-ext-authz", "x-o*"]},
        ("'x-own': '1'",),
        headers={"x-ext-authz": "allow", "x-own": "1"},
    ),
    "more": Case({**TOLD, "includeAdditionalHeadersInCheck": {"x-more": "2"}}, (ALLOWED, "'x-more': '2'")),
    "no body": Case(TOLD, (ALLOWED, "'content-length': '0'"), body=LONG),
    "a body": Case({**TOLD, **BODIES}, (ALLOWED, "'content-length': '5'"), body=BODY),
    "a body that is too long": Case({**TOLD, **BODIES}, ("HTTP/1.1 413 ",), body=LONG),
    "a part of one": Case({**TOLD, **PARTS}, (ALLOWED, "'content-length': '9'"), body=LONG),
    "again": Case({**TOLD, "clearRouteCache": True}, (ALLOWED, "app81 POST /x")),
    "dead": Case({}, (DENIED,), 8009),
    "dead, open": Case({"failOpen": True}, (ALLOWED,), 8009),
    "dead, said": Case({"statusOnError": "503"}, ("HTTP/1.1 503 ",), 8009),
    "late": Case({"timeout": "0.2s", "statusOnError": "504", "pathPrefix": "/hold/200"}, ("HTTP/1.1 504 ",), 8001),
    "late, open": Case({"timeout": "0.2s", "failOpen": True, "pathPrefix": "/hold/200"}, (ALLOWED,), 8001),
    "by gRPC": Case({}, (ALLOWED, 'path: "/x"', "app80 POST /x"), 9000, BODY, 'body: "hello"'),
    "by gRPC, a body": Case(BODIES, (ALLOWED, ' body: "hello"'), 9000, BODY),
    "by gRPC, too long": Case(BODIES, ("HTTP/1.1 413 ",), 9000, LONG),
    "by gRPC, a part": Case(PARTS, (ALLOWED, ' body: "hello, he"'), 9000, LONG),
    "by gRPC, bytes": Case(BYTES, (ALLOWED, 'raw_body: "hello"'), 9000, BODY),
    "by gRPC, again": Case({"clearRouteCache": True}, (ALLOWED, "app81 POST /x"), 9000),
    "by gRPC, late": Case(
        {"timeout": "0.2s", "statusOnError": "504"}, ("HTTP/1.1 504 ",), 9000, headers={"x-ext-authz": "late"}
    ),
    "by gRPC, dead": Case({"statusOnError": "503"}, ("HTTP/1.1 503 ",), 9009),
    "by gRPC, open": Case({"failOpen": True}, (ALLOWED,), 9009),
}


def test_what_is_asked_and_what_comes_of_it(start: Start) -> None:
    live = start(MESH + CASES["asked"].config, proxy=EDGE)
    start_ext_authz(live, PEER4)
    for port in (80, 81):
        live.start_app(live.peer, PEER4, port, f"app{port}")
    start_wire(live, PEER4, 8001, "holds")
    wrong = {}
    for name, case in CASES.items():
        answer = _answer(live, case)
        if not all(text in answer for text in case.expected) or case.never in answer:
            wrong[name] = answer
    assert wrong == {}


def _answer(live: LiveEnvoy, case: Case) -> str:
    live.update(MESH + case.config, EDGE)
    return live.call(live.peer, POD4, 8080, case.text)
