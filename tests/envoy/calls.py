"""Many requests at once, written out byte by byte, and what came back for each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

Steps = Sequence[tuple[float, str]]
"""What is sent, each after so many seconds more."""


def call_all(netns: str, address: str, port: int, calls: Iterable[Steps]) -> list[tuple[str, float]]:
    """What came back for each, and after how many seconds; all are under way at once."""
    asked = json.dumps([list(steps) for steps in calls])
    command = ["ip", "netns", "exec", netns, sys.executable, "-ISc", _CLIENT, address, str(port)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=30, check=True)
    return [(answer, seconds) for answer, seconds in json.loads(done.stdout)]


_CLIENT = """
import concurrent.futures, json, socket, sys, time
def call(steps):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as s:
        start, answer = time.monotonic(), b""
        try:
            for pause, text in steps:
                time.sleep(pause)
                s.sendall(text.encode())
            while b"still here" not in answer and (data := s.recv(65536)):
                answer += data
        except OSError as error:
            answer += str(error).encode()
        return answer.decode(), time.monotonic() - start
calls = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(min(len(calls), 100)) as pool:
    json.dump(list(pool.map(call, calls)), sys.stdout)
"""
