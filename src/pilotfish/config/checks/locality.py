"""Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#LocalityLoadBalancerSetting"""

from __future__ import annotations

from pilotfish.config.checks.names import check_at_least, check_unique
from pilotfish.config.istio.destination_rule import (
    LocalityDistribution,
    LocalityFailover,
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
)
from pilotfish.config.report import Report
from pilotfish.model.service import TOPOLOGY_LABELS

_EVERYWHERE = 100
"""Per cent."""


def check_locality(setting: LocalityLoadBalancerSetting, field: str, report: Report) -> None:
    if setting.distribute and (setting.failover or setting.failover_priority):
        other = "failover" if setting.failover else "failoverPriority"
        report.invalid(f"{field}.{other}", "distribute is set as well", "write one of the two")
    for index, distribution in enumerate(setting.distribute):
        _check_distribution(distribution, f"{field}.distribute[{index}]", report)
    sources = ((f"{field}.distribute[{i}].from", each.from_) for i, each in enumerate(setting.distribute))
    check_unique(sources, "the locality", report)
    _check_order(setting.failover, setting.failover_priority, field, report)


def check_zones(setting: ZoneAwareLoadBalancerSetting, field: str, report: Report) -> None:
    _check_order(setting.failover, setting.failover_priority, field, report)
    for index, label in enumerate(setting.failover_priority):
        if label.partition("=")[0] in TOPOLOGY_LABELS:
            where = f"{field}.failoverPriority[{index}]"
            report.invalid(where, "regions and zones are counted in any case", "remove it, or name another label")
    if setting.min_cluster_size is not None:
        check_at_least(setting.min_cluster_size, 0, f"{field}.minClusterSize", report)


def _check_order(failovers: tuple[LocalityFailover, ...], labels: tuple[str, ...], field: str, report: Report) -> None:
    for index, failover in enumerate(failovers):
        where = f"{field}.failover[{index}]"
        for name, region in (("from", failover.from_), ("to", failover.to)):
            if not region or "/" in region or "*" in region:
                report.invalid(f"{where}.{name}", f"{region!r} is no region", "name one, such as us-west1")
        if failover.from_ == failover.to:
            report.invalid(f"{where}.to", "it is where the requests come from", "name another region")
    for index, label in enumerate(labels):
        if not label.partition("=")[0]:
            report.invalid(f"{field}.failoverPriority[{index}]", f"{label!r} is no label", "write KEY or KEY=VALUE")


def _check_distribution(source: LocalityDistribution, field: str, report: Report) -> None:
    _check_locality(source.from_, f"{field}.from", report)
    for locality, weight in source.to.items():
        _check_locality(locality, f"{field}.to[{locality}]", report)
        if not 0 < weight <= _EVERYWHERE:
            report.invalid(f"{field}.to[{locality}]", f"{weight} is out of range", "write 1 to 100")
    total = sum(source.to.values())
    if total != _EVERYWHERE:
        report.invalid(f"{field}.to", f"the weights add up to {total}", "make it 100")


def _check_locality(text: str, field: str, report: Report) -> None:
    """A `*` stands for a whole part, and nothing comes behind it."""
    parts = text.split("/")
    known = parts[: parts.index("*")] if "*" in parts else parts
    rest = parts[len(known) :]
    is_wrong = len(parts) > 3 or rest not in ([], ["*"]) or not all(known) or any("*" in part for part in known)
    if is_wrong or not parts:
        remedy = "write region, region/zone or region/zone/subzone; the last may be *"
        report.invalid(field, f"{text!r} is no locality", remedy)
