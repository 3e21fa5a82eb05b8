"""What mutual TLS costs from pod to pod, and how fast a saved policy holds.

python -m bench.security [tls] [policy]      (both where none is named)
"""

from __future__ import annotations

import json
import sys
from statistics import median

from bench.agents import cpu_seconds
from bench.mesh import HERE, mesh, report_saved, time_saved

RUNS = 3
BARE = """
apiVersion: v1
kind: Service
metadata: {name: bare}
spec:
  selector: {app: server}
  ports: [{name: http, port: 8001, targetPort: 8000}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: bare}
spec:
  host: bare
  trafficPolicy: {tls: {mode: DISABLE}}
"""
ALLOW = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: clients}}
spec:
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/default/sa/default]}}}}]
    to: [{{operation: {{paths: [/, /{number}]}}}}]
"""
PEERS = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: {mode}}}}}
"""


def tls() -> None:
    """The same call to the same pod, by a Service whose clients speak mutual TLS and by one whose do not, in turn."""
    ways = {"plaintext": ("bare", "8001"), "mutual TLS": ("server", "8000")}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    spent: dict[str, list[float]] = {way: [] for way in ways}
    steady: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with mesh(1, 1, more=BARE) as (made, _):
        envoys = [proxy["pid"] for proxy in made.status()["proxies"]]

        def load(way: str, rate: int, seconds: int) -> dict[str, float]:
            program = [sys.executable, "-S", "-E", str(HERE / "http_load.py")]
            said = made.call("exec", "deploy/client", "--", *program, *ways[way], str(rate), str(seconds), "8")
            found: dict[str, float] = json.loads(said)
            return found

        for _ in range(RUNS):
            for way in ways:
                before = sum(map(cpu_seconds, envoys))
                steady[way].append(load(way, 500, 4))
                # One second of warming up is among them.
                spent[way].append((sum(map(cpu_seconds, envoys)) - before) / (500 * 5) * 1e6)
                rates[way].append(load(way, 0, 3)["requests"] / 3)
    for way in ways:
        print(f"{way}: {median(rates[way]):.0f} requests/s over 8 connections, "
              f"{median(spent[way]):.0f} µs of both Envoys for each at 500/s")  # fmt: skip
    for key in ("mean", "p50", "p99"):
        bare, mutual = (median(run[key] for run in steady[way]) for way in ways)
        print(f"{key} at 500 requests/s: {bare:.2f} ms in plaintext, {mutual:.2f} ms: {mutual - bare:+.2f} ms")


def policy() -> None:
    with mesh(1, 19) as (made, _):
        changes = [ALLOW.format(number=number) for number in range(10)]
        report_saved("AuthorizationPolicy saved", time_saved(made, "allow.yaml", changes))
        changes = [PEERS.format(mode=mode) for mode in ("STRICT", "PERMISSIVE") * 5]
        report_saved("PeerAuthentication saved", time_saved(made, "peers.yaml", changes))


def main() -> None:
    measurements = {"tls": tls, "policy": policy}
    for name in sys.argv[1:] or measurements:
        measurements[name]()


if __name__ == "__main__":
    main()
