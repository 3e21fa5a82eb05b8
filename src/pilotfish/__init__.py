"""pilotfish: a service mesh for one Linux machine, speaking Istio's and Kubernetes' own APIs around the real Envoy.

The way of the data, which is also the list of folders::

    manifests ─config─▶ resources ─mesh─▶ services, endpoints, policies ─envoy─▶ ResourceSet ─ads─▶ Envoy
    pod spec ─node─▶ what one machine must run        CaptureSpec ─capture─▶ RuleSet ─▶ the pod's namespace

Everything is a pure function over immutable values, except `runtime` (all effects) and `cli` (arguments and rendering).
"""
