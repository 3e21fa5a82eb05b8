"""What one proxy chooses for one call, by name: the short form of `explain.proxy.walk_proxy`."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.envoy.values import ResourceSet
from pilotfish.explain.call import Call, Failure
from pilotfish.explain.held import Held
from pilotfish.explain.proxy import walk_proxy
from pilotfish.explain.trace import Branch, Stage, Tape, Trace, Verdict


@dataclass(frozen=True, slots=True)
class Way:
    """What was chosen; "" where it did not come so far, or where it has no name."""

    listener: str = ""
    filter_chain: str = ""
    route_config: str = ""
    virtual_host: str = ""
    route: str = ""
    clusters: tuple[tuple[str, float], ...] = ()
    """(name, share); none for an answer that Envoy gives itself, such as a redirect."""
    failure: Failure | None = None

    @property
    def cluster(self) -> str:
        """The only one; "" for none and for several."""
        return self.clusters[0][0] if len(self.clusters) == 1 else ""


def find_way(resources: ResourceSet, call: Call) -> Way:
    tape = Tape()
    for _ in walk_proxy(Branch(tape), Held.of_resources(resources), call):
        pass
    trace = tape.trace()
    return Way(
        _taken(trace, Stage.LISTENER),
        _taken(trace, Stage.FILTER_CHAIN),
        _taken(trace, Stage.ROUTE_CONFIG),
        _taken(trace, Stage.VIRTUAL_HOST),
        _taken(trace, Stage.ROUTE),
        tuple((step.name, step.probability) for step in trace.at(Stage.CLUSTER)),
        next((outcome.failure for outcome in trace.outcomes if outcome.failure is not None), None),
    )


def _taken(trace: Trace, stage: Stage) -> str:
    return next((step.name for step in reversed(trace.at(stage)) if step.verdict is Verdict.TAKEN), "")
