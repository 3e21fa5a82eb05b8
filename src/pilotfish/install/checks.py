"""What a schema can't say of values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pilotfish.config.checks.names import DNS_RULE, check_at_least, check_port, is_dns_label
from pilotfish.config.report import Report
from pilotfish.config.values import Quantity
from pilotfish.inject.values import Resources
from pilotfish.install.names import RESERVED
from pilotfish.install.values import Autoscale, Gateway, Values
from pilotfish.model.wellknown import ROOT_NAMESPACE

_LONGEST_REVISION: Final = 40
"""Characters, so that what is called by it is a label still."""
_TAG: Final = re.compile(r"[\w][\w.-]{0,127}")
"""Of an image. Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md"""


def check_values(values: Values, report: Report) -> None:
    _check_revision(values.revision, report)
    if values.namespace != ROOT_NAMESPACE:
        what = f"a mesh of this release is installed in {ROOT_NAMESPACE}, where proxies look for it"
        report.invalid("namespace", what, "remove it")
    if not _TAG.fullmatch(values.tag):
        report.invalid("tag", f"{values.tag!r} is no tag of an image", "write one such as 0.1.0")
    check_autoscale(values.discovery.autoscale, "discovery.autoscale", report)
    for field, resources in (
        ("discovery", values.discovery.resources),
        ("proxy", values.proxy.resources),
        ("cni", values.cni.resources),
        ("gateway", values.gateway.resources),
    ):
        _check_resources(resources, f"{field}.resources", report)
    _check_gateway(values.gateway, report)


def _check_revision(revision: str, report: Report) -> None:
    if not revision:
        return
    if not is_dns_label(revision) or len(revision) > _LONGEST_REVISION:
        report.invalid("revision", f"{revision!r} is no name", f"{DNS_RULE}, {_LONGEST_REVISION} characters at most")
    elif revision in RESERVED or revision.startswith("tag-"):
        report.invalid("revision", f"{revision!r} has a meaning of its own", "choose another, such as 1-2")


def check_autoscale(autoscale: Autoscale, field: str, report: Report) -> None:
    check_at_least(autoscale.min, 1, f"{field}.min", report)
    if autoscale.enabled and autoscale.max < autoscale.min:
        report.invalid(f"{field}.max", f"{autoscale.max} is less than min, which is {autoscale.min}", "raise it")
    check_at_least(autoscale.cpu, 1, f"{field}.cpu", report)


def _check_resources(resources: Resources, field: str, report: Report) -> None:
    for name, amounts in (("requests", resources.requests), ("limits", resources.limits)):
        _check_amounts(amounts, f"{field}.{name}", report)


def _check_amounts(amounts: Mapping[str, Any], field: str, report: Report) -> None:
    for name, amount in amounts.items():
        try:
            Quantity.parse(str(amount))
        except ValueError as error:
            report.invalid(f"{field}.{name}", str(error), "correct it")


def _check_gateway(gateway: Gateway, report: Report) -> None:
    check_autoscale(gateway.autoscale, "gateway.autoscale", report)
    for index, port in enumerate(gateway.ports):
        number = port.get("port")
        if not isinstance(number, int) or isinstance(number, bool):
            report.missing(f"gateway.ports[{index}].port", "write a number from 1 to 65535")
        else:
            check_port(number, f"gateway.ports[{index}].port", report)
