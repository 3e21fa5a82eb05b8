"""The scenario from nothing to nothing: up, requests, the way of one of them as it really happened, down.

Run by `make demo`. It uses the `pilotfish` command, iptables-save for the counters, and the access logs of both sides.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log

HERE = Path(__file__).parent
PILOTFISH = Path(sys.executable).parent / "pilotfish"
NAME = f"demo-{os.getpid()}"
WEBAPP = "webapp-0.vm"
ADD = "/add?a=40&b=2"


def bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def pilotfish(command: str, *arguments: str) -> str:
    done = subprocess.run([PILOTFISH, command, "--name", NAME, *arguments], text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"pilotfish {command} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def status() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(pilotfish("status", "-o", "json"))
    return answer


def counters(netns: str) -> dict[str, int]:
    """How many connections each nat rule of a pod has seen, by the rule's text.

    The kernel asks the nat table once for each new connection. So this is done with the first request: later ones use
    the connection that the two Envoys keep open between them.
    """
    saved = subprocess.run(
        ["ip", "netns", "exec", Path(netns).name, "iptables-save", "-c", "-t", "nat"],
        text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    return {line.split("] ", 1)[1]: int(line[1:].split(":")[0]) for line in saved.splitlines() if line[:1] == "["}


def main() -> int:
    port = free_port()
    print(bold("1. The mesh comes up"))
    began = time.monotonic()
    up = [PILOTFISH, "up", str(HERE), "--name", NAME, "--detach", "--publish", f"{port}:webapp.vm:8889"]
    if subprocess.run(up).returncode:
        return 1
    try:
        print(f"   ready after {time.monotonic() - began:.1f} s\n")
        print(pilotfish("get", "pods", "-n", "vm", "-o", "wide"))
        one_way()
        from_webapp()
        from_the_host(port)
    finally:
        print(bold("5. And it is taken down"))
        print(pilotfish("down"), end="")
    return 0


def from_webapp() -> None:
    print(bold("3. webapp asks calculator a hundred times"))
    script = f"for i in $(seq 100); do curl -sS 'http://calculator:8888{ADD}'; done"
    answers = [json.loads(line) for line in pilotfish("exec", WEBAPP, "--", "sh", "-c", script).splitlines()]
    print(f"   the first answer: {json.dumps(answers[0])}")
    for version, count in sorted(Counter(a["version"] for a in answers).items()):
        print(f"   {version}  {'█' * (count // 2):<50} {count} %")
    print()


def from_the_host(port: int) -> None:
    print(bold(f"4. The host asks webapp, which asks calculator: curl 'http://127.0.0.1:{port}{ADD}'"))
    answer = subprocess.run(
        ["curl", "-sS", "-m", "10", f"http://127.0.0.1:{port}{ADD}"], text=True, capture_output=True
    )
    print(f"   {answer.stdout or answer.stderr}\n")


def one_way() -> None:
    print(bold("2. The way of the first request from webapp, from what really happened"))
    before = {p["name"]: (p, counters(p["netns"])) for p in status()["pods"]}
    request_id = str(uuid.uuid4())
    answer = json.loads(
        pilotfish(
            "exec", WEBAPP, "--", "curl", "-sS", "-H", f"x-request-id: {request_id}", f"http://calculator:8888{ADD}"
        )
    )
    server = answer["pod"]
    client_entry, server_entry = logged("webapp-0", request_id), logged(server, request_id)
    print(f"   webapp-0: curl connects to calculator:8888, which is {client_entry.downstream_local_address}")
    show_rules("webapp-0", before)
    print("   webapp-0: Envoy, listener virtualOutbound hands over to 0.0.0.0_8888")
    show_entry(client_entry)
    show_rules(server, before)
    print(f"   {server}: Envoy, listener virtualInbound")
    show_entry(server_entry)
    print(f"   {server}: the app answers {json.dumps(answer)}\n")


def logged(pod: str, request_id: str) -> AccessLogEntry:
    """The pod's access log entry of a request. Envoy writes it a moment after the answer."""
    for _ in range(100):
        for line in pilotfish("logs", f"{pod}.vm", "-c", "istio-proxy").splitlines():
            entry = parse_access_log(line)
            if entry and entry.request_id == request_id:
                return entry
        time.sleep(0.05)
    raise SystemExit(f"request {request_id} is not in the access log of {pod}")


def show_rules(pod: str, before: dict[str, tuple[dict[str, Any], dict[str, int]]]) -> None:
    view, old = before[pod]
    for rule, count in counters(view["netns"]).items():
        if count > old.get(rule, 0):
            print(f"   {pod}: kernel, {rule}   (+{count - old.get(rule, 0)})")


def show_entry(entry: AccessLogEntry) -> None:
    print(f"      route    {entry.route_name or '(from a VirtualService, unnamed)'}")
    print(f"      cluster  {entry.upstream_cluster}")
    print(f"      endpoint {entry.upstream_host}, from {entry.upstream_local_address}")
    print(f"      answer   {entry.response_code} in {entry.duration_ms} ms {' '.join(entry.response_flags)}")


if __name__ == "__main__":
    sys.exit(main())
