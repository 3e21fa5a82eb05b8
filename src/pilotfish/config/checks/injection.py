"""What a Namespace says of the sidecars of its pods.

Source: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/
"""

from __future__ import annotations

from pilotfish.config.injection import DISABLED, ENABLED, OF_NAMESPACE
from pilotfish.config.kubernetes import Metadata
from pilotfish.config.report import Report

_DATAPLANE = "istio.io/dataplane-mode"


def check_injection(metadata: Metadata, report: Report) -> None:
    said = metadata.labels.get(OF_NAMESPACE)
    if said not in (None, ENABLED, DISABLED):
        text = f"{said!r} is not {ENABLED}, so its pods have no sidecars, as with Istio; write {ENABLED} or {DISABLED}"
        report.warning(f"metadata.labels[{OF_NAMESPACE}]", "InvalidValue", text)
    if metadata.labels.get(_DATAPLANE) == "ambient":
        text = "there is no ambient mode: its pods have sidecars, unless the mesh is told otherwise"
        report.warning(f"metadata.labels[{_DATAPLANE}]", "UnsupportedField", text)
