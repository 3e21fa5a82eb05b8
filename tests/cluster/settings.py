"""What the programs of a node are told: their configuration files and options, for one node in namespaces of its own.

Sources: https://kubernetes.io/docs/reference/command-line-tools-reference/,
https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/,
https://github.com/containerd/containerd/blob/release/1.6/docs/cri/config.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.api_server import serving_options
from tests.cluster.images import PAUSE

NAME = "node"
ADDRESS = "10.88.77.1"
ADDRESS6 = "fd00:10:88::1"
SERVER = "https://127.0.0.1:6443"
PODS = "10.244.0.0/16,fd00:10:244::/56"
"""Of both families; the only node has the first /24 and /64."""
SERVICES = "10.96.0.0/16,fd00:10:96::/112"
DNS = "10.96.0.10"


@dataclass(frozen=True)
class Layout:
    """Where the files of one node are."""

    state: Path
    """On the machine's disk; gone with the node."""
    debian: Path
    group: str
    """Its control group's name."""
    kube_proxy_mode: str = "nftables"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def configuration(self) -> Path:
        return self.state / "configuration"

    @property
    def run(self) -> Path:
        """In a /run that nobody but the node sees."""
        return Path("/run") / self.group

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def cni_configuration(self) -> Path:
        return self.configuration / "cni"

    @property
    def cni_programs(self) -> Path:
        return self.state / "cni"


def write_configuration(layout: Layout) -> None:
    folder = layout.configuration
    layout.cni_configuration.mkdir(parents=True)
    (folder / "resolv.conf").write_text(f"nameserver {ADDRESS}\n")
    (folder / "containerd.toml").write_text(_containerd(layout))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(layout)))
    (folder / "kube-proxy.yaml").write_text(yaml.safe_dump(_kube_proxy(layout)))
    (layout.cni_configuration / "10-net.conflist").write_text(json.dumps(_network(layout), indent=2))


def _containerd(layout: Layout) -> str:
    runtime = "io.containerd.runc.v2"
    return f"""\
version = 2
root = "{layout.state}/containerd"
state = "{layout.run}/containerd"
disabled_plugins = [{", ".join(f'"io.containerd.{each}"' for each in _UNUSED)}]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  stream_server_address = "127.0.0.1"
  disable_apparmor = true
  # Whoever lacks CAP_SYS_RESOURCE can't protect a process from the kernel's killer.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "{runtime}"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{layout.debian}/usr/sbin/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{layout.cni_programs}"
    conf_dir = "{layout.cni_configuration}"
"""


_UNUSED = (
    "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper", "snapshotter.v1.aufs",
    "tracing.processor.v1.otlp", "internal.v1.tracing",
)  # fmt: skip


def _network(layout: Layout) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": f"{layout.run}/cni-addresses",
        "ranges": [[{"subnet": "10.244.0.0/24"}], [{"subnet": "fd00:10:244::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "1.0.0", "name": "net", "plugins": [{**bridge, "ipam": addresses}, ports]}


def _kubelet(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet-serving.key",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.group}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{layout.configuration}/resolv.conf",
        "podLogsDir": f"{layout.state}/pod-logs",
        "volumePluginDir": f"{layout.state}/volume-plugins",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "maxPods": 200,
        "serializeImagePulls": False,
    }


def _kube_proxy(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": layout.kube_proxy_mode,
        "clientConnection": {"kubeconfig": f"{layout.pki}/kube-proxy.kubeconfig"},
        "clusterCIDR": PODS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # What belongs to the machine's own namespace can't be set in another.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms"},
        "iptables": {"minSyncPeriod": "100ms"},
    }


def containerd_options(layout: Layout) -> tuple[str, ...]:
    return ("--config", f"{layout.configuration}/containerd.toml")


def etcd_options(layout: Layout) -> tuple[str, ...]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return (
        "--data-dir", f"{layout.state}/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--unsafe-no-fsync", "--log-level", "warn",
    )  # fmt: skip


def api_server_options(layout: Layout) -> tuple[str, ...]:
    pki = layout.pki
    return (
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={ADDRESS}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        *serving_options(pki),
    )


def controller_manager_options(layout: Layout) -> tuple[str, ...]:
    pki = layout.pki
    return (
        *_client_options(layout, "kube-controller-manager"),
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        "--use-service-account-credentials",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={PODS}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
    )


def scheduler_options(layout: Layout) -> tuple[str, ...]:
    return _client_options(layout, "kube-scheduler")


def _client_options(layout: Layout, name: str) -> tuple[str, ...]:
    own = layout.pki / f"{name}.kubeconfig"
    return (
        f"--kubeconfig={own}",
        f"--authentication-kubeconfig={own}",
        f"--authorization-kubeconfig={own}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    )


def kubelet_options(layout: Layout) -> tuple[str, ...]:
    return (
        f"--config={layout.configuration}/kubelet.yaml",
        f"--kubeconfig={layout.pki}/kubelet.kubeconfig",
        f"--hostname-override={NAME}",
        f"--node-ip={ADDRESS},{ADDRESS6}",
        f"--root-dir={layout.state}/kubelet",
        f"--cert-dir={layout.state}/kubelet-pki",
    )


def kube_proxy_options(layout: Layout) -> tuple[str, ...]:
    return (f"--config={layout.configuration}/kube-proxy.yaml", f"--hostname-override={NAME}")
