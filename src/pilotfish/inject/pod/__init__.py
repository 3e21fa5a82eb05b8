"""A pod of a cluster, with all that a sidecar adds to it.

    Pod as JSON ─original─▶ as its author wrote it ─build_sidecar─▶ Sidecar ─┬─ proxy    the container istio-proxy
                                                                             ├─ capture  the init container
                                                                             ├─ volumes
                                                                             └─ metadata labels, annotations, status
                  ─inject─▶ Injected: the pod with that merged into it, probes sent by way of the agent, in order

What is in a Pod and is not known here stays as it is. Injected twice is injected once: what an injection added is told
by the annotation `sidecar.istio.io/status`, and taken for what it is. Names, forms and precedence are those of Istio's
injector; docs/kubernetes.md lists what differs.

Source: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/, and Istio's own templates,
https://github.com/istio/istio/tree/master/manifests/charts/istio-control/istio-discovery/files
"""

from pilotfish.inject.pod.injection import Injected, inject
from pilotfish.inject.pod.installation import Installation

__all__ = ["Injected", "Installation", "inject"]
