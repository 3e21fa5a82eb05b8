"""The way out of a mesh that was started with `--egress`: what it takes of the host, as text for `nft -f`, and who else
has a say there.

    Ways ──render_host──▶ a table of the host, the mesh's own ─┐
           render_node──▶ a table of the node's namespace ─────┴─▶ kernels (`runtime.net.egress`)
    `nft -j list ruleset` ──find_obstacles──▶ chains of others that drop what pods send

The host's table also says what of the host was set for it, so that whoever finds it after a crash can undo that.
"""

from pilotfish.egress.firewalls import Obstacle, find_obstacles, find_old_obstacles
from pilotfish.egress.rules import (
    FORWARDED,
    FORWARDED_IPV6,
    PREFIX,
    ROUTERS,
    Ways,
    render_host,
    render_node,
    table_name,
)

__all__ = [
    "FORWARDED",
    "FORWARDED_IPV6",
    "PREFIX",
    "ROUTERS",
    "Obstacle",
    "Ways",
    "find_obstacles",
    "find_old_obstacles",
    "render_host",
    "render_node",
    "table_name",
]
