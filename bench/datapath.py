"""What a request costs on its way through proxies: CPU, latency, and how many go through, way by way in turn.

    python -m bench.datapath [--rounds N] [--seconds N] [--way NAME]... [--access-log]
                             [--workers N] [--istio CLIENT.json SERVER.json HOST:PORT]

Ways: `none` has no proxy; the others have two sidecars, and differ by what is asked of them: `mutual` TLS of the mesh,
as a mesh speaks that nobody configures; `plaintext`, by a DestinationRule; `policy`, an AuthorizationPolicy by path;
`--access-log` has all of them write one. `node`, `node-plaintext` and `node-policy` are the same with the machine's one
Envoy, which has two workers for each core; `--workers` gives all Envoys but those of `istio` so many. `istio`
(`--istio`): the Envoys of two pods of another mesh as their `/config_dump?include_eds` tell, with the same Envoy, the
same rules of the kernel and one worker, too. HOST:PORT is the service that the client's dump has and the server's pod
serves. It writes access logs where the others do.

Loads: 500/s and 2,000/s (open loop), and as fast as it goes. CPU is the proxies' own (schedstat); "added" is what is
above `none`. Figures stand beside those of the reference, `istio` if it is there, else `mutual`, in the same round:
medians of these ratios, with the smallest and the greatest. Needs root; one machine has it all, so that only ratios can
be compared, and those only of ways that ran in one go.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.agents import cpu_seconds
from bench.mesh import HERE, PILOTFISH, Mesh, mesh
from bench.pods import NODE, UNINJECTED, answering, service
from bench.recorded_proxy import Recorded
from pilotfish.model.wellknown import PROXY_GID, PROXY_UID
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.linux.netns import NetNs

LOADS: Final = ((500, 8), (2000, 16), (0, 64))
"""(requests a second, connections); 0 is as fast as it goes."""
PLAINTEXT = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {name}
  trafficPolicy: {{tls: {{mode: DISABLE}}}}
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/default/sa/default]}}}}]
    to: [{{operation: {{paths: [/]}}}}]
"""
MESH_CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: '{config}'}}
"""
RULES = ("-b", "*", "-i", "*", "-d", "15020,15021,15090")


@dataclass(frozen=True, slots=True)
class Way:
    client: str
    """The pod that asks."""
    host: str
    port: int
    proxies: tuple[int, ...]
    """Processes."""


@dataclass(frozen=True, slots=True)
class Run:
    cpu: float
    """Seconds of all proxies for a thousand requests."""
    p50: float
    p99: float
    """Milliseconds."""
    rate: float


def manifests(access_log: bool, workers: int | None) -> str:
    pods = {
        "mutual": "",
        "policy": "",
        "bare-client": UNINJECTED,
        "bare": UNINJECTED,
        "node-client": NODE,
        "node": NODE,
        "node-policy": NODE,
    }
    made = [answering(*each) for each in pods.items()]
    made += [service(name, name) for name in ("mutual", "policy", "node", "node-policy")]
    for plaintext, app in (("plaintext", "mutual"), ("node-plaintext", "node")):
        made += [service(plaintext, app, port=8001), PLAINTEXT.format(name=plaintext)]
    made += [POLICY.format(name=name) for name in ("policy", "node-policy")]
    config: dict[str, Any] = {"accessLogFile": "/dev/stdout"} if access_log else {}
    if workers is not None:
        config["defaultConfig"] = {"concurrency": workers}
    return "---".join((*made, MESH_CONFIG.format(config=json.dumps(config))))


def find_ways(made: Mesh) -> dict[str, Way]:
    status = made.status()
    address = {pod["name"]: pod["addresses"][0] for pod in status["pods"]}
    proxy = {each["pod"].partition(".")[0]: each["pid"] for each in status["proxies"]}
    client = next(name for name in proxy if name.startswith("client-"))
    machine = tuple(each["pid"] for each in status["proxies"] if each["serves"])
    both = {server: (proxy[client], proxy[server]) for server in ("mutual", "policy")}
    return {
        "none": Way("bare-client", address["bare"], 8000, ()),
        "mutual": Way(client, "mutual", 8000, both["mutual"]),
        "plaintext": Way(client, "plaintext", 8001, both["mutual"]),
        "policy": Way(client, "policy", 8000, both["policy"]),
        "node": Way("node-client", "node", 8000, machine),
        "node-plaintext": Way("node-client", "node-plaintext", 8001, machine),
        "node-policy": Way("node-client", "node-policy", 8000, machine),
    }


class Recording:
    """Two pods whose proxies are configured as another mesh's are."""

    def __init__(self, client: str, server: str, service: str) -> None:
        self.client, self.server = Recorded(Path(client)), Recorded(Path(server))
        host, _, port = service.rpartition(":")
        self.host, self.port = host, int(port)

    def manifests(self) -> str:
        target = self.client.target_port(self.host, self.port, self.server.address)
        ports = {"recorded-client": 8000, "recorded": target}
        return "---".join(answering(name, UNINJECTED, port=port) for name, port in ports.items())

    @contextmanager
    def running(self, made: Mesh, folder: Path, access_log: bool) -> Iterator[Way]:
        status = made.status()
        found = {pod["name"]: pod for pod in status["pods"]}
        client, server = (found[name]["addresses"][0] for name in ("recorded-client", "recorded"))
        moved = {self.client.address: client, self.server.address: server}
        log = open_log(folder) if access_log else ""
        with ExitStack() as stack:
            pids = [
                stack.enter_context(envoy(made, name, recorded.bootstrap(moved, self.host, server, log), folder))
                for name, recorded in (("recorded-client", self.client), ("recorded", self.server))
            ]
            # To whatever address: the listener of its port takes the request, and its route goes by the host.
            yield Way("recorded-client", f"{self.host}@192.0.2.1", self.port, tuple(pids))


