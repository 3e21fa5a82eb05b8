"""A pod's `status`, as far as a document of it has more than discovery is told."""

from __future__ import annotations

from typing import Any

from pilotfish.node.container import ContainerState
from pilotfish.node.document import timestamp
from pilotfish.runtime.control.views import ContainerView
from pilotfish.runtime.node.describe import describe_pod, wall
from pilotfish.runtime.node.pod import Pod

Fields = dict[str, Any]


def pod_status(pod: Pod) -> Fields:
    """Conditions and containers. A native sidecar, and the proxy, which is one, are among the init containers."""
    view, state = describe_pod(pod), pod.state
    states = {each.name: each for each in state.containers}
    images = {each.name: each.spec.image for each in state.containers}
    rendered = [
        (each.kind, _container(each, states.get(each.name), images.get(each.name, ""), pod.image_id(each.name)))
        for each in view.containers
    ]
    running = all(each.ready for each in view.containers if each.kind != "init")
    found: Fields = {
        "startTime": timestamp(pod.created_at),
        "conditions": [
            _condition("PodScheduled", True),
            _condition("Initialized", state.init_done),
            _condition("ContainersReady", running),
            _condition("Ready", state.ready),
        ],
        "initContainerStatuses": [fields for kind, fields in rendered if kind != "app"],
        "containerStatuses": [fields for kind, fields in rendered if kind == "app"],
    }
    if state.message:
        found["message"] = state.message
    if view.reason not in (view.phase, "Running", "Completed"):
        found["reason"] = view.reason
    return {name: item for name, item in found.items() if item != []}


def _condition(name: str, holds: bool) -> Fields:
    return {"type": name, "status": "True" if holds else "False"}


def _container(view: ContainerView, state: ContainerState | None, image: str, image_id: str) -> Fields:
    fields: Fields = {
        "name": view.name,
        "image": image,
        "imageID": image_id,
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": {view.state: _now(view, state)},
        "lastState": {},
    }
    if view.state == "waiting" and state is not None and state.exit_code is not None:
        fields["lastState"] = {"terminated": _ended(state)}
    if view.pid is not None:
        fields["containerID"] = f"process://{view.pid}"
    return fields


def _now(view: ContainerView, state: ContainerState | None) -> Fields:
    if view.state == "running":
        return {"startedAt": timestamp(view.started_at)} if view.started_at is not None else {}
    told = {name: text for name, text in (("reason", view.reason), ("message", view.message)) if text}
    if view.state == "waiting":
        return told
    return {"exitCode": view.exit_code, **(_ended(state) if state is not None else {}), **told}


def _ended(state: ContainerState) -> Fields:
    """Its last run."""
    times = (("startedAt", state.started_at), ("finishedAt", state.finished_at))
    return {
        "exitCode": state.exit_code,
        "reason": "Completed" if state.exit_code == 0 else "Error",
        **{name: timestamp(wall(at)) for name, at in times if at is not None},
    }
