"""Reading a page of Prometheus metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def total(page: str, name: str, **labels: str) -> float:
    """The sum of a metric over its labels, or over those samples that have these; 0 if it has not been counted
    yet. AssertionError if nobody exports it."""
    exported = {family.name: family for family in text_string_to_metric_families(page)}
    # A counter's family is called without the suffix.
    family = exported.get(name) or exported.get(name.removesuffix("_total"))
    assert family is not None, f"nobody exports {name}: there are {', '.join(sorted(exported))}"
    samples = (sample for sample in family.samples if sample.name == name)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())
