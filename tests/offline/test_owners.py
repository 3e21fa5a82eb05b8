"""Whose each step of a way is: the object, the field that decided, and the line that it stands on."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from pilotfish.explain.ask import parse
from pilotfish.explain.owner import Owner
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import Stage, Trace
from pilotfish.explain.walk import explain
from pilotfish.offline.owners import find_owners, locate_in
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import World, build

MESH = """\
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: vm, labels: {app: web, version: v1}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: vm, labels: {app: client}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: narrow, namespace: vm, labels: {app: narrow}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: closed, namespace: vm, annotations: {traffic.sidecar.istio.io/includeOutboundIPRanges: 192.0.2.0/24}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: past, namespace: vm}
spec:
  selector: {matchLabels: {app: past}}
  template:
    metadata:
      labels: {app: past}
      annotations:
        traffic.sidecar.istio.io/excludeOutboundPorts: "80"
        traffic.sidecar.istio.io/excludeOutboundIPRanges: 203.0.113.0/24
        traffic.sidecar.istio.io/excludeInboundPorts: "9000"
    spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - name: tcp
    port: 90
  - {name: tcp-plain, port: 91}
---
apiVersion: v1
kind: Service
metadata: {name: past, namespace: vm}
spec: {selector: {app: past}, ports: [{name: tcp, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: mail, namespace: vm}
spec: {selector: {app: web}, ports: [{port: 2525}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: vm}
spec:
  hosts:
  - a.example.com
  - b.example.com
  ports:
  - {number: 81, name: http, protocol: HTTP}
  resolution: STATIC
  endpoints:
  - address: 203.0.113.1
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec:
  host: web
  trafficPolicy:
    tls: {mode: SIMPLE, sni: outer}
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy:
      portLevelSettings:
      - port: {number: 80}
        tls: {mode: DISABLE}
      - port: {number: 90}
        tls: {mode: SIMPLE, sni: inner}
  - name: v3
    labels: {version: v3}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web]
  http:
  - match:
    - uri: {prefix: /v3}
    - headers: {version: {exact: v3}}
    route:
    - {destination: {host: web, subset: v3}}
  - match: [{uri: {prefix: /late}}]
    fault:
      delay: {fixedDelay: 1s, percentage: {value: 100}}
    route:
    - {destination: {host: web, subset: v1}}
  - match: [{uri: {prefix: /half}}]
    fault:
      abort: {httpStatus: 418, percentage: {value: 50}}
    route:
    - {destination: {host: web, subset: v3}, weight: 0}
    - destination: {host: web, subset: v1}
      weight: 60
    - destination: {host: nowhere}
      weight: 40
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /self}}]
    directResponse: {status: 207}
  - match: [{uri: {prefix: /pages}}]
    corsPolicy: {allowOrigins: [{exact: http://a.example}]}
    route: [{destination: {host: web, subset: v1}}]
  tcp:
  - match: [{port: 90}]
    route:
    - {destination: {host: web, subset: v3}, weight: 0}
    - {destination: {host: web, subset: v1}, weight: 100}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow, namespace: vm}
spec:
  workloadSelector: {labels: {app: narrow}}
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress:
  - port: {number: 81, name: http, protocol: HTTP}
    hosts: [./b.example.com]
  - hosts:
    - istio-system/*
    - ./web.vm.svc.cluster.local
---
apiVersion: v1
kind: Pod
metadata: {name: inner, namespace: vm, labels: {app: inner}}
spec: {containers: [{name: a, command: [a]}]}
---
apiVersion: v1
kind: Service
metadata: {name: inner, namespace: vm}
spec: {selector: {app: inner}, ports: [{name: http, port: 7000}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: inner, namespace: vm}
spec:
  workloadSelector: {labels: {app: inner}}
  ingress:
  - port: {number: 7001, name: tcp, protocol: TCP}
    defaultEndpoint: 127.0.0.1:7002
  - port: {number: 7000, name: http, protocol: HTTP}
    defaultEndpoint: 127.0.0.1:7003
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door, namespace: vm}
spec:
  ingressClassName: istio
  rules:
  - host: door.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: vm}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8443, name: tls, protocol: TLS}
    hosts: [tls.example.com]
    tls: {mode: PASSTHROUGH}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, serverCertificate: /a.pem, privateKey: /a.key}
  - port: {number: 80, name: http, protocol: HTTP}
    hosts:
    - other.example.com
    - shop.example.com
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec:
  hosts: [shop.example.com, tls.example.com]
  gateways: [edge]
  tls:
  - match: [{sniHosts: [tls.example.com]}]
    route:
    - {destination: {host: web, port: {number: 91}, subset: v1}, weight: 30}
    - {destination: {host: web, port: {number: 91}}, weight: 70}
  http:
  - route: [{destination: {host: web, port: {number: 80}, subset: v1}}]
"""


@cache
def world() -> World:
    desired = read([("mesh.yaml", MESH)])
    assert [p for p in desired.problems if p.severity == "error"] == []
    return build(desired)


@cache
def scene() -> Scene:
    return build_scene(world())


def owned(source: str, to: str, **options: Any) -> tuple[Trace, dict[int, Owner]]:
    pods = world().find_pods(source, "vm")
    trace = explain(scene(), scene().stations[pods[0]] if pods else None, parse(to, **options))
    return trace, dict(find_owners(world(), trace, locate_in(world())))


LINES = MESH.splitlines()
VS, DR, SERVICE = "VirtualService web", "DestinationRule web", "Service web"
PREFIX = "traffic.sidecar.istio.io/"
ANNOTATION = f"spec.template.metadata.annotations[{PREFIX}"


@pytest.mark.parametrize(
    ("source", "to", "options", "stage", "owner", "line"),
    [
        ("client", "http://web/v3", {}, "dns", f"{SERVICE} metadata.name", "name: web,"),
        ("client", "http://web/v3", {}, "virtual_host", f"{SERVICE} spec.ports[0]", "name: http"),
        ("client", "http://web/v3", {}, "route", f"{VS} spec.http[0].match[0]", "/v3"),
        ("client", "http://web/", {"headers": ["version: v3"]}, "route", f"{VS} spec.http[0].match[1]", "exact: v3"),
        ("client", "http://web/v3", {}, "cluster", f"{VS} spec.http[0].route[0]", "subset: v3"),
        ("client", "http://web/v3", {}, "endpoint", f"{DR} spec.subsets[1].labels", "version: v3"),
        ("client", "http://web/late", {}, "http_filter", f"{VS} spec.http[1].fault.delay", "fixedDelay"),
        ("client", "http://web/half", {}, "http_filter", f"{VS} spec.http[2].fault.abort", "418"),
        ("client", "http://web/half", {}, "cluster", f"{VS} spec.http[2].route[1]", "destination: {host: web, sub"),
        ("client", "http://web/old", {}, "route", f"{VS} spec.http[3].redirect", "/new"),
        ("client", "http://web/self", {}, "route", f"{VS} spec.http[4].directResponse", "207"),
        (
            "client",
            "http://web/pages",
            {"method": "OPTIONS", "headers": ["Origin: http://a.example", "Access-Control-Request-Method: GET"]},
            "http_filter",
            f"{VS} spec.http[5].corsPolicy",
            "corsPolicy",
        ),
        ("client", "web:90", {}, "listener", f"{SERVICE} spec.ports[1]", "name: tcp"),
        ("client", "web:90", {}, "filter_chain", f"{VS} spec.tcp[0]", "port: 90"),
        ("client", "web:90", {}, "cluster", f"{VS} spec.tcp[0].route[1]", "weight: 100"),
        (
            "client",
            "web:90",
            {},
            "tls",
            f"{DR} spec.subsets[0].trafficPolicy.portLevelSettings[1].tls",
            "sni: inner",
        ),
        ("client", "web:91", {}, "filter_chain", f"{SERVICE} spec.ports[2]", "tcp-plain"),
        ("client", "web:91", {}, "cluster", f"{SERVICE} spec.ports[2]", "tcp-plain"),
        ("client", "web:91", {}, "endpoint", f"{SERVICE} spec.selector", "selector: {app: web}"),
        ("client", "web:91", {}, "tls", f"{DR} spec.trafficPolicy.tls", "sni: outer"),
        ("client", "http://b.example.com:81/", {}, "dns", "ServiceEntry outside spec.hosts[1]", "b.example.com"),
        ("client", "http://b.example.com:81/", {}, "virtual_host", "ServiceEntry outside spec.ports[0]", "number: 81"),
        ("client", "http://b.example.com:81/", {}, "endpoint", "ServiceEntry outside spec.endpoints", "endpoints:"),
        ("narrow", "http://web/v3", {}, "virtual_host", "Sidecar narrow spec.egress[1].hosts[1]", "./web"),
        ("narrow", "http://b.example.com:81/", {}, "listener", "Sidecar narrow spec.egress[0].port", "number: 81"),
        ("narrow", "http://b.example.com:81/", {}, "virtual_host", "Sidecar narrow spec.egress[0].hosts[0]", "./b"),
        ("narrow", "http://past.vm.svc.cluster.local:9000/", {}, "dns", "Sidecar narrow spec.egress", "egress:"),
        (
            "narrow",
            "http://web/",
            {"headers": ["Host: nobody"]},
            "virtual_host",
            "Sidecar narrow spec.outboundTrafficPolicy",
            "REGISTRY_ONLY",
        ),
        ("client", "http://inner:7000/", {}, "filter_chain", "Sidecar inner spec.ingress[1]", "number: 7000"),
        ("", "http://door.example.com/", {}, "route", "Ingress door spec.rules", "rules:"),
        ("past", "http://web/", {}, "netfilter", f"Deployment past {ANNOTATION}excludeOutboundPorts]", '"80"'),
        (
            "past",
            "203.0.113.1:1234",
            {},
            "netfilter",
            f"Deployment past {ANNOTATION}excludeOutboundIPRanges]",
            "203.0.113.0/24",
        ),
        ("client", "past:9000", {}, "netfilter", f"Deployment past {ANNOTATION}excludeInboundPorts]", '"9000"'),
        (
            "closed",
            "http://web/",
            {},
            "netfilter",
            f"Pod closed metadata.annotations[{PREFIX}includeOutboundIPRanges]",
            "192.0.2.0/24",
        ),
        ("", "https://tls.example.com:8443/", {}, "listener", "Gateway edge spec.servers[0].port", "number: 8443"),
        ("", "http://shop.example.com/", {}, "virtual_host", "Gateway edge spec.servers[2].hosts[1]", "- shop.ex"),
        ("", "https://shop.example.com/", {}, "tls", "Gateway edge spec.servers[1].tls", "a.pem"),
        ("", "https://tls.example.com:8443/", {}, "cluster", "VirtualService shop spec.tls[0].route[1]", "weight: 70"),
        ("", "http://no.example.com/", {}, "virtual_host", "VirtualService shop spec.hosts[0]", "[shop.ex"),
        ("client", "http://web/none", {}, "route", f"{VS} spec.http", "http:"),
        ("client", "mail:2525", {"server_first": True}, "listener_filter", "Service mail spec.ports[0]", "port: 2525"),
        ("", "http://shop.example.com/", {}, "route", "VirtualService shop spec.http[0]", "route:"),
        ("", "http://shop.example.com/", {}, "cluster", "VirtualService shop spec.http[0].route[0]", "route:"),
    ],
)
def test_a_step_is_the_field_s_that_decided(
    source: str, to: str, options: dict[str, Any], stage: str, owner: str, line: str
) -> None:
    trace, owners = owned(source, to, **options)
    found = [owners[step.id] for step in trace.at(Stage(stage)) if step.id in owners]
    said = [f"{each.kind} {each.name} {each.field}" for each in found]
    assert owner in said
    at = found[said.index(owner)].line
    assert line in LINES[at - 1]


def test_the_server_s_steps_are_the_service_s_port_that_leads_there() -> None:
    trace, owners = owned("client", "http://web/v3")
    trace, owners = owned("client", "http://web/late")
    server = [(s.stage.value, owners[s.id].field) for s in trace.steps if s.side == "server" and s.id in owners]
    assert server == [
        ("filter_chain", "spec.ports[0]"),
        ("virtual_host", "spec.ports[0]"),
        ("cluster", "spec.ports[0].targetPort"),
        ("app", "spec.ports[0].targetPort"),
    ]


def test_a_line_that_moves_changes_nothing_that_a_proxy_is_sent() -> None:
    moved = build(read([("mesh.yaml", f"# a comment\n{MESH}")]))
    proxy = world().proxies["client.vm"]
    assert moved.mesh.resources(proxy) == world().mesh.resources(proxy)
