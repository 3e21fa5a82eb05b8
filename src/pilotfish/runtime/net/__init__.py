"""The network of one mesh: how its namespaces and links are called, which addresses it takes, how they come and go.

    routes of the machine ─subnets─▶ Subnets ─network─▶ the node's namespace and bridge ─add_pod─▶ a pod's, joined to it
    names in /run/netns, links ─leftovers─▶ what a mesh left behind ─sweep─▶ nothing
    frontends ─services─▶ the node's kernel, for everyone who calls a Service past the proxies
    the host's routes ─egress─▶ a table of the host and forwarding there, with `--egress` ─host_tables─▶ as it was

`names` is how both know what belongs to which mesh.
"""
