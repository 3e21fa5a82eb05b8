"""What a sidecar adds to a pod, and whether it gets one: for this machine's pods and for the Kubernetes webhook.

    Pod, MeshConfig ─build_sidecar─▶ Sidecar | None, Problems
                        ├ annotations   what is captured                      ─▶ capture.CaptureSpec
                        ├ past          what its annotations leave uncaptured ─▶ Problems worth knowing
                        ├ node_mode     an Envoy of its own, or its machine's
                        ├ config        the mesh's defaultConfig, and the pod's own over it
                        ├ agent         the probes that the agent takes over, whose metrics it merges
                        └ metadata      what the proxy says of its workload

This is where `capture` and `agent` meet, which do not know each other.
"""

from pilotfish.inject.sidecar import Sidecar, build_sidecar

__all__ = ["Sidecar", "build_sidecar"]
