"""What actions do, done to a real mesh. What does not come true in time is a `Broken`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.flows import PodLoad
from tests.chaos.world import HERE, files
from tests.e2e.harness import Mesh
from tests.freezing import freeze

LIVE_WITHIN = 2.0
"""Seconds from a saved file to what a client sees, on a calm machine."""
SLOWEST = 2.0
"""Seconds that it may take on the calm mesh of a slow machine."""
PODS_WITHIN = 40.0
_PAUSE = 0.1
_PORTS = {"discovery": (15010, 15012, 15014), "pods": (8000, 5000, 15006, 15020, 15021, 15090)}
_SUSPECT = ("bad.yaml", "mutated.yaml", "strange.yaml", "big.yaml")
"""The files of which nobody may be sure that they are good."""


class Broken(Exception):
    """An invariant is."""


class RealStage:
    def __init__(self, mesh: Mesh, client: PodLoad) -> None:
        self.mesh = mesh
        self.delays: list[float] = []
        """Seconds from each change to its effect."""
        self.calm = SLOWEST
        """Their median before anything was done to the mesh: a slow machine is given more time."""
        self.lateness = 0.0
        """What the actions under way allow."""
        self._client = client

    @property
    def limit(self) -> float:
        return LIVE_WITHIN + 4 * self.calm + self.lateness

    def be_calm(self) -> None:
        """What was seen until now is the baseline."""
        self.calm = median(self.delays)
        self.delays.clear()

    def status(self) -> dict[str, Any]:
        """A good file is never named."""
        status = self.mesh.status
        wrong = [p for p in status.get("problems", []) if p["severity"] == "error" and not _is_of(p, *_SUSPECT)]
        if named := [p for p in wrong if p["source"]]:
            raise Broken(f"status names what is good: {named}")
        return status

    def save(self, file: str, text: str) -> float:
        path = self.mesh.sources / file
        beside = path.with_name(f".{file}.new")
        beside.write_text(text, encoding="utf-8", errors="surrogatepass")
        since = time.monotonic()
        beside.replace(path)
        return since

    def remove(self, file: str) -> None:
        (self.mesh.sources / file).unlink()

    def restore(self) -> None:
        """The files that the mesh started with, and no others."""
        first = files()
        for path in self.mesh.sources.iterdir():
            if path.name not in first:
                path.unlink()
        for name, text in first.items():
            self.save(name, text)

    def live(self, since: float, url: str, word: str) -> None:
        seen = self._client.seen(url, word, within=self.limit + PODS_WITHIN)
        if seen is None:
            raise Broken(f"a change never took effect: {url} does not say {word}")
        self.delays.append(seen - since)
        if seen - since > self.limit:
            raise Broken(
                f"{url} said {word} after {seen - since:.2f} s, more than {self.limit:.2f}"
                f" ({self.calm:.2f} s on the calm mesh)"
            )

    def named(self, file: str) -> None:
        self._wait(f"status names {file}", lambda s: any(_is_of(p, file) for p in s["problems"]), self.limit)

    def settled(self) -> None:
        """Everything is ready, and nothing is said."""
        self._wait("the mesh is ready and free of errors", _is_fine, self.limit + 10)

    def only(self, app: str, word: str, replicas: int) -> None:
        if self._client.seen(app, word, within=PODS_WITHIN + self.lateness) is None:
            raise Broken(f"no pod of {app} that says {word}")
        self._wait(f"{replicas} pods of {app}", lambda s: _are_whole(_pods(s, app), replicas), PODS_WITHIN)

    def replaced(self, app: str, replicas: int) -> None:
        def there(status: dict[str, Any]) -> bool:
            pods = _pods(status, app)
            return len(pods) == replicas and all(pod["ready"] for pod in pods)

        self._wait(f"{replicas} pods of {app}", there, PODS_WITHIN)

    def delete_pod(self, pod: str) -> None:
        self.mesh.call("delete", "pod", pod)

    def put_strange(self, file: str, what: str) -> None:
        path = self.mesh.sources / file
        match what:
            case "pipe":
                os.mkfifo(path)
            case "socket":
                with socket.socket(socket.AF_UNIX) as made:
                    made.bind(str(path))
            case _:
                path.symlink_to({"link to itself": file, "link to a device": "/dev/zero"}.get(what, "nothing"))

    def whole(self, pod: str) -> None:
        self._wait(f"{pod} is ready", lambda s: any(p["name"] == pod and p["ready"] for p in s["pods"]), PODS_WITHIN)

    def gone(self, pod: str) -> None:
        self._wait(f"{pod} is gone", lambda s: all(p["name"] != pod for p in s["pods"]), PODS_WITHIN)

    def answered(self, pod: str, host: str) -> None:
        if (code := self.mesh.status_code(pod, f"http://{host}/")) != "200":
            raise Broken(f"{pod} calls {host}, and is answered {code}")

    @contextmanager
    def uncertified(self) -> Iterator[None]:
        inside = ["ip", "netns", "exec", f"pf-{self.mesh.name}", "iptables", "-w"]
        # The machine's Envoy, which is in the same namespace as discovery, reaches it.
        rule = ["INPUT", "!", "-i", "lo", "-p", "tcp", "--dport", "15012", "--syn", "-j", "REJECT"]
        subprocess.run([*inside, "-I", *rule], check=True)
        try:
            yield
        finally:
            subprocess.run([*inside, "-D", *rule], check=True)

    def pod(self, app: str, which: int) -> str:
        found = sorted(_pods(self.status(), app), key=lambda p: p["created_at"])
        name: str = found[which % len(found)]["name"]
        return name

    def kill(self, whose: str) -> None:
        pid = self._runs(whose)
        os.kill(pid, signal.SIGKILL)
        self._wait(f"another {whose} than {pid}", lambda s: _pid(s, whose) not in (None, pid), self.limit + 10)

    def stall(self, whose: str, seconds: float) -> None:
        pid = self._runs(whose)
        freeze(pid)
        self.pause(seconds)
        os.kill(pid, signal.SIGCONT)

    def rollout(self, app: str) -> None:
        before = {p["name"] for p in _pods(self.status(), app)}
        self.mesh.call("rollout", "restart", f"deploy/{app}")

        def replaced(status: dict[str, Any]) -> bool:
            pods = _pods(status, app)
            return not before & {p["name"] for p in pods} and _are_whole(pods, len(before))

        self._wait(f"the pods of {app} are others", replaced, PODS_WITHIN)

    def scale(self, app: str, replicas: int) -> None:
        self.mesh.call("scale", f"deploy/{app}", "--replicas", str(replicas))

    def strike(self, how: str, seconds: float, whom: str) -> None:
        status = self.status()
        if whom == "discovery":
            hosts, ports = [status["discovery"]["plaintext_address"].rpartition(":")[0]], _PORTS["discovery"]
        else:
            hosts, ports = [p["addresses"][0] for p in _pods(status, whom) if p["addresses"]], _PORTS["pods"]
        inside = ["ip", "netns", "exec", Path(status["mesh"]["netns"]).name]
        program = [sys.executable, "-S", "-E", str(HERE / "hostile.py"), how, str(seconds)]
        targets = [f"{host}:{port}" for host in hosts for port in ports]
        subprocess.run([*inside, *program, *targets], timeout=seconds + 60, check=True)

    def deceive(self, how: str, seconds: float, whose: str) -> None:
        status = self.status()
        name = whose.removeprefix("not ")
        pod = next(p for p in status["pods"] if p["name"] == name)
        space = pod["namespace"]
        node = f"sidecar~{pod['addresses'][0]}~{name}.{space}~{space}.svc.cluster.local"
        inside = ["ip", "netns", "exec", Path(status["mesh"]["netns"]).name] if whose != name else []
        program = [
            sys.executable,
            str(HERE / "stranger.py"),
            how,
            str(seconds),
            status["discovery"]["plaintext_address"],
            node,
        ]
        if inside:
            subprocess.run([*inside, *program], timeout=seconds + 60, check=True)
        else:
            self.mesh.exec(name, *program, timeout=seconds + 60)

    def ask_status(self, times: int) -> None:
        asking = [threading.Thread(target=self._ask) for _ in range(times)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _runs(self, whose: str) -> int:
        """Its pid, as soon as it has one."""
        pid = _pid(self._wait(f"{whose} runs", lambda s: _pid(s, whose) is not None, self.limit + 10), whose)
        assert pid is not None
        return pid

    def _ask(self) -> None:
        self.mesh.call("status", check=False)

    def _wait(self, what: str, holds: Callable[[dict[str, Any]], bool], within: float) -> dict[str, Any]:
        deadline = time.monotonic() + within
        while not holds(status := self.status()):
            if time.monotonic() > deadline:
                raise Broken(f"not within {within:.1f} s: {what}")
            time.sleep(_PAUSE)
        return status


def _is_of(problem: dict[str, Any], *files: str) -> bool:
    return any(f"/{file}" in problem["source"] or file in problem["message"] for file in files)


def _is_fine(status: dict[str, Any]) -> bool:
    return status["ready"] and not any(p["severity"] == "error" for p in status["problems"])


def _pods(status: dict[str, Any], app: str) -> list[dict[str, Any]]:
    return [pod for pod in status["pods"] if pod["labels"].get("app") == app]


def _are_whole(pods: list[dict[str, Any]], replicas: int) -> bool:
    forms = {pod["labels"].get("pod-template-hash") for pod in pods}
    return len(pods) == replicas and len(forms) == 1 and all(pod["ready"] for pod in pods)


def _pid(status: dict[str, Any], whose: str) -> int | None:
    if whose in ("discovery", "mesh"):
        pid: int | None = status[whose]["pid"]
        return pid
    if whose == "machine":
        return next((each["pid"] for each in status["proxies"] if each.get("serves")), None)
    pod, container = whose.split("/")
    found = (c["pid"] for p in status["pods"] if p["name"] == pod for c in p["containers"] if c["name"] == container)
    return next(found, None)
