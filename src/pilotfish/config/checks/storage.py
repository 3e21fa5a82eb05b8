"""Claims of storage, and the directories that stand for it.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.names import check_object_name
from pilotfish.config.report import Report
from pilotfish.config.workloads import PersistentVolumeClaimSpec, PersistentVolumeSpec
from pilotfish.model.kinds import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM


def check_claim(spec: PersistentVolumeClaimSpec, field: str, report: Report) -> None:
    if spec.volume_mode == "Block":
        report.unsupported(f"{field}.volumeMode", "a volume that is a block device", "write Filesystem")
    if spec.volume_name:
        check_object_name(spec.volume_name, PERSISTENT_VOLUME, f"{field}.volumeName", report)


def check_persistent_volume(spec: PersistentVolumeSpec, report: Report) -> None:
    sources = {"hostPath": spec.host_path, "local": spec.local}
    if any(sources.values()) or not report.left_out:
        check_exactly_one(sources, "spec", report)
    for name, source in sources.items():
        if source is not None and not source.path.startswith("/"):
            report.invalid(f"spec.{name}.path", f"{source.path!r} is not absolute", "begin it with /")
    if spec.claim_ref is not None:
        check_object_name(spec.claim_ref.name, PERSISTENT_VOLUME_CLAIM, "spec.claimRef.name", report)
