"""What became of a request, out of its answer and of access logs."""

from __future__ import annotations

from dataclasses import replace

from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.observed import Logs, Sent
from pilotfish.explain.trace import End, Outcome

CLIENT, SERVER, EDGE = "client.vm", "server.vm", "edge.vm"
PODS = {"10.0.0.1": CLIENT, "10.0.0.2": SERVER, "10.0.0.3": EDGE}
ANSWERED = Sent(End.DELIVERED, 503, "", "10.0.0.1:40", "10.9.0.1:80")


def entry(flags: str, cluster: str, host: str, local: str, target: str, source: str, id: str = "id") -> AccessLogEntry:
    line = (
        f'[2026-01-01T00:00:00.000Z] "GET / HTTP/1.1" 503 {flags} via_upstream - "-" 0 0 0 - "-" "-" "{id}" "web" '
        f'"{host}" {cluster} {local} {target} {source} - -'
    )
    found = parse_access_log(line)
    assert found is not None
    return found


OUT = entry("-", "outbound|80||web", "10.0.0.2:80", "10.0.0.1:50", "10.9.0.1:80", "10.0.0.1:40")
IN = entry("URX,UF", "inbound|80||", "10.0.0.2:80", "127.0.0.6:60", "10.0.0.2:80", "10.0.0.1:50")


def test_an_answer_is_of_the_proxy_that_failed_by_itself() -> None:
    logs = Logs({CLIENT: [OUT], SERVER: [IN]}, PODS)
    assert logs.outcome(CLIENT, ANSWERED) == Outcome(
        1.0, End.RESPONSE, 0, 503, "URX,UF", "outbound|80||web", "10.0.0.2:80", SERVER
    )


def test_what_the_clients_own_proxy_answers_is_its_own() -> None:
    own = replace(OUT, response_flags=("UH",), upstream_host="")
    found = Logs({CLIENT: [own]}, PODS).outcome(CLIENT, ANSWERED)
    assert (found.flag, found.pod, found.endpoint) == ("UH", CLIENT, "")


def test_who_has_no_proxy_is_known_again_by_its_connection() -> None:
    found = Logs({SERVER: [replace(IN, downstream_remote_address="10.0.0.1:40")]}, PODS).outcome(CLIENT, ANSWERED)
    assert (found.flag, found.pod, found.cluster) == ("URX,UF", SERVER, "")


def test_a_gateway_on_the_way_is_what_chose_the_endpoint() -> None:
    first = replace(OUT, upstream_host="10.0.0.3:80", upstream_cluster="PassthroughCluster")
    second = entry("-", "outbound|80|v1|web", "10.0.0.2:80", "10.0.0.3:50", "10.0.0.3:80", "10.0.0.1:50")
    sent = Sent(End.DELIVERED, 200, SERVER, "10.0.0.1:40", "10.9.0.1:80")
    found = Logs({CLIENT: [first], EDGE: [second], SERVER: [replace(IN, response_flags=())]}, PODS).outcome(
        CLIENT, sent
    )
    assert (found.kind, found.pod, found.cluster) == (End.DELIVERED, SERVER, "outbound|80|v1|web")


def test_without_a_log_the_answer_is_all_that_is_known() -> None:
    assert Logs({}, PODS).outcome(CLIENT, ANSWERED) == Outcome(1.0, End.RESPONSE, 0, 503)
    refused = Sent(End.REFUSED, None, "", "", "")
    assert Logs({}, PODS).outcome(CLIENT, refused) == Outcome(1.0, End.REFUSED, 0)
