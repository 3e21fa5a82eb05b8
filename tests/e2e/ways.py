"""A mesh with ways of every kind: what requests are generated for (`tests/e2e/asked.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from pilotfish.runtime.echo.calls import server_command

Json = dict[str, Any]
DRAWN = ("drawn0", "drawn1", "drawn2", "drawn3")
"""Services whose routes are drawn."""
MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout"}
"""


def manifests(seed: int) -> str:
    objects = [*DEPLOYMENTS, *SERVICES, *ROUTES, *GATEWAYS, *_drawn(Random(seed))]
    return MESH + "".join(f"---\n{json.dumps(each)}\n" for each in objects)


# Pods


def _deployment(name: str, labels: Json, annotations: Json, *places: str, namespace: str = "default") -> Json:
    """Of an app that listens there; of one that does nothing, without."""
    container: Json = {"name": "app", "command": [*(server_command(places) if places else ("sleep", "infinity"))]}
    container |= {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}} if places else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [container]},
            },
        },
    }


_BARE = {"sidecar.istio.io/inject": "false"}
_EVERYWHERE = ("0.0.0.0:8000", "0.0.0.0:7000", "127.0.0.1:8002")
_ONE_MORE = "0.0.0.0:7001"
"""Not all pods of an app listen there."""
DEPLOYMENTS = (
    _deployment("shop-v1", {"app": "shop", "version": "v1"}, {}, *_EVERYWHERE, _ONE_MORE),
    _deployment("shop-v2", {"app": "shop", "version": "v2"}, {}, *_EVERYWHERE),
    _deployment("bare-v1", {"app": "bare", "version": "v1"}, _BARE, *_EVERYWHERE, _ONE_MORE),
    _deployment("bare-v2", {"app": "bare", "version": "v2"}, _BARE, *_EVERYWHERE),
    _deployment("open", {"app": "open"}, {"traffic.sidecar.istio.io/excludeInboundPorts": "7000"}, *_EVERYWHERE),
    _deployment("client", {"app": "client"}, {}),
    _deployment("past", {"app": "past"}, {"traffic.sidecar.istio.io/excludeOutboundPorts": "80,90"}),
    _deployment("narrow", {"app": "narrow"}, {"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.96.0.0/16"}),
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apart"}},
    _deployment("scoped", {"app": "scoped"}, {}, namespace="apart"),
    _deployment("naked", {"app": "naked"}, _BARE),
)
CLIENTS = ("client", "scoped", "narrow", "past", "naked")
"""With a sidecar, with one that knows little, with some ways past it, and without one."""

# Services


def _service(name: str, app: str, ports: dict[str, tuple[int, int]], **spec: Any) -> Json:
    listed = [{"name": word, "port": port, "targetPort": target} for word, (port, target) in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": listed, **spec},
    }


_PORTS = {
    "http": (80, 8000),
    "http-none": (81, 8001),
    "http-local": (82, 8002),
    "http-half": (83, 7001),
    "http2": (84, 8000),
    "any": (85, 8000),
    "tcp": (90, 7000),
    "tcp-half": (93, 7001),
    "tls": (443, 7000),
}
PORTS = (*(port for port, _ in _PORTS.values()), 9999)
SERVICES = (
    _service("shop", "shop", _PORTS),
    _service("raw", "shop", {"tcp-web": (80, 8000), "tcp-none": (81, 8001), "any": (85, 8000)}),
    _service("each", "shop", {"http": (80, 8000), "tcp": (90, 7000)}, clusterIP="None"),
    _service("bare", "bare", _PORTS),
    _service("open", "open", _PORTS),
    _service("empty", "nobody", {"http": (80, 8000), "tcp": (90, 7000)}),
    _service("split", "shop", {"tcp": (90, 7000), "tls": (443, 7000)}),
    *(_service(name, "shop", {"http": (80, 8000), "http-half": (83, 7001)}) for name in DRAWN),
)

# Routes


