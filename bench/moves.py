"""Requests lost while one save after the other moves all traffic to another version and deletes the one that it left.

    python -m bench.moves [--requests 20000]

Two pods' worth of clients keep connections open and ask as fast as they are answered. 0 failed is the aim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.harness import PILOTFISH, Mesh, running_mesh
from tests.waiting import wait_until

CLIENT = """
import http.client, json, sys, threading
bad, counts, stop = [], [0] * 4, threading.Event()
def ask(i):
    connection = http.client.HTTPConnection("web", 80, timeout=10)
    while not stop.is_set():
        try:
            connection.request("GET", "/")
            answer = connection.getresponse(); answer.read()
            if answer.status != 200: bad.append(answer.status)
        except (OSError, http.client.HTTPException) as error:
            bad.append(repr(error)); connection.close()
        counts[i] += 1
threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
[t.start() for t in threads]
for line in sys.stdin:
    print(sum(counts), flush=True)
stop.set(); [t.join() for t in threads]
print(json.dumps({"requests": sum(counts), "bad": bad}), flush=True)
"""
SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""


def pod_spec(command: list[str], **more: object) -> dict[str, object]:
    return {"containers": [{"name": "c", "command": command, **more}]}


def deployment(version: str) -> dict[str, object]:
    labels = {"app": "web", "version": version}
    ready = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(["python3", "-c", SERVER], readinessProbe=ready)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"web-{version}"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def routing(version: str) -> dict[str, object]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web", "subset": version}}]}]},
    }


FIXED: tuple[dict[str, object], ...] = (
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
    },
    {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web"},
        "spec": {"host": "web", "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")]},
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "labels": {"app": "client"}},
        "spec": pod_spec(["sleep", "1000000"]),
    },
)


def text(*versions: str, to: str) -> str:
    """The whole mesh with these versions running, and all traffic to one of them."""
    return "---\n".join(json.dumps(each) + "\n" for each in (*FIXED, routing(to), *map(deployment, versions)))


def names(mesh: Mesh) -> list[str]:
    return [p["name"] for p in mesh.pods("web") if p["ready"]]


def move(mesh: Mesh, old: str, new: str) -> None:
    """Bring the new version up beside the old one; then, in one save, lead all traffic to it and delete the old one."""
    mesh.write("mesh.yaml", text(old, new, to=old))
    wait_until("both run", lambda: len(names(mesh)) == 2, within=30)
    mesh.write("mesh.yaml", text(new, to=new))
    wait_until("the old one is gone", lambda: len(mesh.pods("web")) == 1, within=60)


class Clients:
    def __init__(self, mesh: Mesh) -> None:
        command = [str(PILOTFISH), "exec", "--name", mesh.name, "client", "--", "python3", "-c", CLIENT]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=mesh.environment
        )

    def count(self) -> int:
        """Requests so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> tuple[int, list[object]]:
        """(requests, what went wrong)."""
        output, _ = self._process.communicate(timeout=30)
        result = json.loads(output.splitlines()[-1])
        return result["requests"], result["bad"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20000)
    wanted = parser.parse_args().requests
    with running_mesh("bench-moves", text("v1", to="v1")) as mesh:
        clients, began, moves = Clients(mesh), time.monotonic(), 0
        versions = ["v1", "v2"]
        while clients.count() < wanted:
            move(mesh, *versions)
            versions.reverse()
            moves += 1
        requests, bad = clients.stop()
    seconds = time.monotonic() - began
    print(f"{moves} moves, {requests} requests in {seconds:.0f} s: {len(bad)} failed {sorted(set(map(str, bad)))}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
