"""The machine's state in the words of `get pods` and `get proxies`."""

from __future__ import annotations

from dataclasses import replace

from pilotfish.agent.supervisor import Phase, Supervisor
from pilotfish.model.credential import UnusableFiles
from pilotfish.runtime.agent.spec import AgentSpec, AgentStatus, CertificateStatus

_STATES = {
    Phase.IDLE: "waiting",
    Phase.STARTING: "running",
    Phase.RUNNING: "running",
    Phase.BACKOFF: "waiting",
    Phase.STOPPING: "running",
    Phase.STOPPED: "terminated",
}
_REASONS = {Phase.STOPPING: "Stopping", Phase.STOPPED: "Completed"}


def describe(
    machine: Supervisor,
    spec: AgentSpec,
    lacks: str,
    revision: int,
    started_at: float | None,
    certificate: CertificateStatus,
    unusable_files: tuple[UnusableFiles, ...] = (),
) -> AgentStatus:
    """`lacks`: what is not there yet beside Envoy itself; "" if nothing, or if nobody was to be asked."""
    status = AgentStatus(
        state=_STATES[machine.phase],
        reason=_REASONS.get(machine.phase, ""),
        message=("" if machine.ready else machine.message) or lacks,
        ready=machine.ready and not lacks,
        restarts=machine.restarts,
        pid=machine.pid,
        epoch=machine.epoch,
        revision=revision,
        started_at=started_at if machine.pid else None,
        exit_code=machine.exit_code,
        certificate=certificate,
        unusable_files=unusable_files,
    )
    if machine.crash_looping:
        where = f"; its last words are in {spec.log}" if spec.log else ""
        return replace(status, reason="CrashLoopBackOff", message=status.message + where)
    if machine.draining and machine.phase in (Phase.STARTING, Phase.RUNNING):
        return replace(status, reason="Draining", message="the pod ends: inbound work drains")
    return status
