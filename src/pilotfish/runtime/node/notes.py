"""Notes about ready pods whose app does not listen where its Services lead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from pilotfish.config.kubernetes import Service
from pilotfish.model.kinds import SERVICE
from pilotfish.node.endpoints import selected, target_port
from pilotfish.node.listening import Listener, build_notes, parse_proc_net
from pilotfish.node.store import Store
from pilotfish.runtime.node.describe import backend
from pilotfish.runtime.node.pod import Pod
from pilotfish.runtime.node.workloads import Workloads

_FIRST_LOOK = 1.0
"""Seconds after a pod became ready: an app without a readiness probe needs a moment until it listens."""
_LOOK = 2.0


class Notes:
    """Looks at a pod once it is ready and again after changes; at those with a note every few seconds.

    Only what two looks in a row find is noted: an app may be about to listen.
    """

    def __init__(self, workloads: Workloads, on_change: Callable[[], None]) -> None:
        self._workloads = workloads
        self._on_change = on_change
        self._store = Store()
        self._due: set[Pod] = set()
        self._known: dict[Pod, tuple[int, float | None]] = {}
        self._found: dict[Pod, tuple[str, ...]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def update(self, store: Store) -> None:
        """Pods or objects may have changed."""
        self._store = store
        pods = set(self._workloads.pods.values())
        self._known = {pod: known for pod, known in self._known.items() if pod in pods}
        self._found = {pod: found for pod, found in self._found.items() if pod in pods}
        self._due &= pods
        for pod in pods:
            seen = (store.version, pod.state.ready_since)
            if self._known.get(pod) != seen and pod.state.ready:
                self._known[pod] = seen
                self._due.add(pod)
        self._arm(_FIRST_LOOK)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, seconds: float) -> None:
        if self._due and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        changed = False
        for pod in list(self._due):
            found = self._notes(pod)
            notes = found if found == self._found.get(pod) else ()
            changed = changed or notes != pod.notes
            pod.notes = notes
            self._found[pod] = found
            if not found:
                self._due.discard(pod)
        if changed:
            self._on_change()
        self._arm(_LOOK)

    def _notes(self, pod: Pod) -> tuple[str, ...]:
        pid = next((c.pid for c in pod.state.containers if c.pid is not None), None)
        if pid is None or not pod.state.ready:
            return ()
        listeners: list[Listener] = []
        for name in ("tcp", "tcp6"):
            try:
                listeners += parse_proc_net(Path(f"/proc/{pid}/net/{name}").read_text())
            except OSError:  # it just ended, or the kernel has no IPv6
                continue
        policy = self._store.desired.mesh_config.inbound_traffic_policy
        return build_notes(self._ports(pod), listeners, policy.mode == "LOCALHOST")

    def _ports(self, pod: Pod) -> list[tuple[str, int]]:
        """Each Service port that leads to the pod."""
        found = []
        me = backend(pod)
        for stored in self._store.of_kind(SERVICE):
            service = stored.manifest.resource
            if isinstance(service, Service) and selected(service, stored.ref.namespace, (me,)):
                for port in service.spec.ports:
                    number = target_port(port, me.spec)
                    if number is not None and port.protocol == "TCP":
                        found.append((f"{stored.ref.name}.{stored.ref.namespace}:{port.port}", number))
        return found
