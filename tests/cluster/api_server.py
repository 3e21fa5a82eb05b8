"""An API server alone: etcd, kube-apiserver, and what every Namespace needs, as three processes on the loopback.

    tests ─https─▶ kube-apiserver ─unix socket─▶ etcd        namespaces ─https─▶ kube-apiserver

Objects are accepted, admitted (webhooks and service accounts too), kept and watched as in any cluster, but nobody acts
on them: a Deployment makes no Pods, and a Pod does not run.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path

from tests.cluster import programs
from tests.cluster.kubectl import Kubectl
from tests.cluster.pki import Pki
from tests.cluster.process import Process
from tests.waiting import wait_until

SERVICES = "10.96.0.0/16,fd00:10:96::/112"
ISSUER = "https://kubernetes.default.svc.cluster.local"
_ETCD = "unix://etcd:1"
"""A socket in the folder where etcd runs; etcd takes nothing but a host and a port."""
_ETCD_PEER = "unix://peer:1"
_READY_WITHIN = 60


@dataclass(frozen=True)
class ApiServer:
    """How it is reached."""

    folder: Path
    url: str

    @property
    def pki(self) -> Pki:
        return Pki(self.folder / "pki")

    @property
    def kubeconfig(self) -> Path:
        """Of one who may do everything."""
        return self.pki.folder / "admin.kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(programs.control(build=False), self.kubeconfig)

    def user(self, name: str, group: str = "") -> Path:
        """The kubeconfig of a user who, without RoleBindings, may do nothing. `system:masters` may do all."""
        return self.pki.user(name, self.url, name, group)

    def is_ready(self) -> bool:
        """And what it makes by itself is there."""
        try:
            context = ssl.create_default_context(cafile=str(self.pki.root))
            context.load_cert_chain(self.pki.folder / "admin.crt", self.pki.folder / "admin.key")
            for path in ("/readyz", "/api/v1/namespaces/default/services/kubernetes"):
                urllib.request.urlopen(self.url + path, context=context, timeout=5).close()
            return True
        except OSError:
            return False


class OwnApiServer:
    """One that a test may strike: end, stop for a while and start again, with what it held."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._program = programs.control(build=False)
        self._folder = folder
        self._options = options
        self._port = _free_port()
        self.api = ApiServer(folder, f"https://127.0.0.1:{self._port}")
        pki = Pki.create(folder / "pki")
        pki.server("apiserver", "kube-apiserver", ("localhost", "127.0.0.1", "kubernetes.default.svc", "10.96.0.1"))
        admin = pki.user("admin", self.api.url, "admin", "system:masters")
        self.processes: list[Process] = []
        self.etcd = self._etcd()
        try:
            self.start()
            self._run("namespaces", admin, pki.root)
        except BaseException:
            self.close()
            raise

    def restart(self) -> None:
        """Anew, until it is ready. Its watchers are cut off: it would wait for them for a minute."""
        self.end()
        self.start()

    def end(self) -> None:
        self.server.end(within=1)

    def start(self) -> None:
        self.server = self._server()
        self.await_ready()

    def await_ready(self) -> None:
        def has_come() -> bool:
            for process in (self.etcd, self.server):
                if process.has_ended:
                    raise AssertionError(f"{process.log.stem} has ended:\n{process.last_words()}")
            return self.api.is_ready()

        wait_until(f"kube-apiserver answers ({self.server.log})", has_come, _READY_WITHIN)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.end(signal.SIGKILL)

    def _etcd(self) -> Process:
        return self._run(
            "etcd", "--data-dir", self._folder / "etcd",
            "--listen-client-urls", _ETCD, "--advertise-client-urls", _ETCD,
            "--listen-peer-urls", _ETCD_PEER, "--initial-advertise-peer-urls", _ETCD_PEER,
            "--initial-cluster", f"default={_ETCD_PEER}", "--unsafe-no-fsync", "--log-level", "warn",
        )  # fmt: skip

    def _server(self) -> Process:
        return self._run(
            "kube-apiserver", f"--etcd-servers={_ETCD}", "--bind-address=127.0.0.1", f"--secure-port={self._port}",
            "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={SERVICES}",
            *serving_options(self.api.pki.folder), *self._options,
        )  # fmt: skip

    def _run(self, name: str, *arguments: str | Path) -> Process:
        process = Process(self._folder / f"{name}.log", self._program, name, *arguments)
        self.processes.append(process)
        return process


def serving_options(pki: Path) -> tuple[str, ...]:
    """Who is who, and who may do what, as every cluster has it."""
    return (
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--service-account-issuer={ISSUER}",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    )


@contextmanager
def own_api_server(*options: str) -> Iterator[OwnApiServer]:
    """`options` are kube-apiserver's."""
    with tempfile.TemporaryDirectory(prefix=f"pilotfish-e2e-{os.getpid()}-") as folder:
        server = OwnApiServer(Path(folder), *options)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def shared_api_server(meeting: Path) -> Iterator[ApiServer]:
    """One for all processes of a test run, which meet in a folder: who comes first starts it, and ends it when the
    others have gone."""
    door, guests = (os.open(meeting / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC) for name in ("door", "guests"))
    note = meeting / "api-server.json"
    try:
        flock(door, LOCK_EX)
        if note.exists():
            flock(guests, LOCK_SH)
            flock(door, LOCK_UN)
            yield _read(note)
            return
        with own_api_server() as server:
            _write(note, server.api)
            flock(door, LOCK_UN)
            try:
                yield server.api
            finally:
                flock(door, LOCK_EX)
                note.unlink()
                flock(guests, LOCK_EX)
    finally:
        os.close(door)
        os.close(guests)


def _write(note: Path, api: ApiServer) -> None:
    note.write_text(json.dumps({"folder": str(api.folder), "url": api.url}))


def _read(note: Path) -> ApiServer:
    held = json.loads(note.read_text())
    return ApiServer(Path(held["folder"]), held["url"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
