"""Endpoints that say how busy they are get as much as they can bear."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, LiveEnvoy, Start
from tests.waiting import wait_until

USED = {8001: 0.1, 8002: 0.9}
"""The share of its strength that the app on each port says is in use."""
MESH = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{{{name: app, namespace: vm}}}}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  ports: [{{{{number: 80, name: http, protocol: HTTP}}}}]
  resolution: STATIC
  endpoints: [{{{{address: {PEER4}, ports: {{{{http: 8001}}}}}}}}, {{{{address: {PEER4}, ports: {{{{http: 8002}}}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{{{name: app, namespace: vm}}}}
spec: {{{{host: app.example.com, trafficPolicy: {{policy}}}}}}
"""
WEIGHED = "loadBalancer: {backendUtilization: {weightStabilizationPeriod: 0s, weightUpdatePeriod: 100ms METRICS}}"

PENALTY = ", metricNamesForComputingUtilization: [named_metrics.same], errorUtilizationPenaltyPercent: 1000"


@pytest.mark.parametrize(
    ("policy", "busy"),
    [
        (f"{{{WEIGHED.replace('METRICS', '')}}}", 8002),
        (f"{{{WEIGHED.replace('METRICS', ', metricNamesForComputingUtilization: [named_metrics.free]')}}}", 8001),
        (f"{{{WEIGHED.replace('METRICS', PENALTY)}}}", 8002),
        (f"{{outlierDetection: {{interval: 9s}}, {WEIGHED.replace('METRICS', '')}}}", 8002),
    ],
    ids=["as a whole", "by a metric of its own", "by its errors", "by locality"],
)
def test_who_is_busy_gets_less(start: Start, policy: str, busy: int) -> None:
    live = start(MESH.format(policy=policy))
    for port, used in USED.items():
        _start_app(live, port, used)

    def share() -> bool:
        answers = _answers(live, 200)
        # 20 of 200 are due to it; of halves that is ten standard deviations away.
        return answers[busy] < 45

    wait_until("it gets less", share)


def test_what_was_said_long_ago_does_not_count(start: Start) -> None:
    live = start(MESH.format(policy=f"{{{WEIGHED.replace('METRICS', ', weightExpirationPeriod: 0.3s')}}}"))
    for port, used in USED.items():
        _start_app(live, port, used)
    wait_until("one gets less", lambda: _answers(live, 200)[8002] < 45)
    for port in USED:
        live.request(live.peer, PEER4, port, "app", "/silence")
    # Of halves these are more than four standard deviations away.
    wait_until("both get the same", lambda: 70 < _answers(live, 200)[8002] < 130)


def _answers(live: LiveEnvoy, count: int) -> Counter[int]:
    request = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"
    found = (answer for answer, _ in call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * count))
    return Counter(int(port) for answer in found for port in re.findall(r"x-app: (\d+)", answer))


def _start_app(live: LiveEnvoy, port: int, used: float) -> None:
    command = ["ip", "netns", "exec", live.peer, sys.executable, "-Sc", _APP, PEER4, str(port), str(used)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


_APP = """
import http.server, sys
silent = False
address, port, used = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global silent
        silent = silent or self.path == "/silence"
        self.send_response(200)
        self.send_header("x-app", str(port))
        metrics = f"application_utilization={used},named_metrics.free={1 - used},named_metrics.same=0.5"
        if not silent:
            self.send_header("endpoint-load-metrics", f"TEXT {metrics},rps_fractional=100,eps={100 * used}")
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
server = Server((address, port), Handler)
print("ready", flush=True)
server.serve_forever()
"""
