"""Names, labels and ports, by Kubernetes' rules.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pilotfish.config.kubernetes import HTTPHeader, Metadata
from pilotfish.config.report import Report
from pilotfish.model import Kind
from pilotfish.model.kinds import NAMESPACE, SERVICE

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_HEADER_NAME = re.compile(r"[-_A-Za-z0-9]+")
_ISTIO_LABEL = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=[-0-9]*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

DNS_RULE = "use lower-case letters, digits and dashes (63 at most), with a letter or digit at both ends"


def is_dns_label(text: str) -> bool:
    """RFC 1123."""
    return _LABEL.fullmatch(text) is not None


def is_dns_subdomain(text: str) -> bool:
    return len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def is_port_name(text: str) -> bool:
    """RFC 6335: at most 15 characters, with a letter among them."""
    return len(text) <= 15 and _PORT_NAME.fullmatch(text) is not None


def check_dns_label(name: str, field: str, report: Report) -> None:
    if not is_dns_label(name):
        report.invalid(field, f"{name!r} is no name", DNS_RULE)


def check_istio_label(name: str, field: str, report: Report) -> None:
    """A subset's or a port's name in Istio's kinds: as a DNS label, in either case. Source: Istio's IsDNS1123Label,
    https://github.com/istio/istio/blob/master/pkg/config/labels/instance.go"""
    if not _ISTIO_LABEL.fullmatch(name):
        remedy = "use letters, digits and dashes (63 at most), with a letter or digit at both ends"
        report.invalid(field, f"{name!r} is no name", remedy)


def check_probe_headers(headers: Iterable[HTTPHeader], field: str, report: Report) -> None:
    """Source: Kubernetes' IsHTTPHeaderName, https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation"""
    for index, header in enumerate(headers):
        if not _HEADER_NAME.fullmatch(header.name):
            where = f"{field}.httpHeaders[{index}].name"
            report.invalid(where, f"{header.name!r} is no name of a header", "use letters, digits, - and _")


def check_metadata(metadata: Metadata, kind: Kind, report: Report) -> None:
    """The name by the kind's own rule, the namespace, labels and annotations."""
    check_object_name(metadata.name, kind, "metadata.name", report)
    if metadata.namespace:
        check_dns_label(metadata.namespace, "metadata.namespace", report)
    check_labels(metadata.labels, "metadata.labels", report)
    check_annotations(metadata.annotations, "metadata.annotations", report)


def check_annotations(annotations: Mapping[str, str], field: str, report: Report) -> None:
    for key in annotations:
        _check_key(key, f"{field}[{key}]", report)


def check_object_name(name: str, kind: Kind, field: str, report: Report) -> None:
    if kind is NAMESPACE:
        check_dns_label(name, field, report)
    elif kind is SERVICE:
        if not _LABEL_1035.fullmatch(name):
            report.invalid(field, f"{name!r} is no name of a Service", f"{DNS_RULE}, and a letter first")
    elif not is_dns_subdomain(name):
        report.invalid(field, f"{name!r} is no name", f"{DNS_RULE}; dots may stand between such parts")


def check_labels(labels: Mapping[str, str], field: str, report: Report) -> None:
    for key, value in labels.items():
        _check_key(key, f"{field}[{key}]", report)
        if not _LABEL_VALUE.fullmatch(value):
            remedy = "use at most 63 letters, digits, dashes, dots and underscores, with a letter or digit at both ends"
            report.invalid(f"{field}[{key}]", f"{value!r} is no label's value", remedy)


def _check_key(key: str, field: str, report: Report) -> None:
    prefix, slash, name = key.rpartition("/")
    if not _QUALIFIED.fullmatch(name) or (slash and not is_dns_subdomain(prefix)):
        report.invalid(field, f"{key!r} is no key", "write NAME, or DOMAIN/NAME, of letters, digits, dashes and dots")


def check_port(number: int, field: str, report: Report) -> None:
    if not 1 <= number <= 65535:
        report.invalid(field, f"{number} is no port", "write one from 1 to 65535")


def check_unique(names: Iterable[tuple[str, object]], what: str, report: Report) -> None:
    """(field, name) pairs: a name that stood before is reported at its field."""
    seen: dict[object, str] = {}
    for field, name in names:
        first = seen.setdefault(name, field)
        if first != field:
            report.invalid(field, f"{what} {name} stands at {first} already", "give each its own")


def check_at_least(number: int | None, least: int, field: str, report: Report) -> None:
    if number is not None and not least <= number < 2**31:
        report.invalid(field, f"{number} is out of range", f"write a number from {least} to {2**31 - 1}")
