from pathlib import Path

from pilotfish.explain.accesslog import parse_access_log

HTTP = (
    '[2026-11-22T22:48:01.179Z] "GET /x HTTP/1.1" 503 UF,URX via_upstream - "-" 0 121 45 44 "-" "curl \\"7\\"" '
    '"917499c3" "ledger.vm" "10.245.1.2:9191" outbound|80||ledger.vm.svc.cluster.local 10.245.1.1:60026 '
    "10.96.0.9:80 10.245.1.1:35260 - default"
)


def test_a_request() -> None:
    entry = parse_access_log(HTTP)
    assert entry is not None
    assert (entry.method, entry.path, entry.protocol) == ("GET", "/x", "HTTP/1.1")
    assert (entry.response_code, entry.response_flags) == (503, ("UF", "URX"))
    assert (entry.bytes_sent, entry.duration_ms, entry.upstream_service_time_ms) == (121, 45, 44)
    assert entry.forwarded_for == ""
    assert entry.request_id == "917499c3"
    assert entry.upstream_cluster == "outbound|80||ledger.vm.svc.cluster.local"
    assert entry.downstream_local_address == "10.96.0.9:80"
    assert entry.route_name == "default"
    assert not entry.is_inbound


def test_other_lines_are_none() -> None:
    for line in ("", "hello", "[2026-11-22 22:48:01.179][12][warning][main] no port 15006", HTTP[:60]):
        assert parse_access_log(line) is None


def test_what_istio_wrote(conformance: Path) -> None:
    logs = conformance / "istio" / "allow-any"
    client = [parse_access_log(line) for line in (logs / "webapp-0.access.log").read_text().splitlines()]
    server = [parse_access_log(line) for line in (logs / "calculator-v1.access.log").read_text().splitlines()]
    assert [e.upstream_cluster for e in client if e][-2:] == ["PassthroughCluster", "PassthroughCluster"]
    assert None not in client
    assert [e.is_inbound for e in server if e] == [True] * 4
    tcp = client[-1]
    assert tcp is not None
    assert (tcp.method, tcp.path, tcp.protocol, tcp.response_code) == ("", "", "", 0)
