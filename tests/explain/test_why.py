"""From an entry of an access log to what was asked, what it means, and the fields that decide it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import ResponseFlags

from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.call import Application, Tls
from pilotfish.explain.flags import FLAGS, STATUSES, flags_of, say_details
from pilotfish.explain.walk import explain
from pilotfish.explain.why import ask_of, find_changes, is_about
from pilotfish.offline.owners import find_owners, locate_in
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import build

MESH = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: vm, labels: {app: client}}
spec: {containers: [{name: app, command: [sleep]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: vm, labels: {app: web, version: v1}}
spec: {containers: [{name: app, command: [sleep], ports: [{containerPort: 8000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec:
  hosts: [web]
  http:
  - {match: [{uri: {prefix: /v3}}], route: [{destination: {host: web, subset: v3}}]}
  - {match: [{uri: {prefix: /v1}}], route: [{destination: {host: web, subset: v1}}]}
"""


def entry_of(code: int, flags: str, cluster: str = "-", path: str = "/", details: str = "-") -> AccessLogEntry:
    """Of the client's proxy. The Service's address is found by whoever asks."""
    line = (
        f'[2026-11-22T22:48:01.179Z] "POST {path} HTTP/1.1" {code} {flags} {details} - "-" 0 0 1 - "-" "curl" "id" '
        f'"web" "-" {cluster} - ADDRESS:80 10.244.0.2:35260 - -'
    )
    entry = parse_access_log(line.replace("ADDRESS", address()))
    assert entry is not None
    return entry


def address() -> str:
    frontends = build_scene(build(read([("mesh.yaml", MESH)]))).frontends
    return next(each.addresses[0] for each in frontends if each.service == "web")


def changes(entry: AccessLogEntry) -> list[tuple[str, str]]:
    world = build(read([("mesh.yaml", MESH)]))
    scene = build_scene(world)
    trace = explain(scene, scene.stations["client.vm"], ask_of(entry))
    changes = find_changes(trace, entry, find_owners(world, trace, locate_in(world)))
    return [(f"{owner.object} {owner.where}".rstrip(), field) for owner, field in changes]


TO_V3 = "outbound|80|v3|web.vm.svc.cluster.local"
TO_V1 = "outbound|80|v1|web.vm.svc.cluster.local"
SERVICE = "Service vm/web"
RULE = "DestinationRule vm/web"
ROUTES = "VirtualService vm/web"
EMPTY = [(f"{RULE} mesh.yaml:20", "spec.subsets[1].labels"), (SERVICE, "spec.selector")]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (entry_of(503, "UH", TO_V3, "/v3"), EMPTY),
        (entry_of(503, "UO", TO_V1, "/v1"), [(RULE, "spec.trafficPolicy.connectionPool")]),
        (entry_of(504, "UT", TO_V1, "/v1"),
         [(f"{ROUTES} mesh.yaml:29", "spec.http[1].timeout"),
          (f"{ROUTES} mesh.yaml:29", "spec.http[1].retries.perTryTimeout")]),
        (entry_of(503, "URX", TO_V1, "/v1"), [(f"{ROUTES} mesh.yaml:29", "spec.http[1].retries")]),
        (entry_of(502, "UPE", TO_V1, "/v1"),
         [(f"{SERVICE} mesh.yaml:15", "spec.ports[0].appProtocol, or how its name begins")]),
        (entry_of(404, "NR", path="/none"), [(ROUTES, "spec.hosts, spec.http[].match")]),
        (entry_of(0, "DC", TO_V1, "/v1"), []),
        # Another proxy answered: what the way ends with decides.
        (entry_of(503, "-", TO_V3, "/v3"), EMPTY),
    ],
    ids=lambda value: ",".join(value.response_flags) or "none" if isinstance(value, AccessLogEntry) else "",
)  # fmt: skip
def test_the_fields_to_change_are_those_of_objects_on_the_way(
    entry: AccessLogEntry, expected: list[tuple[str, str]]
) -> None:
    assert changes(entry) == expected


