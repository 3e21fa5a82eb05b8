"""What a Kubernetes cluster's API says: how it is reached, how its paths are named, what its answers mean. No sockets.

    kubeconfig files ─kubeconfig─▶ Access: which server, and who asks
    what a plugin prints ─exec_credential─▶ token or certificate
    Kind ─paths─▶ /apis/GROUP/VERSION/...; path ─attributes─▶ verb, group, resource, namespace
    a Status ─status─▶ Refusal
    lists and watches ─reflection─▶ what is known of a collection; an object's JSON ─reading─▶ what the mesh reads of it

`runtime.cluster` asks; `runtime.source.cluster` is the source of objects that comes of it.
"""
