"""Real meshes for tests: made by the command itself, and always taken down, with a check that nothing remains."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pilotfish.cli.render.documents import render_document
from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.runtime.control.client import Client
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Request
from pilotfish.runtime.linux.netns import NetNs, list_names
from tests.manifests import save
from tests.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
PILOTFISH = Path(sys.executable).parent / "pilotfish"
CALCULATOR = REPOSITORY / "examples" / "calculator"
PROXY = os.environ.get("PILOTFISH_TEST_PROXY", "")
"""`node`: every mesh of a test that says nothing else has its machine's one proxy, as `make test-node` has it."""
WEBAPP = "webapp-0.vm"
"""The example's client; a request of its own is ADD."""
ADD = "http://calculator:8888/add?a=1&b=2"


def inbound_cluster(pod: str, port: int) -> str:
    """How the proxy of a pod, NAME.NAMESPACE, calls the way to a port of its app."""
    return f"inbound|{port}||" + (f"~{pod}" if PROXY == "node" else "")


def run(*command: str | Path, check: bool = True, stdin: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. With `check`, a failure shows what the command printed."""
    options.setdefault("timeout", 60)
    done = subprocess.run([str(c) for c in command], input=stdin, text=True, capture_output=True, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


@dataclass
class Mesh:
    """A running mesh and the commands about it."""

    name: str
    state: Path
    sources: Path
    environment: dict[str, str] = field(default_factory=dict)
    host: NetNs | None = None
    """What the mesh takes for its machine's network; None is the machine's."""

    def pilotfish(self, *arguments: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        inside = ("nsenter", f"--net={self.host.path}") if self.host is not None else ()
        return run(*inside, PILOTFISH, *arguments, check=check, env=self.environment, **options)

    def call(self, command: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command about this mesh."""
        return self.pilotfish(command, "--name", self.name, *arguments, **options)

    def json(self, command: str, *arguments: str) -> Any:
        return json.loads(self.call(command, *arguments, "-o", "json", check=False).stdout)

    def exec(self, pod: str, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.call("exec", pod, "--", *command, check=check, **options)

    def curl(self, pod: str, url: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What curl, in a pod, prints for a URL. `-m 10` bounds it."""
        return self.exec(pod, "curl", "-sS", "-m", "10", *options, url, check=check)

    def status_code(self, pod: str, url: str, *options: str) -> str:
        return self.curl(pod, url, "-o", "/dev/null", "-w", "%{http_code}", *options, check=False).stdout

    @property
    def status(self) -> dict[str, Any]:
        """What `status -o json` prints, without a process for each time that somebody asks until something holds."""
        status: dict[str, Any] = json.loads(render_document(Client(self.state / self.name).status(), "json"))
        return status

    def pods(self, app: str) -> list[dict[str, Any]]:
        """The views of the pods with this `app` label, oldest first."""
        found = [p for p in self.status["pods"] if p.get("labels", {}).get("app") == app]
        return sorted(found, key=lambda p: p["created_at"])

    def address(self, app: str, family: int = 4) -> str:
        """Of the oldest pod with this `app` label."""
        addresses: list[str] = self.pods(app)[0]["addresses"]
        return next(a for a in addresses if (":" in a) == (family == 6))

    def logged(self, pod: str, what: str, holds: Callable[[AccessLogEntry], bool]) -> AccessLogEntry:
        """The newest entry of a pod's access log that holds, as soon as there is one."""

        def find() -> AccessLogEntry | None:
            entries = [parse_access_log(line) for line in self.access_log(pod)]
            return next((entry for entry in reversed(entries) if entry and holds(entry)), None)

        entry: AccessLogEntry = wait_until(f"{what} in the access log of {pod}", find)
        return entry

    def access_log(self, pod: str) -> list[str]:
        return [line for line in self.call("logs", pod, "-c", "istio-proxy").stdout.splitlines() if line[:2] == "[2"]

    def admin(self, pod: str, path: str) -> str:
        """What the admin of a pod's Envoy answers, without a process in the pod."""
        found = next(each for each in self.status["pods"] if each["name"] == pod)
        where = NetNs(Path(found.get("admin_netns") or found["netns"]))
        answer = blocking.ask(where.socket(), ("127.0.0.1", 15000), Request("GET", path), 5)
        return answer.body.decode()

    @property
    def envoys(self) -> list[dict[str, Any]]:
        """The views of proxies that are Envoys, and no pods behind their machine's."""
        return [each for each in self.status["proxies"] if not each.get("machine")]

    def envoy_of(self, pod: str) -> str:
        """NAME.NAMESPACE of the proxy that serves a pod, `webapp-0.vm`."""
        return next(
            (f"{each['pod']}.{each['namespace']}" for each in self.envoys if pod in each.get("serves", ())), pod
        )

    def config_dump(self, pod: str) -> dict[str, Any]:
        dump: dict[str, Any] = self.json("proxy-config", "all", pod)
        return dump

    def write(self, name: str, text: str) -> Path:
        """Save a manifest file, in one step as editors do."""
        path = self.sources / name
        save(path, text)
        return path


def leftovers(mesh: str) -> list[str]:
    """Everything on this machine that belongs to a mesh of this name."""
    own = re.compile(rf"\bpf-{re.escape(mesh)}(?!-?\w)")
    namespaces = [name for name in list_names("pf-") if own.match(name)]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if own.search(line)]
    processes = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"/{mesh}/" in words or f"--name {mesh} " in words:
            processes.append(f"{cmdline.parent.name}: {words}")
    return namespaces + mounts + processes


MakeMesh = Callable[..., AbstractContextManager[Mesh]]


@contextmanager
def running_mesh(
    name: str,
    manifests: str | Path | dict[str, str],
    *options: str,
    flawed: bool = False,
    host: NetNs | None = None,
) -> Iterator[Mesh]:
    """A mesh made of a folder that exists, of one manifest text, or of texts by file name. `flawed`: some of its
    objects are meant to be refused, of which `up` tells by its exit code.

    Its name begins with `name`; a name is one mesh's on the machine, and another test run may have the same. `host`: a
    network namespace that plays the machine.
    """
    if PROXY and "--proxy" not in options:
        options = (*options, "--proxy", PROXY)
    name = f"{name}-{os.getpid()}"
    root = Path(tempfile.mkdtemp(prefix=f"pilotfish-e2e-{os.getpid()}-"))
    sources = root / "manifests"
    if isinstance(manifests, Path):
        shutil.copytree(manifests, sources)
    else:
        sources.mkdir()
        for file, text in (manifests if isinstance(manifests, dict) else {"mesh.yaml": manifests}).items():
            (sources / file).write_text(text)
    environment = {**os.environ, "PILOTFISH_STATE": str(root / "state"), "NO_COLOR": "1"}
    mesh = Mesh(name, root / "state", sources, environment, host)
    try:
        up = mesh.pilotfish("up", sources, "--name", name, "--detach", *options, check=not flawed)
        assert up.returncode == int(flawed), up.stderr
        yield mesh
    finally:
        try:
            down = mesh.call("down", check=False)
            assert (left := leftovers(name)) == [], f"{left} is left behind; down said: {down.stdout}{down.stderr}"
            assert not (root / "state" / name).exists(), "the mesh's directory is left behind"
        finally:
            shutil.rmtree(root, ignore_errors=True)
