"""Clusters as `istioctl proxy-config clusters` shows them."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.dump import ClusterName, Json, describe_owner, text
from pilotfish.cli.render.table import Table, table


def select_clusters(
    clusters: Iterable[Json], fqdn: str = "", port: int = 0, subset: str = "", direction: str = ""
) -> list[Json]:
    """By what is set: `fqdn` as a part of the host's name, the others as a whole. In order of host, subset, port."""
    chosen = []
    for cluster in clusters:
        whole = text(cluster, "name")
        # A cluster that is no service's has a name and nothing else.
        name = ClusterName.parse(whole) or ClusterName("", "", "", whole)
        differs = (
            fqdn.lower() not in name.fqdn.lower(),
            port and name.port != str(port),
            subset not in ("", name.subset),
            direction.lower() not in ("", name.direction),
        )
        if not any(differs):
            chosen.append(cluster)
    return sorted(chosen, key=_order)


def render_clusters(clusters: Iterable[Json]) -> Table:
    rows = []
    for cluster in clusters:
        name = ClusterName.parse(text(cluster, "name"))
        # STATIC is the enum's zero, which JSON leaves out; a cluster of an extension has its name instead.
        kind = text(cluster, "type") or text(cluster, "cluster_type", "name") or "STATIC"
        row = (
            (name.fqdn, name.port, name.subset or "-", name.direction)
            if name
            else (text(cluster, "name"), "-", "-", "-")
        )
        rows.append((*row, kind, describe_owner(cluster)))
    return table(("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"), rows)


def _order(cluster: Json) -> tuple[str, str, int, str]:
    name = ClusterName.parse(text(cluster, "name"))
    if name is None:
        return text(cluster, "name"), "", 0, ""
    return name.fqdn, name.subset, int(name.port) if name.port.isdecimal() else 0, name.direction
