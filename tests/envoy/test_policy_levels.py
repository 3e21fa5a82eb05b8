"""Traffic policies of a subset, of a port, and of a port of a subset; and to whom a rule applies."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.certificates import issue
from tests.envoy.conftest import LiveEnvoy, Start
from tests.envoy.wire import start_wire
from tests.waiting import wait_until

ONE, THREE, MIXED = "10.245.1.2", "10.245.1.2 10.245.1.3 10.245.1.4", "10.245.1.2 10.245.1.5"
ENDPOINTS = {"10.245.1.2": "a", "10.245.1.3": "b", "10.245.1.4": "c", "10.245.1.5": "bad"}
SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.2.{index}]
  resolution: STATIC
  ports:
  - {{number: 80, name: one, protocol: HTTP, targetPort: {target}}}
  - {{number: 81, name: two, protocol: HTTP, targetPort: {target}}}
  - {{number: 82, name: raw, protocol: TCP, targetPort: {target}}}
  endpoints: [{endpoints}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{host: {name}.example.com, {rule}}}
---
"""
TO_SUBSET = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  http:
  - match: [{{port: 80}}]
    route: [{{destination: {{host: {name}.example.com, subset: s}}}}]
  - route: [{{destination: {{host: {name}.example.com}}}}]
  tcp:
  - route: [{{destination: {{host: {name}.example.com, subset: s}}}}]
---
"""
ONCE = "connectionPool: {http: {maxRequestsPerConnection: 1}}"
BY_USER = "loadBalancer: {consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 2048}}}"
EJECTING = (
    "outlierDetection: {consecutive5xxErrors: 1, interval: 0.1s, baseEjectionTime: 60s, maxEjectionPercent: 100MORE}"
)
TLS = "tls: {mode: SIMPLE, insecureSkipVerify: true}"
COOKIE = "httpCookie: {name: who, ttl: 60s, attributes: [{name: SameSite, value: Strict}, {name: Secure}]}"


def _subset(policy: str) -> str:
    return f"subsets: [{{name: s, trafficPolicy: {{{policy}}}}}]"


def _port(policy: str) -> str:
    return f"portLevelSettings: [{{port: {{number: 80}}, {policy}}}]"


def _rule(policy: str) -> str:
    return f"trafficPolicy: {{{policy}}}"


RULES = {
    "subsetpool": _subset(ONCE),
    "portpool": _rule(_port(ONCE)),
    "subsetport": _subset(_port(ONCE)),
    "shown": f"exportTo: ['*'], {_rule(ONCE)}",
    "hidden": f"exportTo: [.], {_rule(ONCE)}",
    "subsetuser": _subset(BY_USER),
    "portuser": _rule(_port(BY_USER)),
    "subsetbad": _subset(EJECTING.replace("MORE", "")),
    "portbad": _rule(_port(EJECTING.replace("MORE", ""))),
    "panic": _rule(EJECTING.replace("MORE", ", minHealthPercent: 60")),
    "subsettls": _subset(TLS),
    "porttls": _rule(_port(TLS)),
    "subsetproxied": _subset("proxyProtocol: {}"),
    "subsettunnel": _subset("tunnel: {targetHost: far.example.com, targetPort: 443}"),
    "cookie": _rule(f"loadBalancer: {{consistentHash: {{{COOKIE}}}}}"),
}


def _documents() -> Iterator[str]:
    for index, (name, rule) in enumerate(RULES.items(), 1):
        chosen = THREE if name.endswith("user") else MIXED if name.endswith(("bad", "panic")) else ONE
        yield SERVICE.format(
            name=name,
            namespace="other" if name in ("shown", "hidden") else "vm",
            index=index,
            target=8443 if name.endswith("tls") else 8080,
            endpoints=", ".join(f"{{address: {address}}}" for address in chosen.split()),
            rule=rule,
        )
        if name.startswith("subset"):
            yield TO_SUBSET.format(name=name)


@pytest.fixture
def live(start: Start) -> Iterator[LiveEnvoy]:
    live = start("".join(_documents()))
    for last in range(3, 6):
        subprocess.run(["ip", "-n", live.peer, "addr", "add", f"10.245.1.{last}/24", "dev", "eth0"], check=True)
    for address, name in ENDPOINTS.items():
        start_wire(live, address, 8080, name)
    with TemporaryDirectory() as made:
        folder, ca = Path(made), issue("ca")
        host = issue("host", ca)
        for file, text in (("server.pem", host.pem), ("server.key", host.key), ("ca.pem", ca.pem)):
            (folder / file).write_text(text)
        start_wire(live, ONE, 8443, "secret", folder)
        yield live


def _text(live: LiveEnvoy, name: str, port: int, *headers: str) -> str:
    lines = ("GET / HTTP/1.1", f"Host: {name}.example.com", "Connection: close", *headers, "", "")
    return live.call(live.netns, f"10.96.2.{1 + list(RULES).index(name)}", port, "\r\n".join(lines))


def _told(live: LiveEnvoy, name: str, port: int, *headers: str) -> Any:
    answer = _text(live, name, port, *headers)
    return json.loads(answer[answer.index("{") : answer.rindex("}") + 1])


def test_each_level_has_its_own_policy(live: LiveEnvoy) -> None:
    """One Envoy for all: it takes longer to start than to ask."""

    def renews(name: str, port: int) -> bool:
        return len({_told(live, name, port)["port"] for _ in range(2)}) == 2

    of_port_80 = (True, False)
    assert {n: (renews(n, 80), renews(n, 81)) for n in ("subsetpool", "portpool", "subsetport")} == dict.fromkeys(
        ("subsetpool", "portpool", "subsetport"), of_port_80
    )
    assert [renews(name, 80) for name in ("shown", "hidden")] == [True, False], "who is shown a rule has it"

    def chosen(name: str, port: int) -> set[str]:
        return {_told(live, name, port, "x-user: me")["name"] for _ in range(20)}

    for name in ("subsetuser", "portuser"):
        assert (len(chosen(name, 80)), len(chosen(name, 81)) > 1) == (1, True), name
    for name in ("subsettls", "porttls"):
        assert ["200 OK" in _text(live, name, port) for port in (80, 81)] == [True, False], name
    assert "saw PROXY TCP4 10.245.1.1" in _text(live, "subsetproxied", 82)
    assert "tunnel by CONNECT to far.example.com:443" in _text(live, "subsettunnel", 82)
    given = next(line for line in _text(live, "cookie", 80).splitlines() if line.startswith("set-cookie: who="))
    assert "SameSite=Strict" in given
    assert given.endswith("; Secure") or "; Secure;" in given
    _check_outliers(live)


def _check_outliers(live: LiveEnvoy) -> None:
    def ejects(name: str, subset: str) -> bool:
        _text(live, name, 80)
        clusters = json.loads(live.get("/clusters?format=json"))["cluster_statuses"]
        hosts = next(c for c in clusters if c["name"] == f"outbound|80|{subset}|{name}.example.com")["host_statuses"]
        return any(host["health_status"].get("failed_outlier_check") for host in hosts)

    def asked(name: str, port: int) -> set[str]:
        return {_told(live, name, port)["name"] for _ in range(20)}

    for name, subset in (("subsetbad", "s"), ("portbad", ""), ("panic", "")):
        wait_until(f"{name} ejects", lambda name=name, subset=subset: ejects(name, subset))  # type: ignore[misc]
        assert asked(name, 80) == ({"a", "bad"} if name == "panic" else {"a"}), name
    for name in ("subsetbad", "portbad"):
        assert asked(name, 81) == {"a", "bad"}, name


MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "defaultTrafficPolicy: {{{policy}}}"}}
---
"""
OFTEN = "connectionPool: {tcp: {maxConnections: 9}}"
OUTLIERS = "outlierDetection: {consecutive5xxErrors: 9}"
MERGED = {
    "other": (_rule(BY_USER), True, True),
    "replaced": (_rule(f"{OFTEN}, {BY_USER}"), False, True),
    "subsets": (f"{_rule(f'{ONCE}, {BY_USER}')}, {_subset(OFTEN)}", False, True),
    "inherited": (f"{_rule(f'{OFTEN}, {BY_USER}')}, {_subset(OUTLIERS)}", False, True),
    "silent": (f"{_rule(f'{OFTEN}, {BY_USER}')}, subsets: [{{name: s}}]", False, True),
    "port": (_rule(f"{BY_USER}, {_port(OFTEN)}"), False, False),
    "silentport": (_rule(f"{OFTEN}, {BY_USER}, {_port(OUTLIERS)}"), True, False),
    "otherport": (_rule(f"{OFTEN}, {BY_USER}, {_port(OUTLIERS)}").replace("number: 80", "number: 81"), False, True),
    "subsetsport": (f"{_rule(f'{ONCE}, {BY_USER}')}, {_subset(_port(OFTEN))}", False, False),
    "ruleport": (f"{_rule(_port(f'{ONCE}, {BY_USER}'))}, {_subset(OFTEN)}", False, True),
    "twoports": (f"{_rule(_port(f'{ONCE}, {BY_USER}'))}, {_subset(_port(OFTEN))}", False, False),
}
"""Whether each request has a connection of its own, as the mesh says, and whether a user keeps to one endpoint."""


