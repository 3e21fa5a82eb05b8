"""Services' addresses in the node's kernel, as kube-proxy makes them: the rules, as text for `nft -f`.

    Frontends ───────────────render_all─────▶ transaction ─┐
    Frontends before, after ─render_changes─▶ transaction ─┼─▶ kernel (`runtime.net.services`)
                             ─stale_flows───▶ UDP flows ───┘

One table in the node's network namespace serves every pod of the mesh:

    packet to a Service's address ─▶ map `services` ─▶ chain `pick-N` ─▶ map `endpoints` ─▶ DNAT to one of N
                                       └─ no such port, or no endpoint ─▶ refused, as its address is in `addresses`

A change costs what it changes, some elements of maps, however many Services there are. Source:
https://kubernetes.io/docs/reference/networking/virtual-ips/ and kube-proxy's mode `nftables`.
"""

from pilotfish.servicenet.changes import render_all, render_changes
from pilotfish.servicenet.flows import Flow, stale_flows
from pilotfish.servicenet.table import TABLE

__all__ = ["TABLE", "Flow", "render_all", "render_changes", "stale_flows"]
