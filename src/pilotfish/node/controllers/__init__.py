"""Which pods, and which further objects, each object that makes pods wants: a file a kind, all by one notion.

    (Stored, its state, Scene: its pods, the time) ─reconcile─▶ Step: its state, Create | Remove | Make | Delete ...
                                                   ─status────▶ `.status`, as Kubernetes has it
                                                   ─rollout───▶ how far it is
                                            Stored ─planned───▶ the pods that come of it, where none is there yet

`table` says whose each kind is. `values` holds what they share. Pure: `runtime.node.workloads` does what they say.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/
"""
