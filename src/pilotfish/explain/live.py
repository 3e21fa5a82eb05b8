"""A request that was really sent, held against its prediction: step by step, confirmed or contradicted.

Of the ways that chance may take, the one that the access log tells is marked; steps of which nothing was seen are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.trace import End, Outcome, Side, Stage, Step, Trace

Marks = Mapping[int, bool]
"""By a step's id: whether what was seen confirms it."""


@dataclass(frozen=True, slots=True)
class Observed:
    status: int | None
    """None where no answer came."""
    end: End
    """DELIVERED for any answer: the log says whose it is."""
    entry: AccessLogEntry | None = None
    """What the client's proxy wrote; None where it wrote nothing, as for a request that went past it."""
    counted: frozenset[str] | None = None
    """The ids of the client's rules whose counters moved; None where nobody counts."""

    def told(self) -> tuple[str, ...]:
        """What was seen, for people: `status 503`, `flag UH`."""
        entry = self.entry
        logged = (
            ("flag", ",".join(entry.response_flags)),
            ("route", entry.route_name),
            ("cluster", entry.upstream_cluster),
            ("endpoint", entry.upstream_host),
        ) if entry is not None else ()  # fmt: skip
        first = f"status {self.status}" if self.status is not None else f"end {self.end}"
        return (first, *(f"{name} {value}" for name, value in logged if value))


def is_logged(trace: Trace) -> bool:
    """The client's proxy writes down what becomes of it, on some way that it may take."""
    return any(step.side is Side.CLIENT and step.stage is Stage.NETWORK_FILTER for step in trace.steps)


def compare(trace: Trace, observed: Observed) -> Marks:
    lost = {step.id for step in trace.steps if not _may_be(step, observed.entry)}
    branch = next((o for o in trace.outcomes if not lost & set(_back(trace, o)) and _is_end(o, observed)), None)
    if branch is None:
        # Nothing that was predicted happened: what the log tells otherwise is what was wrong.
        return {step.id: step.id not in lost for step in trace.steps if _is_told(step, observed.entry)}
    on_it = set(_back(trace, branch))
    marks = {step.id: True for step in trace.steps if step.id in on_it and _is_told(step, observed.entry)}
    return {branch.last_step: True} | marks | _mark_rules(trace, on_it, observed.counted)


def _mark_rules(trace: Trace, on_it: Set[int], counted: Set[str] | None) -> dict[int, bool]:
    rules = [step for step in trace.steps if step.id in on_it and _is_rule(step)] if counted is not None else []
    # The request's own connection is new, so its rule counts it; the proxy may have sent on by one that it kept.
    first = {step.id: step.name in (counted or ()) for step in rules[:1]}
    return first | {step.id: True for step in rules[1:] if step.name in (counted or ())}


def _is_rule(step: Step) -> bool:
    """Of the client's."""
    return step.stage is Stage.NETFILTER and step.side is Side.CLIENT and step.name.count("/") == 2


def _back(trace: Trace, outcome: Outcome) -> Iterator[int]:
    at: int | None = outcome.last_step if trace.steps else None
    while at is not None:
        yield at
        at = trace.steps[at].parent


def _is_end(outcome: Outcome, observed: Observed) -> bool:
    if outcome.kind is End.DELIVERED:
        return observed.end is End.DELIVERED
    if outcome.kind is End.RESPONSE:
        return observed.status == outcome.status
    return observed.end is outcome.kind


def _may_be(step: Step, entry: AccessLogEntry | None) -> bool:
    """The log does not tell otherwise."""
    if entry is None or not _is_told(step, entry):
        return True
    told = {Stage.CLUSTER: entry.upstream_cluster, Stage.ENDPOINT: entry.upstream_host, Stage.ROUTE: entry.route_name}
    return step.name == told[step.stage]


def _is_told(step: Step, entry: AccessLogEntry | None) -> bool:
    """The client's log says what it was."""
    if entry is None or step.side is not Side.CLIENT:
        return False
    match step.stage:
        case Stage.CLUSTER:
            return bool(entry.upstream_cluster)
        case Stage.ENDPOINT:
            return bool(entry.upstream_host) and step.name != "none"
        case Stage.ROUTE:
            return bool(entry.route_name)
    return False
