"""A whole cluster of one node, in namespaces of its own: kubelet runs pods, kube-proxy routes Services.

    holder: one process that holds pid, mount, network, uts and ipc namespaces
      └─ etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, containerd, its containers

The ports, rules, links and mounts of a node are nowhere else on the machine, and end with the holder, as do all of its
processes. What is left are files under `Layout.state` and empty control groups; both bear the id of the process that
made them. Pods reach one another and the node, and nothing beyond.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster import images, programs, settings
from tests.cluster.kubectl import Kubectl
from tests.cluster.pki import Pki
from tests.cluster.process import BOUND, Process
from tests.cluster.programs import Missing
from tests.cluster.settings import Layout
from tests.waiting import wait_until

_GROUPS = Path("/sys/fs/cgroup")
_HIERARCHIES = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")
_COREDNS = Path(__file__).parent / "coredns.yaml"
_HOLD = """
set -e
umount -R /run/netns 2>/dev/null || true    # else the namespaces of others would be held, too
mount --make-rshared /
mount -t tmpfs tmpfs /run -o mode=755
mkdir -p {run} /run/netns /run/lock {state}/var/upper {state}/var/work
mount -t overlay overlay -o lowerdir=/var,upperdir={state}/var/upper,workdir={state}/var/work /var
hostname {name}
ip link set lo up
ip link add node0 type veth peer name node0p
ip addr add {address}/24 dev node0
ip addr add {address6}/64 dev node0 nodad
ip link set node0 up
ip link set node0p up
ip route add default via 10.88.77.254 dev node0 onlink
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.bridge.bridge-nf-call-iptables=1
touch {state}/is-up
while :; do sleep 1000 & wait $!; done    # a shell, as whose parent has ended is its child, and is waited for
"""


class Node:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._control, self._node = programs.control(build=False), programs.node(build=False)
        archives = images.archives(build=False)
        pki = _create_pki(layout.pki)
        settings.write_configuration(layout)
        _copy_programs(layout)
        self._log = layout.state / "log"
        self._log.mkdir()
        self._holder = self._hold()
        try:
            self._enter = self._command_to_enter()
            self.processes: dict[str, Process] = {}
            for name in ("etcd", "containerd", "kube-apiserver"):
                self.start(name)
            self.kubectl = Kubectl(self._control, pki.folder / "admin.kubeconfig", inside=self._enter)
            wait_until("containerd answers", lambda: self._ctr("version").returncode == 0, 30)
            for archive in archives:
                self.load(archive)
            self.await_ready()
            for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
                self.start(name)
            self.kubectl.apply(_COREDNS)
            self.kubectl.wait("create", f"node/{settings.NAME}")
            self.kubectl.wait("condition=Ready", f"node/{settings.NAME}")
            self.kubectl.within("kube-system").rolled_out("deployment/coredns")
        except BaseException:
            self.close()
            raise

    @property
    def netns(self) -> Path:
        """The network in which the addresses of pods and Services are reached."""
        return Path(f"/proc/{self._holder_pid}/ns/net")

    def command(self, *command: str | Path) -> tuple[str, ...]:
        """A command that runs in the node, on this machine's files."""
        return (*self._enter, *map(str, command))

    def run(
        self, *command: str | Path, check: bool = True, stdin: str = "", timeout: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*command), text=True, input=stdin, capture_output=True, timeout=timeout, check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubectl.kubeconfig), "NO_COLOR": "1", **environment},
        )  # fmt: skip
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{said}")
        return done

    def start(self, name: str) -> None:
        """One of the node's programs, by its name."""
        program, options = self._commands()[name]
        path = f"{self.layout.debian}/usr/bin:{self.layout.debian}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        # It ends with the command that entered, which is what is known outside.
        self.processes[name] = Process(
            self._log / f"{name}.log", *self._enter, *BOUND, *program, *options, environment={"PATH": path}
        )

    def end(self, name: str) -> None:
        """The program is killed, and with it ends the command that entered: once its ports are free again."""
        process = self.processes[name]
        for pid in _children(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait(10)

    def await_ready(self) -> None:
        wait_until("kube-apiserver answers", self._is_answering, 60)

    def load(self, archive: Path) -> None:
        """The images of an archive, as `docker save` or `podman save` writes it."""
        done = self._ctr("--namespace", "k8s.io", "images", "import", "--snapshotter", "overlayfs", str(archive))
        if done.returncode:
            raise AssertionError(f"{archive} can't be loaded: {done.stderr}")

    def pids(self, container: str) -> list[int]:
        """The processes, as the machine counts them, of a container by its id as in a pod's status."""
        (group,) = (_GROUPS / "memory" / self.layout.group).rglob(container.removeprefix("containerd://"))
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]

    def log(self, name: str) -> str:
        return (self._log / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in self.processes.values():
            process.send(signal.SIGKILL)
        self._holder.end(signal.SIGKILL)
        for process in self.processes.values():
            process.end(signal.SIGKILL)

        def is_removed() -> bool:
            _remove_groups(self.layout.group)
            return not any(_GROUPS.glob(f"*/{self.layout.group}"))

        wait_until(f"the control groups {self.layout.group} are empty", is_removed)

    def _commands(self) -> dict[str, tuple[Sequence[str], tuple[str, ...]]]:
        control, node = str(self._control), str(self._node)
        return {
            "etcd": ((control, "etcd"), settings.etcd_options(self.layout)),
            "containerd": (("containerd",), settings.containerd_options(self.layout)),
            "kube-apiserver": ((control, "kube-apiserver"), settings.api_server_options(self.layout)),
            "kube-controller-manager": (
                (node, "kube-controller-manager"),
                settings.controller_manager_options(self.layout),
            ),
            "kube-scheduler": ((node, "kube-scheduler"), settings.scheduler_options(self.layout)),
            "kubelet": ((node, "kubelet"), settings.kubelet_options(self.layout)),
            "kube-proxy": ((node, "kube-proxy"), settings.kube_proxy_options(self.layout)),
        }

    def _hold(self) -> Process:
        script = _HOLD.format(
            run=self.layout.run,
            state=self.layout.state,
            name=settings.NAME,
            address=settings.ADDRESS,
            address6=settings.ADDRESS6,
        )
        namespaces = ("--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--mount", "--net", "--uts", "--ipc")
        return Process(self._log / "holder.log", "unshare", *namespaces, "bash", "-c", script)

    def _command_to_enter(self) -> tuple[str, ...]:
        def is_up() -> bool:
            if self._holder.has_ended:
                raise AssertionError(f"there is no node: {self._holder.last_words()}")
            return (self.layout.state / "is-up").exists()

        wait_until("the node's namespaces are made", is_up)
        (self._holder_pid,) = _children(self._holder.pid)
        return (
            "nsenter",
            "--target",
            str(self._holder_pid),
            "--pid",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--wd=/",
            "--",
        )

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ctr = self.layout.debian / "usr/bin/ctr"
        command = self.command(ctr, "--address", self.layout.containerd_socket, *arguments)
        return subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)

    def _is_answering(self) -> bool:
        server = self.processes["kube-apiserver"]
        if server.has_ended:
            raise AssertionError(f"kube-apiserver has ended:\n{server.last_words()}")
        return self.kubectl.run("get", "--raw", "/readyz", check=False).returncode == 0


