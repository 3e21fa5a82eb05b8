"""One probe of one container: when it runs, and what its results come to.

A container that is not ready yet is probed more often than its period says, which Kubernetes allows, so that it
becomes ready soon; a failure counts once a period only.
Source: https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pilotfish.config.kubernetes import Probe, ProbeKind

_EAGER_FIRST = 0.1
_EAGER_LAST = 1.0


@dataclass(frozen=True, slots=True)
class ProbeState:
    due_at: float
    counts_at: float
    """From this time on a failure counts."""
    eager: float
    """Seconds to the next probe while the container has not passed; doubles up to a second."""
    running: bool = False
    passed: bool = False
    """The probe's standing result. Liveness stands passed until it has failed often enough."""
    failed: bool = False
    """It failed `failureThreshold` times in a row."""
    successes: int = 0
    failures: int = 0
    message: str = ""


def begin(probe: Probe, kind: ProbeKind, now: float) -> ProbeState:
    first = now + probe.initial_delay_seconds
    return ProbeState(first, first, _EAGER_FIRST, passed=kind == "liveness")


def sent(state: ProbeState) -> ProbeState:
    return replace(state, running=True)


def result(probe: Probe, kind: ProbeKind, state: ProbeState, ok: bool, message: str, now: float) -> ProbeState:
    """The state after one probe's result."""
    if ok:
        successes = state.successes + 1
        passed = state.passed or successes >= probe.success_threshold
        state = replace(state, successes=successes, failures=0, passed=passed, failed=False, message="")
    else:
        counted = now >= state.counts_at
        failures = state.failures + counted
        failed = failures >= probe.failure_threshold
        state = replace(state, successes=0, failures=failures, failed=failed, message=message)
        state = replace(state, passed=state.passed and not failed)
    return _schedule(probe, kind, state, now)


def _schedule(probe: Probe, kind: ProbeKind, state: ProbeState, now: float) -> ProbeState:
    counts_at = state.counts_at if now < state.counts_at else now + probe.period_seconds
    if kind == "liveness" or state.passed:
        return replace(state, running=False, counts_at=counts_at, due_at=counts_at)
    due = min(now + state.eager, counts_at)
    return replace(state, running=False, counts_at=counts_at, due_at=due, eager=min(state.eager * 2, _EAGER_LAST))
