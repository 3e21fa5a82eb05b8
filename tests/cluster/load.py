"""Requests from within a pod, on several connections, for as long as something is done to the mesh.

The client is a process of the pod, and goes on while the API server, by which it was started, is away.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cluster.kubectl import Kubectl
from tests.waiting import wait_until

_CLIENT = """
import http.client, json, signal, sys, threading, time
host, path, connections, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
ended, asked, failed, slowest = threading.Event(), [], [], []
signal.signal(signal.SIGTERM, lambda *_: ended.set())

def ask():
    kept, count, longest = None, 0, 0.0
    while not ended.wait(pause):
        began = time.time()
        try:
            kept = kept or http.client.HTTPConnection(host, timeout=10)
            kept.request("GET", path)
            answer = kept.getresponse()
            said = answer.read()
            if answer.status != 200:
                failed.append([began, f"{answer.status} {said[:200].decode(errors='replace')}"])
            if answer.will_close:
                kept.close()
                kept = None
        except (OSError, http.client.HTTPException) as error:
            failed.append([began, repr(error)])
            kept.close()
            kept = None
        count += 1
        longest = max(longest, time.time() - began)
        if count == 1:
            print(flush=True)
    asked.append(count)
    slowest.append(longest)

threads = [threading.Thread(target=ask) for _ in range(connections)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"asked": sum(asked), "failed": failed, "slowest": max(slowest)}))
"""
_START = 'python3 -u -c "$@" </dev/null >"$0" 2>&1 & echo $!'
_NUMBERS = itertools.count()


@dataclass
class Load:
    """What came of it, once it has ended."""

    asked: int = 0
    failed: list[str] = field(default_factory=list)
    """When, in seconds since the epoch, and how."""
    slowest: float = 0
    """Seconds."""


@contextmanager
def under_load(
    kubectl: Kubectl, pod: str, url: str, *, container: str = "", connections: int = 4, pause: float = 0.01
) -> Iterator[Load]:
    """`url`: HOST:PORT/PATH. Each connection has been answered once when the body begins."""
    host, _, path = url.partition("/")
    file = f"/tmp/load-{next(_NUMBERS)}"

    def execute(*command: str) -> str:
        return kubectl.exec(pod, *command, container=container)

    def lines() -> list[str]:
        return execute("cat", file).splitlines()

    client = (_CLIENT, host, f"/{path}", str(connections), str(pause))
    process = execute("sh", "-c", _START, file, *client).strip()
    load = Load()
    try:
        wait_until("each connection is answered", lambda: len(lines()) >= connections)
        yield load
    finally:
        execute("kill", process)
        said = wait_until("the client tells", lambda: (found := lines()) and len(found) > connections and found[-1], 20)
    found = json.loads(said)
    load.asked, load.slowest = found["asked"], found["slowest"]
    load.failed += [f"{when:.3f} {how}" for when, how in found["failed"]]
