"""A request that is really sent from a pod, and what is seen of it."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotfish.cli.failure import Failure
from pilotfish.runtime.control.views import PodView

if TYPE_CHECKING:
    from pilotfish.explain.accesslog import AccessLogEntry
    from pilotfish.explain.ask import Ask
    from pilotfish.explain.live import Observed
    from pilotfish.explain.trace import End

_RUN: Final = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
_TIMEOUT: Final = 10
_LOGGED: Final = 5.0
"""Seconds for which the access log is waited for."""
_ID: Final = "x-request-id"


def send(mesh: str, pod: PodView, ask: Ask) -> Observed:
    """By curl, in the pod's first container."""
    from pilotfish.explain.call import Application
    from pilotfish.explain.live import Observed

    if ask.application is Application.TCP:
        raise Failure(f"--live sends HTTP; {ask.url} is TCP: write http://")
    id = str(uuid.uuid4())
    before = _counters(pod, ask)
    command = ["exec", "--name", mesh, f"{pod.name}.{pod.namespace}", "--", "curl", *_arguments(ask, id)]
    done = subprocess.run([sys.executable, "-c", _RUN, *command], capture_output=True, text=True, check=False)
    if done.returncode == 127:
        raise Failure(f"--live runs curl in {pod.name}.{pod.namespace}, and there is none: {done.stderr.strip()}")
    status = int(done.stdout) if done.stdout.isdecimal() and int(done.stdout) else None
    entry = _find(pod, id) if pod.captured else None
    after = _counters(pod, ask)
    counted = frozenset(rule for rule, packets in after.items() if packets > before.get(rule, 0))
    return Observed(status, _end(done.returncode, status), entry, counted)


def _arguments(ask: Ask, id: str) -> list[str]:
    request = ask.request
    host = f"[{ask.host}]" if ":" in ask.host else ask.host
    words = ["-sS", "-k", "-m", str(_TIMEOUT), "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is"]
    words += ["-X", request.method, "-H", f"{_ID}: {id}", "-H", f"Host: {request.host}"]
    words += [word for name, value in request.headers.items() for word in ("-H", f"{name}: {value}")]
    if ask.address and ask.address != ask.host:
        words += ["--resolve", f"{ask.host}:{ask.port}:{ask.address}"]
    return [*words, f"{request.scheme}://{host}:{ask.port}{request.path}"]


def _end(code: int, status: int | None) -> End:
    """What curl's exit code says. Source: curl(1), EXIT CODES."""
    from pilotfish.explain.trace import End

    if status is not None:
        return End.DELIVERED
    return {6: End.REFUSED, 7: End.REFUSED, 28: End.TIMEOUT}.get(code, End.RESET)


def _counters(pod: PodView, ask: Ask) -> dict[str, int]:
    """Packets that each rule matched."""
    import asyncio

    from pilotfish.runtime import capture
    from pilotfish.runtime.linux.netns import NetNs

    if not pod.captured:
        return {}
    ruleset = asyncio.run(capture.read(NetNs(Path(pod.netns)), 6 if ":" in ask.address else 4))
    return {
        f"{table.name}/{chain.name}/{number}": rule.counters.packets
        for table in ruleset.tables
        for chain in table.chains
        for number, rule in enumerate(chain.rules, 1)
        if rule.counters is not None
    }


def _find(pod: PodView, id: str) -> AccessLogEntry | None:
    from pilotfish.explain.accesslog import parse_access_log

    log = next((Path(container.log) for container in pod.containers if container.kind == "proxy"), None)
    deadline = time.monotonic() + _LOGGED
    while log is not None and time.monotonic() < deadline:
        for line in reversed(log.read_text(errors="replace").splitlines()) if log.exists() else ():
            entry = parse_access_log(line) if id in line else None
            if entry is not None:
                return entry
        time.sleep(0.05)  # Envoy writes its log when it has time
    return None
