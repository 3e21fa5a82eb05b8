"""ConfigMaps and Secrets.

Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pilotfish.config.kubernetes import ConfigMap, Secret
from pilotfish.config.report import Report
from pilotfish.config.values import decode_base64

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def check_config_map(resource: ConfigMap, report: Report) -> None:
    _check_keys("data", resource.data, report)
    _check_keys("binaryData", resource.binary_data, report)
    _check_base64("binaryData", resource.binary_data, "data", report)
    for key in resource.data.keys() & resource.binary_data.keys():
        report.invalid(f"binaryData[{key}]", "the key stands in data as well", "keep one of them")


def check_secret(resource: Secret, report: Report) -> None:
    _check_keys("data", resource.data, report)
    _check_keys("stringData", resource.string_data, report)
    _check_base64("data", resource.data, "stringData", report)


def _check_keys(field: str, keys: Iterable[str], report: Report) -> None:
    for key in keys:
        if not _KEY.fullmatch(key) or key in (".", ".."):
            report.invalid(f"{field}[{key}]", f"{key!r} is no key", "use letters, digits, dashes, dots and underscores")


def _check_base64(field: str, values: Mapping[str, str], plain: str, report: Report) -> None:
    """The value is not shown: it may be a secret."""
    for key, value in values.items():
        try:
            decode_base64(value)
        except ValueError:
            report.invalid(f"{field}[{key}]", "the value is not base64", f"encode it, or write it in {plain}")
