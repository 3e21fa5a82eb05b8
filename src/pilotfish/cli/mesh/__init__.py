"""What commands that look ask of a mesh, wherever it runs.

                        ┌─ machine.Machine ─▶ the control socket, network namespaces, files of this machine
    command ─▶ Mesh ────┤
                        └─ cluster.Cluster ─▶ the API server: objects, logs, and by its port-forward each replica of
                                              discovery (15014) and each Envoy (15000)

A command knows `protocol.Mesh` alone, and `session.open_reader` which of the two is meant.
"""
