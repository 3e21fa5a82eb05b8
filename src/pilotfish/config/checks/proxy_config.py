"""Source: https://istio.io/latest/docs/reference/config/networking/proxy-config/"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.checks.names import check_labels
from pilotfish.config.istio.proxy_config import ProxyConfigSpec
from pilotfish.config.report import Report
from pilotfish.model.renewal import RenewalPolicy

MOST_WORKERS = 1024


def check_proxy_config(spec: ProxyConfigSpec, report: Report) -> None:
    if spec.selector is not None:
        check_labels(spec.selector.match_labels, "spec.selector.matchLabels", report)
    check_concurrency(spec.concurrency, "spec.concurrency", report)
    for name in spec.environment_variables:
        if not name or "=" in name or "\0" in name:
            field = f"spec.environmentVariables[{name}]"
            report.invalid(field, f"{name!r} is no name of a variable", "write one without '='")
    check_renewal(spec.environment_variables, "spec.environmentVariables", report)


def check_renewal(environment: Mapping[str, str], field: str, report: Report) -> None:
    """How long certificates are valid, where the environment says it."""
    try:
        RenewalPolicy.of_environment(environment)
    except ValueError as error:
        name = str(error).partition(" ")[0]
        report.invalid(f"{field}[{name}]", str(error), "write such a one, or remove it")


def check_concurrency(concurrency: int | None, field: str, report: Report) -> None:
    if concurrency is not None and not 0 <= concurrency <= MOST_WORKERS:
        what = f"Envoy can't run {concurrency} worker threads"
        report.invalid(field, what, f"write 0 (one for each core) to {MOST_WORKERS}")
