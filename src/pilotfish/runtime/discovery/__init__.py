"""The control plane as a process: manifests in, xDS out.

    files ─inotify, source─▶ Desired ─hub.change─▶ Mesh (derive.Graph) ─▶ ResourceSet ─connection─▶ Stream ─▶ gRPC
                                                     ▲                                              │
                              problems ◀─ quarantine ┴──────────────── refused, accepted ◀──────────┘

`serve` puts it together; `ads_server` is the gRPC edge, `monitoring` the HTTP edge (`debug`, `dump`, `metrics`).
Everything runs in one thread; what is asked of `derive` is computed where it is asked for.
"""