@contextmanager
def running_node(kube_proxy_mode: str = "nftables") -> Iterator[Node]:
    """Missing, if this machine can have none, or not all of it is built."""
    _check_machine()
    _sweep()
    group = f"pft-cluster-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"pilotfish-e2e-{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        layout = Layout(Path(folder), programs.debian(build=False), group, kube_proxy_mode)
        _make_groups(group)
        try:
            node = Node(layout)
            try:
                yield node
            finally:
                node.close()
        finally:
            _remove_groups(group)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise Missing("a node makes namespaces and control groups, which takes root")
    if lacking := [name for name in _HIERARCHIES if not (_GROUPS / name).is_dir()]:
        raise Missing(f"a node takes control groups of version 1, and {', '.join(lacking)} is none here")
    if lacking := [tool for tool in ("nft", "iptables", "ip", "nsenter", "unshare") if shutil.which(tool) is None]:
        raise Missing(f"{', '.join(lacking)} is not installed")


def _create_pki(folder: Path) -> Pki:
    pki = Pki.create(folder)
    service = "kubernetes.default.svc"
    names = ("localhost", "127.0.0.1", "10.96.0.1", settings.ADDRESS, "kubernetes", "kubernetes.default", service)
    pki.server("apiserver", "kube-apiserver", (*names, f"{service}.cluster.local"))
    pki.server("kubelet-serving", f"system:node:{settings.NAME}", (settings.NAME, settings.ADDRESS), "system:nodes")
    pki.client("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    pki.user("admin", settings.SERVER, "admin", "system:masters")
    pki.user("kubelet", settings.SERVER, f"system:node:{settings.NAME}", "system:nodes")
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        pki.user(name, settings.SERVER, f"system:{name}")
    return pki


def _copy_programs(layout: Layout) -> None:
    """CNI's, into a folder to which a DaemonSet may add its own."""
    shutil.copytree(layout.debian / "usr/lib/cni", layout.cni_programs)


def _make_groups(group: str) -> None:
    for name in _HIERARCHIES:
        (_GROUPS / name / group).mkdir(exist_ok=True)
    # All pods together would have the share of one process, and starve beside those of others.
    (_GROUPS / "cpu" / group / "cpu.shares").write_text("65536")
    for resource in ("cpuset.cpus", "cpuset.mems"):  # which a new group does not inherit
        (_GROUPS / "cpuset" / group / resource).write_text((_GROUPS / "cpuset" / resource).read_text())


def _remove_groups(group: str) -> None:
    for top in _GROUPS.glob(f"*/{group}"):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # somebody is still in it, or it is gone
                Path(folder).rmdir()


def _sweep() -> None:
    """Control groups of nodes whose makers were killed."""
    for group in {path.name for path in _GROUPS.glob("*/pft-cluster-*")}:
        pid = re.sub(r"\D", "", group)
        if not Path("/proc", pid).exists():
            _remove_groups(group)
