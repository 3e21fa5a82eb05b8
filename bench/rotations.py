"""Requests lost while all that proves who is who changes under load.

    python -m bench.rotations [--seconds 120] [--rate 500]

Certificates are renewed every 10 s, the root of our own is changed, a user's authority is plugged in, then its
intermediate and its root are changed, PERMISSIVE becomes STRICT, the trust domain is renamed, and discovery is killed,
once while a new root is trusted and does not sign yet. Of the requests one half is sent by proxies that keep their
connections, the other by such as make a new handshake for every tenth. 0 failed is the aim.
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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.pods import UNINJECTED, answering
from pilotfish.model.credential import AUTHORITY_FILES
from pilotfish.runtime.control.client import Unreachable
from tests.certificates import Issued, issue, secret
from tests.e2e.harness import PILOTFISH, Mesh, running_mesh
from tests.waiting import wait_until

HERE = Path(__file__).parent
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: server, namespace: vm}
spec:
  selector: {app: server}
  ports: [{name: http, port: 8000}]
---
apiVersion: v1
kind: Service
metadata: {name: handshakes, namespace: vm}
spec:
  selector: {app: server}
  ports: [{name: http, port: 8001, targetPort: 8000}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: handshakes, namespace: vm}
spec:
  host: handshakes
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 10}}}
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: /dev/stdout
    trustDomain: {domain}
    defaultConfig: {{proxyMetadata: {{SECRET_TTL: {ttl}s}}}}
"""
STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""
LOADS = {"kept": ("server", "8000"), "handshakes": ("handshakes", "8001")}
"""By the client's name, what its half of the requests go to."""
ROOT_SIGNS_WITHIN = 40
"""Seconds until another root or trust domain signs: ten for its being trusted, and a slow machine's."""


def manifests(ttl: int) -> dict[str, str]:
    pods = {"client": "", "server": "", "stranger": UNINJECTED}
    made = (answering(name, annotations, "vm") for name, annotations in pods.items())
    return {"mesh.yaml": "---".join((*made, SERVICES)), "config.yaml": CONFIG.format(domain="cluster.local", ttl=ttl)}