ENVOYS: Mapping[str, str] = {
    "failed_local_healthcheck": "LH", "no_healthy_upstream": "UH", "upstream_request_timeout": "UT",
    "local_reset": "LR", "upstream_remote_reset": "UR", "upstream_connection_failure": "UF",
    "upstream_connection_termination": "UC", "upstream_overflow": "UO", "no_route_found": "NR",
    "delay_injected": "DI", "fault_injected": "FI", "rate_limited": "RL", "unauthorized_details": "UAEX",
    "rate_limit_service_error": "RLSE", "downstream_connection_termination": "DC",
    "upstream_retry_limit_exceeded": "URX", "stream_idle_timeout": "SI", "invalid_envoy_request_headers": "IH",
    "downstream_protocol_error": "DPE", "upstream_max_stream_duration_reached": "UMSDR",
    "response_from_cache_filter": "RFCF", "no_filter_config_found": "NFCF", "duration_timeout": "DT",
    "upstream_protocol_error": "UPE", "no_cluster_found": "NC", "overload_manager": "OM",
    "dns_resolution_failure": "DF", "downstream_remote_reset": "DR",
}  # fmt: skip
"""https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/data/accesslog/v3/accesslog.proto, by their short names."""


def test_every_flag_that_envoy_has_is_told() -> None:
    assert [field.name for field in ResponseFlags.DESCRIPTOR.fields if field.name not in ENVOYS] == []
    assert set(ENVOYS.values()) | {"DO", "UDO"} == set(FLAGS)
    assert all(meaning.says and meaning.remedy for meaning in FLAGS.values())
    assert {meaning.status for meaning in FLAGS.values()} - {""} <= set(STATUSES)


def test_a_status_is_told_by_its_flags() -> None:
    assert flags_of("404") == ("NR",)
    assert flags_of("UH") == ("UH",)
    assert flags_of("426") == ()


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ("no_healthy_upstream", "no endpoint could be asked (no_healthy_upstream)"),
        ("low_version", "HTTP/1.0 is not taken here (low_version)"),
        ("rbac_access_denied_matched_policy[ns[vm]-policy[deny]-rule[0]]",
         "AuthorizationPolicy vm/deny spec.rules[0] denies it"),
        ("rbac_access_denied_matched_policy[istio-ext-authz-p-ns[vm]-policy[ask]-rule[1]-deny-due-to-bad-CUSTOM-action]",
         "AuthorizationPolicy vm/ask spec.rules[1] asks a provider that can't be asked"),
        ("jwt_authn_access_denied{Jwt_is_expired}",
         "its token is not believed (jwt_authn_access_denied{Jwt_is_expired})"),
        ("rbac_access_denied_matched_policy[none]", "no policy allows it"),
        ("http1.codec_error", "what came is no HTTP/1 (http1.codec_error)"),
        ("something_new", "something_new"),
    ],
)  # fmt: skip
def test_details_are_told_in_words(details: str, said: str) -> None:
    assert say_details(details) == said


def test_what_was_asked_is_asked_again() -> None:
    entry = entry_of(503, "UF,URX", TO_V1, "/v1?x=1")
    ask = ask_of(entry)
    assert (ask.address, ask.port, ask.source) == (address(), 80, "10.244.0.2")
    assert (ask.request.method, ask.request.host, ask.request.path) == ("POST", "web", "/v1?x=1")
    assert is_about(entry, "URX")
    assert is_about(entry, "503")
    assert not is_about(entry, "UH")


def test_a_connection_with_a_server_name_is_tls() -> None:
    line = (
        '[2026-11-22T22:48:01.179Z] "- - -" 0 UF - - "-" 0 0 1 - "-" "-" "-" "-" "10.0.0.9:443" '
        "outbound|443||a.example - 240.0.0.1:443 10.244.0.2:35260 a.example -"
    )
    entry = parse_access_log(line)
    assert entry is not None
    ask = ask_of(entry)
    assert (ask.application, ask.tls, ask.port) == (Application.TCP, Tls("a.example"), 443)
