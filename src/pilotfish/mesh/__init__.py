"""Typed resources → services, endpoints, policies and bindings, each a `derive` query.

    inputs ─┬─ workloads ──┬─ endpoints ─┬─▶ names        DNS
            ├─ services ───┤             ├─▶ outbound     which listener serves which port of which service
            ├─ policies ───┤             ├─▶ inbound      which ports of a workload are services'
            └─ routing ────┘             ├─▶ http_routes  how a host's requests are routed: model.route
                                         ├─▶ connections  how a listener's connections are: model.connection_route
                                         ├─▶ guard_of     who may ask a workload what: model.authorization
                                         └─▶ problems     what is wrong between objects

Its rooms, of which each reads only those before it: `registry` (who is there), `policy` (DestinationRules) and
`listeners`, `routes` (VirtualServices), `security` (AuthorizationPolicies, RequestAuthentications), `problems`. Beside
them stands what all ask: `inputs`, `scope`, `routing` …

What users write is lowered to neutral form, kind by kind: `virtual_service` to routes, `destination_rule` to traffic
policies. `routing` and `policies` say whose word counts. Nothing past this room knows an API's types.

`inputs` holds the tables; every read of a user's object goes through `inputs.effective`. Index queries (`index=True`)
find things; the narrow ones beside them say what one thing is, so that a change re-runs no more than what it touches.
"""