class Load:
    """Requests from the client's pod until it is stopped."""

    def __init__(self, mesh: Mesh, name: str, rate: int) -> None:
        program = [sys.executable, "-S", "-E", str(HERE / "http_steady.py"), *LOADS[name], str(rate), "-", "kept"]
        self._process = subprocess.Popen(
            [str(PILOTFISH), "exec", "--name", mesh.name, "client.vm", "--", *program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=mesh.environment,
        )  # fmt: skip

    def stop(self) -> dict[str, Any]:
        output, _ = self._process.communicate(timeout=30)
        found: dict[str, Any] = json.loads(output)
        return found


class Story:
    """What is done to a mesh; each waits until it has come to all proxies."""

    def __init__(self, mesh: Mesh, ttl: int) -> None:
        self.steps: list[tuple[float, str]] = []
        """When each began (CLOCK_MONOTONIC)."""
        self.serials: Counter[str] = Counter()
        """Certificates seen, by pod."""
        self._mesh = mesh
        self._ttl = ttl
        self._seen: set[str] = set()

    def rotate(self) -> None:
        self._note("the root of our own is another")
        before = self._signer()
        self._mesh.call("identity", "rotate")
        wait_until("it signs", lambda: self._signer() not in ("", before), ROOT_SIGNS_WITHIN)
        self._all_are_signed_anew(20)

    def plug(self, what: str, name: str, root: Issued, within: float, killing: bool = False) -> None:
        """`killing`: discovery, while the new root is trusted and does not sign yet."""
        self._note(what)
        self._mesh.write("cacerts.yaml", cacerts(name, root))
        if killing:
            wait_until("it is trusted", lambda: self._authority().get("next"))
            self._kill()
        wait_until("it signs", lambda: self._signer() == f"CN={name}", within)
        self._all_are_signed_anew(20)

    def strict(self) -> None:
        self._note("PERMISSIVE becomes STRICT")
        url = f"http://{self._mesh.address('server')}:8000/"
        assert self._mesh.status_code("stranger.vm", url) == "200"
        self._mesh.write("strict.yaml", STRICT)
        wait_until("plaintext is refused", lambda: self._mesh.status_code("stranger.vm", url) == "000")

    def rename(self, domain: str) -> None:
        self._note("the trust domain is another, and the one before it no alias")
        self._mesh.write("config.yaml", CONFIG.format(domain=domain, ttl=self._ttl))

        def are_renamed() -> bool:
            shown = (proxy["certificate"] for proxy in self._mesh.status["proxies"])
            return all(each["subject"].startswith(f"spiffe://{domain}/") for each in shown)

        wait_until("all are of it", are_renamed, ROOT_SIGNS_WITHIN)

    def kill_discovery(self) -> None:
        self._note("discovery is killed")
        self._kill()
        self._all_are_signed_anew(30)

    def go_on(self, until: float) -> None:
        self._note("nothing but renewals")
        while time.monotonic() < until:
            self.look()
            time.sleep(0.5)

    def look(self) -> dict[str, str]:
        """The certificates' serials by pod; empty while discovery is away."""
        try:
            proxies = self._mesh.status["proxies"]
        except Unreachable:
            return {}
        found = {proxy["pod"]: proxy["certificate"]["serial"] for proxy in proxies if proxy["certificate"]}
        for pod, serial in found.items():
            if serial not in self._seen:
                self._seen.add(serial)
                self.serials[pod] += 1
        return found

    def _kill(self) -> None:
        pid = self._mesh.status["discovery"]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until("it is back", lambda: self._mesh.status["discovery"]["pid"] not in (None, pid), 20)

    def _all_are_signed_anew(self, within: float) -> None:
        before = self.look()

        def holds() -> bool:
            now = self.look()
            return now.keys() >= {"client", "server"} and all(now[pod] != before.get(pod) for pod in now)

        wait_until("all have another certificate", holds, within)

    def _authority(self) -> dict[str, Any]:
        """Empty while discovery is away."""
        shown = self._mesh.call("identity", "show", "-o", "json", check=False).stdout
        found: dict[str, Any] = json.loads(shown)["authority"] if shown else {}
        return found

    def _signer(self) -> str:
        return str(self._authority().get("signer", {}).get("subject", ""))

    def _note(self, what: str) -> None:
        self.steps.append((time.monotonic(), what))


def cacerts(name: str, root: Issued) -> str:
    """A Secret with an intermediate of this name."""
    made = issue(name, root, is_ca=True)
    files = (made.pem, made.key, made.pem + root.pem, root.pem)
    keys = (file.replace(".", "_") for file in AUTHORITY_FILES)
    return secret("cacerts", "istio-system", **dict(zip(keys, files, strict=True)))


def whole(story: Story, seconds: float) -> None:
    """All that is promised, and on until so many seconds have passed."""
    until = time.monotonic() + seconds
    first, second = issue("first root", is_ca=True), issue("second root", is_ca=True)
    story.rotate()
    story.plug("a user's authority is plugged in", "first", first, ROOT_SIGNS_WITHIN)
    story.plug("its intermediate is another", "second", first, 20)
    story.kill_discovery()
    story.strict()
    story.rename("example.org")
    story.plug("its root is another, and discovery is killed", "third", second, ROOT_SIGNS_WITHIN, killing=True)
    story.go_on(until)


def measure(tell: Callable[[Story], None], rate: int, ttl: int) -> tuple[Story, dict[str, dict[str, Any]]]:
    """What was done, and what became of the requests. `ttl`: seconds that a certificate is valid."""
    with running_mesh("rotations", manifests(ttl)) as mesh:
        loads = {name: Load(mesh, name, rate // len(LOADS)) for name in LOADS}
        story = Story(mesh, ttl)
        try:
            tell(story)
        finally:
            found = {name: load.stop() for name, load in loads.items()}
    return story, found


def report(story: Story, found: dict[str, dict[str, Any]]) -> Iterator[str]:
    began = story.steps[0][0]
    for at, what in story.steps:
        yield f"{at - began:6.1f} s  {what}"
    yield f"certificates: {dict(story.serials)}"
    for name, load in found.items():
        lost = sum(load["lost"].values())
        yield (
            f"{name}: {load['requests']} requests, {lost} failed {load['lost'] or ''}, slowest {load['slowest']:.0f} ms"
        )
        if load["first"]:
            yield f"  the first was due at {load['first'][0] - began:.2f} s: {load['first'][1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=int, default=500)
    options = parser.parse_args()
    story, found = measure(partial(whole, seconds=options.seconds), options.rate, ttl=20)
    print("\n".join(report(story, found)))
    return 1 if any(load["lost"] for load in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
