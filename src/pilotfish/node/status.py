"""What kubectl would show of a pod and its containers.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go (printPod)
"""

from __future__ import annotations

from typing import Literal

from pilotfish.node.container import ContainerState
from pilotfish.node.pod import PodState

State = Literal["waiting", "running", "terminated"]


def container_state(c: ContainerState, pod: PodState) -> tuple[State, str, str]:
    """(state, reason, message)."""
    if c.phase == "running":
        return "running", "", c.message or _failing_probe(c)
    if c.phase == "terminated":
        if c.restart_at is None or pod.deleted or pod.outcome:
            return "terminated", c.reason, c.message
        wait = round(c.restart_at - (c.finished_at or c.restart_at))
        why = c.message or f"last exit code {c.exit_code}"
        if c.reason == "OOMKilled":
            why = f"{c.reason}: {why}"
        return "waiting", "CrashLoopBackOff", f"back-off {wait}s restarting failed container: {why}"
    if c.reason:
        return "waiting", c.reason, c.message
    initializing = c.kind == "app" and pod.stage == "running" and not pod.init_done
    return "waiting", "PodInitializing" if initializing else "ContainerCreating", pod.message


def status_word(pod: PodState) -> str:
    """The STATUS column: Running, Init:0/1, CrashLoopBackOff, Completed, Terminating ..."""
    if pod.deleted:
        return "Terminating"
    init = [c for c in pod.containers if c.kind != "app"]
    for i, c in enumerate(init):
        if (c.kind == "init" and c.over and c.exit_code == 0) or c.started or pod.outcome == "Succeeded":
            continue
        state, reason, _ = container_state(c, pod)
        if state == "running" or reason in ("ContainerCreating", "PodInitializing"):
            return f"Init:{i}/{len(init)}"
        return f"Init:{reason}"
    if pod.outcome:
        return "Completed" if pod.outcome == "Succeeded" else "Error"
    words = [container_state(c, pod) for c in pod.containers if c.kind == "app"]
    if all(c.run == 0 for c in pod.containers) and pod.stage in ("pending", "building"):
        return "ContainerCreating" if not pod.retries else "CreatePodSandboxError"
    unhappy = [reason for state, reason, _ in words if state != "running"]
    return unhappy[-1] if unhappy else "Running"


def _failing_probe(c: ContainerState) -> str:
    """Why a container that runs is not ready, once its probe has failed `failureThreshold` times; else ""."""
    failing = ((kind, state) for kind, state in c.probes.items() if state.failed)
    return next((f"failed {kind} probe: {state.message}" for kind, state in failing), "")
