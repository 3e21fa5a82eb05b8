"""CaptureSpec → RuleSet."""

from __future__ import annotations

from pilotfish.capture import mangle, nat, raw
from pilotfish.capture.family import Addresses
from pilotfish.capture.ruleset import RuleSet
from pilotfish.capture.spec import CaptureSpec, Family

FAMILIES: tuple[Family, ...] = (4, 6)


def rules(spec: CaptureSpec, family: Family) -> RuleSet:
    """What the kernel is to hold for one family (4 or 6) by iptables; nothing for IPv6 where it is not enabled."""
    return _build(spec, (family,))


def native_rules(spec: CaptureSpec, families: tuple[Family, ...] = FAMILIES) -> RuleSet:
    """What it is to hold by nft, where one table serves all families: rules with an address stand once for each."""
    return _build(spec, families, native=True)


def _build(spec: CaptureSpec, families: tuple[Family, ...], native: bool = False) -> RuleSet:
    enabled = tuple(Addresses.of(spec, family) for family in families if family == 4 or spec.enable_ipv6)
    if not enabled:
        return RuleSet()
    return RuleSet.build(
        {
            "mangle": mangle.chains(spec, enabled, native),
            "nat": nat.chains(spec, enabled),
            "raw": raw.chains(spec, enabled),
        }
    )
