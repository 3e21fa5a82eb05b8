"""Which of a pod's annotations a rule in its network namespace comes from: the reverse of `annotations`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.capture.rule import Rule
from pilotfish.inject.annotations import PREFIX


def annotation_of(chain: str, rule: Rule | None, annotations: Mapping[str, str]) -> str:
    """`chain`: where the rule that decided stands; None where none did. "" where the pod asks for nothing of the
    kind."""
    found = (f"{PREFIX}{name}" for name in _candidates(chain, rule))
    return next((name for name in found if name in annotations), "")


def _candidates(chain: str, rule: Rule | None) -> Iterator[str]:
    """What such a rule may be for, the most exact first."""
    is_inbound = chain in ("ISTIO_INBOUND", "PREROUTING", "INPUT")
    if (
        rule is not None
        and rule.target == "RETURN"
        and not rule.option("--uid-owner")
        and not rule.option("--gid-owner")
    ):
        if rule.option("-i") or (rule.option("-o") and not rule.option("-s")):
            yield "excludeInterfaces"
        if rule.option("--dport"):
            yield "excludeInboundPorts" if is_inbound else "excludeOutboundPorts"
        elif rule.option("-d"):
            yield "excludeOutboundIPRanges"
        return
    if rule is None or rule.target != "RETURN":
        # No rule sends it to the proxy, though some would send others.
        yield from ("includeInboundPorts",) if is_inbound else ("includeOutboundIPRanges", "includeOutboundPorts")
