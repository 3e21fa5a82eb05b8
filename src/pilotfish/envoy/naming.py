"""Names of Envoy resources, as Istio gives them."""

from __future__ import annotations

from typing import Final

BLACK_HOLE: Final = "BlackHoleCluster"
PASSTHROUGH: Final = "PassthroughCluster"
DYNAMIC_DNS: Final = "AllowAnyDynamicDNSCluster"
INBOUND_PASSTHROUGH: Final = "InboundPassthroughCluster"
FILES: Final = "agent-files"
"""The agent, where it is asked for what stands in files."""
LOCAL_CLUSTER: Final = "local_cluster"
"""Static, where `Proxy.discovers_itself`: the proxies of its workload, by which Envoy compares zones."""
VIRTUAL_OUTBOUND: Final = "virtualOutbound"
VIRTUAL_INBOUND: Final = "virtualInbound"
SDS_CLUSTER: Final = "sds-grpc"
"""Static, in each bootstrap of a proxy that has certificates (`Proxy.certified`): its agent's Unix socket, or another's
at the pod's well-known path. It serves two secrets over SDS, and anew when they are renewed."""
WORKLOAD_CERTIFICATE: Final = "default"
"""The secret that is the workload's key and certificate chain."""
MESH_ROOTS: Final = "ROOTCA"
"""The secret that is whom to trust: the mesh's roots."""
READ_HTTP: Final = "pilotfish-http/1.1"
"""What a client's proxy says by ALPN that has read the requests, which are HTTP/1.1: that of the server need not."""
READ_GRPC: Final = "pilotfish-grpc"
"""The same of gRPC, over HTTP/2."""
READ: Final = (READ_HTTP, READ_GRPC)
OURS: Final = "pilotfish"
"""Of a resource's metadata: what nobody but us says."""
READS: Final = "reads_requests"
"""Of an inbound filter chain: why requests are read that the client's proxy has read."""

NAMESPACE_MEMBER: Final = "network_namespace"
"""What says in a line of a machine's access log in JSON whose it is; one of text begins with the path and a space."""


def counted_as(pod: str, port: int) -> str:
    """What stands for `0.0.0.0_15006` in the stats of such a listener."""
    return f"{pod}_{port}"


def pod_listener_names(pod: str) -> tuple[str, str]:
    """Those that a machine's proxy has in the network namespace of a pod, `webapp-0.vm`."""
    return f"{VIRTUAL_OUTBOUND}~{pod}", f"{VIRTUAL_INBOUND}~{pod}"


def outbound_cluster(port: int, subset: str, host: str) -> str:
    """`outbound|8888|v1|calculator.vm.svc.cluster.local`."""
    return f"outbound|{port}|{subset}|{host}"


def inbound_cluster(port: int) -> str:
    """`inbound|8888||`; the port is the one that the app listens on."""
    return f"inbound|{port}||"


def usual_name(name: str) -> str:
    """As a pod's own proxy calls a resource that a machine's proxy has by another name: `8888~vm` is `8888`."""
    return name.partition("~")[0]
