"""The packet filter's rules of a cluster's pod, as its init container is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pilotfish.capture import RuleSet, parse_spec, rules
from pilotfish.capture.flags import parse_flags
from pilotfish.cli.failure import Failure


def read_rules(pod: str, flags: Sequence[str] | None, family: Literal[4, 6]) -> RuleSet:
    """`flags`: None where nothing is captured. Raises Failure for what they do not mean."""
    if flags is None:
        return RuleSet()
    try:
        spec, problems = parse_spec(parse_flags(flags))
    except ValueError as error:
        raise Failure(f"how the traffic of pod {pod} is captured is not known: {error}") from error
    if spec is None:
        wrong = "; ".join(f"{each.field}: {each.message}" for each in problems)
        raise Failure(f"how the traffic of pod {pod} is captured is not known: {wrong}")
    return rules(spec, family) if family == 4 or spec.enable_ipv6 else RuleSet()