def open_log(folder: Path) -> str:
    log = folder / "access.log"
    log.touch()
    os.chown(log, PROXY_UID, PROXY_GID)
    return str(log)


@contextmanager
def envoy(made: Mesh, pod: str, bootstrap: dict[str, Any], folder: Path) -> Iterator[int]:
    """An Envoy in a pod that has none, with the rules that lead its traffic through it; its process."""
    netns = f"pf-{made.name}.default.{pod}"
    config = folder / f"{pod}.json"
    config.write_text(json.dumps(bootstrap))
    config.chmod(0o644)
    subprocess.run([PILOTFISH, "capture", "apply", "--netns", netns, *RULES], check=True, stdout=subprocess.DEVNULL)
    user = ["setpriv", f"--reuid={PROXY_UID}", f"--regid={PROXY_GID}", "--clear-groups"]
    line = ["ip", "netns", "exec", netns, *user, str(find_envoy()), "--config-path", str(config), "--concurrency", "1"]
    with (folder / f"{pod}.log").open("w") as log:
        process = subprocess.Popen([*line, "--disable-hot-restart", "--log-level", "error"], stdout=log, stderr=log)
    try:
        await_port(netns, 15006, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def await_port(netns: str, port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        with NetNs.named(netns).socket() as stream:
            if stream.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"the recorded Envoy of {netns} does not listen")


def run(made: Mesh, way: Way, rate: int, connections: int, seconds: float) -> Run:
    load = [sys.executable, "-S", "-E", str(HERE / "http_load.py"), way.host, str(way.port)]
    before = sum(map(cpu_seconds, way.proxies))
    said = made.call("exec", way.client, "--", *load, str(rate), str(seconds), str(connections))
    spent = sum(map(cpu_seconds, way.proxies)) - before
    found = json.loads(said)
    if found["failed"]:
        raise SystemExit(f"{found['failed']} of {found['requests']} requests to {way.host} were not answered with 200")
    served = found["requests"] + found["warmed"]
    return Run(spent / served * 1e3, found["p50"], found["p99"], found["requests"] / seconds)


def measure(made: Mesh, ways: dict[str, Way], rounds: int, seconds: float, reference: str) -> None:
    for rate, connections in LOADS:
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for number in range(rounds):
            # Who goes first is another each time.
            order = [*ways][number % len(ways) :] + [*ways][: number % len(ways)]
            for name in order:
                runs[name].append(run(made, ways[name], rate, connections, seconds))
        asked = f"{rate}/s" if rate else "as fast as it goes"
        print(f"\n{asked}, {connections} connections, {rounds} rounds; beside {reference}:")
        report(runs, reference)


def report(runs: dict[str, list[Run]], reference: str) -> None:
    print(
        f"{'':14} {'CPU s/1000':>10} {'CPU':>18} {'p50 ms':>7} {'added p50':>18} "
        f"{'p99 ms':>7} {'req/s':>7} {'req/s':>18}"
    )
    for name, own in runs.items():
        cpu, p50, p99, rate = (median(getattr(each, key) for each in own) for key in ("cpu", "p50", "p99", "rate"))
        pairs = list(zip(own, runs[reference], runs["none"], strict=True))
        ratios = (
            [mine.cpu / theirs.cpu for mine, theirs, _ in pairs],
            [(mine.p50 - none.p50) / (theirs.p50 - none.p50) for mine, theirs, none in pairs],
            [mine.rate / theirs.rate for mine, theirs, _ in pairs],
        )
        of_cpu, of_p50, of_rate = (f"{median(r):.2f} ({min(r):.2f}-{max(r):.2f})" for r in ratios)
        print(f"{name:14} {cpu:10.3f} {of_cpu:>18} {p50:7.3f} {of_p50:>18} {p99:7.2f} {rate:7.0f} {of_rate:>18}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--way", action="append", default=[], help="only this one, and what it is compared with")
    parser.add_argument("--access-log", action="store_true")
    parser.add_argument("--workers", type=int, help="0: one for each core")
    parser.add_argument("--istio", nargs=3, metavar=("CLIENT.json", "SERVER.json", "HOST:PORT"))
    options = parser.parse_args()
    recording = Recording(*options.istio) if options.istio else None
    more = [
        manifests(options.access_log, options.workers),
        *((recording.manifests(),) if recording is not None else ()),
    ]
    with tempfile.TemporaryDirectory(prefix="pilotfish-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # Envoy is another user.
        made, _ = stack.enter_context(mesh(1, 1, more="---\n".join(more)))
        ways = find_ways(made)
        if recording is not None:
            ways["istio"] = stack.enter_context(recording.running(made, folder, options.access_log))
        reference = "istio" if recording is not None else "mutual"
        wanted = {"none", reference, *options.way} if options.way else ways.keys()
        measure(made, {n: way for n, way in ways.items() if n in wanted}, options.rounds, options.seconds, reference)


if __name__ == "__main__":
    main()
