"""Capture rules into a network namespace, out of it, and read back.

    CaptureSpec ─apply─▶ choose a back-end ─▶ iptables-restore | nft -f ─▶ kernel ◀─▶ policy routing (TPROXY)
                                                                             │
    Drift ◀─verify, watch── read back: iptables-nft, iptables-legacy, nft ◀──┘

What a namespace holds is first asked by netlink, which costs no process (`backends.Survey`); a program runs only where
there is something to read or to change.
"""

from pilotfish.runtime.capture.backends import FAMILIES, PacketFilter
from pilotfish.runtime.capture.change import apply, clean, known, read, resolve_groups
from pilotfish.runtime.capture.route import route
from pilotfish.runtime.capture.verify import Drift, verify, watch

__all__ = [
    "FAMILIES",
    "Drift",
    "PacketFilter",
    "apply",
    "clean",
    "known",
    "read",
    "resolve_groups",
    "route",
    "verify",
    "watch",
]