def test_levels_are_merged_setting_by_setting(start: Start) -> None:
    """What is left open a subset takes of the rule, and a port of nobody but the mesh."""
    live = start("".join([MESH.format(policy=ONCE), *_merged()]))
    for last in (3, 4):
        subprocess.run(["ip", "-n", live.peer, "addr", "add", f"10.245.1.{last}/24", "dev", "eth0"], check=True)
    for address in THREE.split():
        start_wire(live, address, 8080, ENDPOINTS[address])
    found = {}
    for index, (name, (rule, *_)) in enumerate(MERGED.items(), 1):
        sent = f"GET / HTTP/1.1\r\nHost: {name}.example.com\r\nConnection: close\r\nx-user: me\r\n\r\n"
        answers = [live.call(live.netns, f"10.96.2.{index}", 80, sent) for _ in range(20)]
        told = [json.loads(answer[answer.index("{") :]) for answer in answers]
        # One endpoint of three is asked by chance alone once in a billion times.
        found[name] = (rule, len({each["port"] for each in told}) == 20, len({each["name"] for each in told}) == 1)
    assert found == MERGED


def _merged() -> Iterator[str]:
    endpoints = ", ".join(f"{{address: {address}}}" for address in THREE.split())
    for index, (name, (rule, *_)) in enumerate(MERGED.items(), 1):
        yield SERVICE.format(name=name, namespace="vm", index=index, target=8080, endpoints=endpoints, rule=rule)
        if "subsets" in rule:
            yield TO_SUBSET.format(name=name)
