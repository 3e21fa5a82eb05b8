"""What an installation in a Kubernetes cluster consists of, as plain objects. Nothing here asks a cluster.

    defaults ◀─ values.yaml, --set ─settings─▶ Values ─┬─ objects ─▶ the objects, in the order in which they are applied
                                                       └─ chart ───▶ a Helm chart of the same
    config's structs ─crds─▶ CustomResourceDefinitions
    what a cluster holds ─inventory─▶ ours, somebody else's, left to remove

`runtime.cluster` applies, awaits and removes them.
"""
