"""Endpoints as `istioctl proxy-config endpoints` shows them: what Envoy itself says of each host of each cluster.

Source: the admin's /clusters?format=json, where health is a set of flags; none set means healthy.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/clusters.proto
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pilotfish.cli.render.dump import ClusterName, Json, at, items, socket_address, text
from pilotfish.cli.render.table import Table, table
from pilotfish.envoy.naming import usual_name
from pilotfish.model.addresses import host_port


@dataclass(frozen=True, slots=True)
class EndpointFilter:
    """What is set must hold. `fqdn`, `direction` and `subset` are parts of the cluster's name."""

    address: str = ""
    port: int = 0
    cluster: str = ""
    status: str = ""
    fqdn: str = ""
    direction: str = ""
    subset: str = ""

    def matches(self, cluster: str, host: Json) -> bool:
        address, port = socket_address(host.get("address"))
        differs = (
            self.address not in ("", address),
            self.port not in (0, port),
            self.cluster not in ("", cluster, usual_name(cluster)),
            self.status.upper() not in ("", _status(host)),
        )
        return not any(differs) and self._names(cluster)

    def _names(self, cluster: str) -> bool:
        if not (self.fqdn or self.direction or self.subset):
            return True
        name = ClusterName.parse(cluster)
        if name is None:
            return False
        same = self.subset in ("", name.subset) and self.direction.lower() in ("", name.direction)
        return same and self.fqdn.lower() in name.fqdn.lower()


def select_endpoints(clusters: Json, chosen: EndpointFilter) -> list[Json]:
    """The clusters, by name, with only those hosts that match; those without any are left out."""
    found = []
    for cluster in items(clusters, "cluster_statuses"):
        name = text(cluster, "name")
        hosts = [host for host in items(cluster, "host_statuses") if chosen.matches(name, host)]
        if hosts:
            found.append({**cluster, "host_statuses": hosts})
    return sorted(found, key=lambda cluster: text(cluster, "name"))


def render_endpoints(clusters: Iterable[Json]) -> Table:
    rows = []
    for cluster in clusters:
        for host in items(cluster, "host_statuses"):
            check = "FAILED" if at(host, "health_status", "failed_outlier_check") else "OK"
            rows.append((*socket_address(host.get("address")), _status(host), check, text(cluster, "name")))
    rows.sort(key=lambda row: (row[0], row[1], row[4]))
    return table(
        ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"),
        ((_endpoint(address, port), status, check, name) for address, port, status, check, name in rows),
    )


def _endpoint(address: str, port: int) -> str:
    if port == 0:
        return f"unix://{address}"
    return host_port(address, port)


def _status(host: Json) -> str:
    return text(host, "health_status", "eds_health_status") or "UNKNOWN"