def _istio(kind: str, name: str, namespace: str = "default", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _to(subset: str = "", host: str = "shop", weight: int = 0, port: int = 0) -> Json:
    destination: Json = {"host": host} | ({"subset": subset} if subset else {})
    destination |= {"port": {"number": port}} if port else {}
    return {"destination": destination} | ({"weight": weight} if weight else {})


def _rule(prefix: str, **fields: Any) -> Json:
    return {"match": [{"uri": {"prefix": prefix}}], **fields}


def _rules(host: str, **policy: Any) -> Json:
    subsets = [{"name": each, "labels": {"version": each}} for each in ("v1", "v2", "v3")]
    return _istio("DestinationRule", host, host=host, subsets=subsets, **policy)


_EVERY = {"percentage": {"value": 100}}
ROUTES = (
    _rules("shop"),
    _rules("bare"),
    _rules("split"),
    *(_rules(name) for name in DRAWN[:3]),
    _rules(DRAWN[3], trafficPolicy={"loadBalancer": {"consistentHash": {"httpHeaderName": "x-a"}}}),
    _istio(
        "VirtualService",
        "shop",
        hosts=["shop"],
        http=[
            {"match": [{"headers": {"user": {"exact": "jason"}}, "uri": {"prefix": "/who"}}], "route": [_to("v2")]},
            {"match": [{"method": {"exact": "POST"}, "uri": {"exact": "/who"}}], "route": [_to("v1")]},
            {"match": [{"queryParams": {"x": {"exact": "1"}}, "uri": {"prefix": "/who"}}], "route": [_to("v1")]},
            _rule("/fault", fault={"abort": {"httpStatus": 418} | _EVERY}, route=[_to()]),
            _rule("/old", redirect={"uri": "/new", "redirectCode": 302}),
            _rule("/direct", directResponse={"status": 207}),
            _rule("/subset", route=[_to("v3")]),
            _rule("/nowhere", route=[_to(host="absent")]),
            _rule("/rewritten", rewrite={"uri": "/who"}, route=[_to("v1")]),
            _rule("/split", route=[_to("v1", weight=30), _to("v2", weight=70)]),
            _rule("/again", retries={"attempts": 2, "retryOn": "5xx"}, route=[_to(port=83)]),
            {"match": [{"uri": {"regex": "/re[0-9]+"}}], "route": [_to("v2")]},
            {"match": [{"uri": {"prefix": "/CaSe"}, "ignoreUriCase": True}], "route": [_to("v1")]},
            {"match": [{"uri": {"prefix": "/who"}}, {"uri": {"exact": "/"}}], "route": [_to()]},
            _rule("/cors", corsPolicy={"allowOrigins": [{"exact": "http://a.example"}]}, route=[_to("v1")]),
        ],
    ),
    _istio(
        "VirtualService",
        "bare",
        hosts=["bare"],
        http=[
            _rule("/who", retries={"attempts": 0}, route=[_to(host="bare", port=83)]),
            _rule("/split", retries={"attempts": 1, "retryOn": "gateway-error"}, route=[_to(host="bare", port=83)]),
            _rule(
                "/again",
                retries={"attempts": 2, "retryOn": "connect-failure", "retryIgnorePreviousHosts": False},
                route=[_to(host="bare", port=83)],
            ),
            _rule("/subset", route=[_to("v2", host="bare", port=83)]),
            {"route": [_to(host="bare")]},
        ],
    ),
    _istio("VirtualService", "each", hosts=["each"], http=[{"route": [_to(host="each")], "timeout": "3s"}]),
    _istio(
        "VirtualService",
        "split",
        hosts=["split"],
        tcp=[
            {
                "match": [{"port": 90, "sourceLabels": {"app": "client"}}],
                "route": [_to("v1", "split", 50), _to("v2", "split", 50)],
            },
            {"match": [{"port": 90}], "route": [_to("v2", "split")]},
        ],
        tls=[
            {"match": [{"port": 443, "sniHosts": ["split"]}], "route": [_to("v1", "split", port=443)]},
            {
                "match": [{"port": 443, "sniHosts": ["split.default.svc.cluster.local"]}],
                "route": [_to("v3", "split", port=443)],
            },
        ],
    ),
    _istio(
        "Sidecar",
        "scoped",
        "apart",
        egress=[{"hosts": ["default/shop.default.svc.cluster.local", "default/each.default.svc.cluster.local"]}],
        outboundTrafficPolicy={"mode": "REGISTRY_ONLY"},
    ),
    _istio(
        "ServiceEntry",
        "outside",
        hosts=["outside.example.com"],
        addresses=["10.200.0.1"],
        location="MESH_INTERNAL",
        resolution="STATIC",
        workloadSelector={"labels": {"app": "bare"}},
        ports=[
            {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8000},
            {"number": 90, "name": "tcp", "protocol": "TCP", "targetPort": 7001},
        ],
    ),
)
GATEWAY = "istio-ingressgateway.istio-system"
GATEWAYS = (
    _istio(
        "Gateway",
        "edge",
        selector={"istio": "ingressgateway"},
        servers=[
            {
                "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                "hosts": ["shop.example.com", "*.wild.example.com"],
            },
            {
                "port": {"number": 443, "name": "tls", "protocol": "TLS"},
                "hosts": ["shop.example.com"],
                "tls": {"mode": "PASSTHROUGH"},
            },
        ],
    ),
    _istio(
        "VirtualService",
        "edge",
        hosts=["shop.example.com", "*.wild.example.com"],
        gateways=["edge"],
        http=[
            _rule("/who", route=[_to("v1", port=80)]),
            _rule("/subset", route=[_to("v3", port=80)]),
            _rule("/old", redirect={"authority": "new.example.com", "redirectCode": 308}),
            _rule("/again", route=[_to(host="bare", port=83)]),
            _rule("/split", route=[_to(port=80)], retries={"attempts": 1, "retryOn": "5xx"}),
        ],
        tls=[{"match": [{"port": 443, "sniHosts": ["shop.example.com"]}], "route": [_to(port=443)]}],
    ),
)

# Routes that are drawn: paths and headers of few letters, so that much matches and much does not

PATHS = ("/a", "/a/b", "/b", "/A", "/ab", "/a?x=1", "/a?x=12&y", "/")
HEADERS: tuple[dict[str, str], ...] = ({}, {"x-a": "1"}, {"x-a": "12"}, {"x-a": "1", "x-b": "z"}, {"x-b": "1"})
AUTHORITIES = ("", "drawn0:80", "a.example.com")


def _drawn(random: Random) -> Iterator[Json]:
    for name in DRAWN:
        rules = [{"name": f"r{number}", **_draw_rule(random, name)} for number in range(8)]
        if random.random() < 0.5:
            rules.append({"name": "last", "route": [_to(host=name, port=80)]})
        yield _istio("VirtualService", name, hosts=[name, "a.example.com"] if name == "drawn1" else [name], http=rules)


def _draw_rule(random: Random, host: str) -> Json:
    return {"match": [_draw_match(random) for _ in range(random.choice((1, 1, 2)))], **_draw_action(random, host)}


def _draw_match(random: Random) -> Json:
    found: Json = {}
    for field, draw in random.sample(_CRITERIA, random.choice((1, 1, 2))):
        found[field] = draw(random)
    if "uri" in found and random.random() < 0.3:
        found["ignoreUriCase"] = True
    return found


def _draw_string(random: Random, words: tuple[str, ...]) -> Json:
    word = random.choice(words)
    return random.choice(({"exact": word}, {"prefix": word}, {"regex": f"{word}.?"}))


_CRITERIA: tuple[tuple[str, Any], ...] = (
    ("uri", lambda r: _draw_string(r, ("/a", "/ab", "/b", "/a/"))),
    ("uri", lambda r: _draw_string(r, ("/a", "/A", "/"))),
    ("headers", lambda r: {r.choice(("x-a", "x-b")): r.choice(({}, _draw_string(r, ("1", "12", "z"))))}),
    ("withoutHeaders", lambda r: {r.choice(("x-a", "x-b")): r.choice(({}, _draw_string(r, ("1", "z"))))}),
    ("queryParams", lambda r: {r.choice(("x", "y")): r.choice(({"exact": "1"}, {"regex": "1.?"}))}),
    ("method", lambda r: _draw_string(r, ("GET", "POST", "P"))),
    ("authority", lambda r: _draw_string(r, ("drawn", "a.example.com"))),
    ("scheme", lambda r: {"exact": r.choice(("http", "https"))}),
    ("port", lambda r: r.choice((80, 83))),
    ("sourceLabels", lambda r: {"app": r.choice(("client", "narrow"))}),
    ("sourceNamespace", lambda r: r.choice(("default", "other"))),
)


def _draw_action(random: Random, host: str) -> Json:
    route: Json = {"route": [_to(random.choice(("", "v1", "v2", "v3")), host, port=random.choice((80, 83)))]}
    weights = [_to(each, host, weight, 80) for each, weight in (("v1", 25), ("v2", 75), ("v3", 0)) if weight]
    return random.choice(
        (
            route,
            route,
            {"route": weights},
            route | {"rewrite": {"uri": "/a"}},
            route | {"rewrite": {"authority": "elsewhere"}},
            route | {"fault": {"abort": {"httpStatus": random.choice((418, 503)), "percentage": {"value": 50}}}},
            route | {"mirror": {"host": "raw", "port": {"number": 85}}, "timeout": "5s"},
            route
            | {
                "retries": {
                    "attempts": random.choice((0, 1, 3)),
                    "retryOn": random.choice(("5xx", "gateway-error", "reset", "connect-failure", "503")),
                    "retryIgnorePreviousHosts": random.random() < 0.5,
                }
            },
            {"redirect": {"uri": "/b", "redirectCode": random.choice((301, 307))}},
            {"redirect": {"scheme": "https", "authority": "new.example.com"}},
            {"directResponse": {"status": random.choice((200, 404, 503)), "body": {"string": "no"}}},
        )
    )
