"""How a pod is captured and proxied, from its labels and annotations.

Source: https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

from pilotfish.agent.metrics import ScrapeTarget
from pilotfish.capture import spec_from_annotations
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.meshconfig import proxy_config
from pilotfish.model import Problem, Source
from pilotfish.node.identity import PodIdentity
from pilotfish.runtime.node.sandbox import Sidecar

_INJECT = "sidecar.istio.io/inject"
_CONFIG = "proxy.istio.io/config"


def build_sidecar(pod: PodIdentity, mesh: MeshConfig, ipv6: bool) -> tuple[Sidecar | None, tuple[Problem, ...]]:
    """(the sidecar, or None for a pod that has none; what is wrong).

    With an error the pod must not be started: it would run with less captured than it asks for.
    """
    if "false" in (pod.labels.get(_INJECT), pod.annotations.get(_INJECT)):
        return None, ()
    subject = pod.owner or pod.ref
    source = Source.parse(pod.source)
    config = mesh.default_config
    problems: tuple[Problem, ...] = ()
    if _CONFIG in pod.annotations:
        at = source or Source("-", 1)
        config, problems = proxy_config(pod.annotations[_CONFIG], config, subject, at)
    # A pod here has no other way to resolve the names of Services than its agent.
    environment = {"ISTIO_META_DNS_CAPTURE": "true", **config.proxy_metadata}
    capture, more = spec_from_annotations(
        pod.annotations,
        mode=config.interception_mode,
        status_port=config.status_port,
        environment=environment,
        enable_ipv6=ipv6,
        ref=subject,
        source=source,
    )
    problems = (*problems, *more)
    prometheus = None
    try:
        prometheus = ScrapeTarget.from_annotations(pod.annotations)
    except ValueError as error:
        field = 'metadata.annotations["prometheus.io/port"]'
        problems = (
            *problems,
            Problem(subject, field, "InvalidValue", f"{error}; the pod is not started", source=source),
        )
    return (None if capture is None else Sidecar(capture, config, prometheus)), problems
