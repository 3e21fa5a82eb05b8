"""(resources of the mesh, Proxy) → ResourceSet: listeners, routes, clusters, endpoints; and Envoy's bootstrap.

    mesh queries ─┬─clusters──┐
                  ├─endpoints─┤
                  ├─listeners─┼─layers─▶ ResourceSet     (shared by every proxy of one scope)
                  ├─routes────┤
    Proxy ────────┴─inbound───┘                          (shared by every replica with the same ports)

    BootstrapSpec ─bootstrap─▶ dict

`resources.resource_set` is what others ask for; `values` holds what it returns, `types` is the table of xDS types,
`printing` shows a resource as JSON. Names, numbers and order follow what Istio sends today. `bootstrap`,
`types` and `values` load no protobuf: the node's process uses the first, and stays small.
"""
