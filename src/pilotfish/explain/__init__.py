"""(rules, configuration, request) → the request's way, step by step, with who lost and why.

    Scene, Ask ─walk─▶ Trace: steps that form a tree, and outcomes
                 ├ dns        name → address
                 ├ netfilter  what the kernel's rules do with the connection
                 └ proxy      one Envoy: listeners, routes, http_filters, forward, endpoints

A Scene is pods with their rules and what their proxies hold (`held`): of manifests (`offline.scene`), or read from a
running mesh, or of dumps (`dumps`, of API v2 by `old_dumps`). `cases` holds ways against what is expected of them,
`document` is the JSON; a `report` is what people are shown, as text or as a `picture`. The model of Envoy's matching
stands here alone. `written` is whose a resource says it is; whose each step is only the mesh knows (`offline.owners`).
`accesslog` reads what Envoy wrote about a request that really happened; `flags` and `why` go from its response flag to
the field to change.
"""
