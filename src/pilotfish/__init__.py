"""pilotfish: a service mesh for one Linux machine, speaking Istio's and Kubernetes' own APIs around the real Envoy.

The way of the data, which is also the list of folders::

    manifests ─config─▶ resources ─mesh─▶ services, endpoints, policies ─envoy─▶ ResourceSet ─ads─▶ Envoy
    pod spec ─node─▶ what one machine must run ─agent─▶ one sidecar
    CaptureSpec ─capture─▶ RuleSet ─▶ the pod's namespace
    services, endpoints ─servicenet─▶ nft transactions ─▶ the node's namespace
    what really happened, ResourceSet and a call ─explain─▶ the request's way
    manifests ─offline─▶ what they would lead to, where no mesh runs

`discovery` puts `mesh`, `envoy` and `ads` together: what every proxy should have, and what a refusal leads to.
`derive` computes all of it again as far as a change reaches; `model` holds the values that everyone shares.

Everything is a pure function over immutable values, except `runtime` (all effects) and `cli` (arguments and rendering).
"""
