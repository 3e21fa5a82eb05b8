"""What a killed Envoy costs those who are served: requests lost, and the time without an answer.

    python -m bench.outage [--runs N] [--rate N]

A client and a server, each with its sidecar; a steady load from the one to the other while the server's Envoy, then the
client's, is killed (SIGKILL). `kept`: the client uses its connections again; `fresh`: it opens one for each request.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from statistics import median
from typing import Any

from bench.mesh import HERE, Mesh, mesh

SECONDS = 4.0
KILL_AFTER = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="up to five: then a killed Envoy is made to wait")
    parser.add_argument("--rate", type=int, default=300)
    options = parser.parse_args()
    for whose in ("server", "client"):
        for mode in ("kept", "fresh"):
            with mesh(1, 1) as (made, _):
                report(whose, mode, [measure(made, whose, mode, options.rate) for _ in range(options.runs)])


def measure(made: Mesh, whose: str, mode: str, rate: int) -> dict[str, Any]:
    status = made.status()
    pods = {pod["labels"]["app"]: pod["name"] for pod in status["pods"]}
    victim = next(proxy["pid"] for proxy in status["proxies"] if proxy["pod"] == pods[whose])
    load = [sys.executable, "-S", "-E", str(HERE / "http_steady.py"), "server", "8000", str(rate), str(SECONDS), mode]
    client = subprocess.Popen(
        made.line("exec", pods["client"], "--", *load), stdout=subprocess.PIPE, text=True, env=made.environment
    )
    time.sleep(KILL_AFTER)
    os.kill(victim, signal.SIGKILL)
    said, _ = client.communicate(timeout=60)
    found: dict[str, Any] = json.loads(said)
    return found


def report(whose: str, mode: str, runs: list[dict[str, Any]]) -> None:
    lost = [sum(run["lost"].values()) for run in runs]
    why = sum((Counter(run["lost"]) for run in runs), Counter())
    gap, slowest = (median(run[key] for run in runs) for key in ("gap", "slowest"))
    print(
        f"{whose}'s Envoy killed, {mode:5} connections: {median(lost):.0f} lost ({', '.join(map(str, lost))}), "
        f"{gap:.0f} ms without an answer, slowest {slowest:.0f} ms {dict(why) or ''}"
    )


if __name__ == "__main__":
    main()
