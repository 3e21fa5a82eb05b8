"""CaptureSpec → RuleSet."""

from __future__ import annotations

from pilotfish.capture import mangle, nat, raw
from pilotfish.capture.family import Addresses
from pilotfish.capture.ruleset import RuleSet
from pilotfish.capture.spec import CaptureSpec, Family


def rules(spec: CaptureSpec, family: Family) -> RuleSet:
    """What the kernel is to hold for one family (4 or 6); nothing for IPv6 where it is not enabled."""
    if family == 6 and not spec.enable_ipv6:
        return RuleSet()
    addresses = Addresses.of(spec, family)
    return RuleSet.build(
        {
            "mangle": mangle.chains(spec, addresses),
            "nat": nat.chains(spec, addresses),
            "raw": raw.chains(spec, addresses),
        }
    )
