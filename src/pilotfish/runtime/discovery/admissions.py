"""What the webhooks have answered, counted. Names are Istio's.

Source: https://istio.io/latest/docs/reference/commands/pilot-discovery/#metrics
"""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from pilotfish.cluster.review import Review
from pilotfish.model.kinds import kind_named

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Outcome(StrEnum):
    INJECTED = "success"
    SKIPPED = "skip"
    REFUSED = "failure"
    PASSED = "passed"
    FAILED = "failed"


_OF_PODS = {
    Outcome.INJECTED: "Total number of times that a pod was given a proxy, or was found to have it.",
    Outcome.SKIPPED: "Total number of times that a pod was to have no proxy.",
    Outcome.REFUSED: "Total number of times that a pod was refused.",
}
_OF_OBJECTS = {Outcome.PASSED: "Objects that were let in.", Outcome.FAILED: "Objects that were refused."}


class Admissions:
    def __init__(self, registry: CollectorRegistry) -> None:
        to = registry
        self._requests = Counter(
            "sidecar_injection_requests_total", "Total number of sidecar injection requests.", registry=to
        )
        self._pods = {
            outcome: Counter(f"sidecar_injection_{outcome}_total", text, registry=to)
            for outcome, text in _OF_PODS.items()
        }
        self._objects = {
            outcome: Counter(f"galley_validation_{outcome}", text, ["group", "version", "resource"], registry=to)
            for outcome, text in _OF_OBJECTS.items()
        }
        self._injecting = Histogram(
            "sidecar_injection_time_seconds", "Seconds that an injection took.", buckets=_SECONDS, registry=to
        )
        self._validating = Histogram(
            "pilotfish_validation_time_seconds", "Seconds that a validation took.", buckets=_SECONDS, registry=to
        )
        self._errors = Counter("galley_validation_http_error", "Questions that could not be answered.", registry=to)

    def count(self, review: Review, outcome: Outcome, seconds: float) -> None:
        if outcome in self._pods:
            self._requests.inc()
            self._pods[outcome].inc()
            self._injecting.observe(seconds)
            return
        # Whoever asks about what there is not makes it up.
        known = kind_named(review.kind, review.group)
        is_known = f"{review.group}/{review.version}" in known.api_versions
        labels = (review.group, review.version, review.kind) if is_known else ("other", "other", "other")
        self._objects[outcome].labels(*labels).inc()
        self._validating.observe(seconds)

    def misunderstood(self) -> None:
        self._errors.inc()
